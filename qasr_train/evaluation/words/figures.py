"""Owns what confidences of words are worth: NCE, ECE, how often words so sure are right, what reading the least sure finds.

Input: `JudgedWords` of scored utterances, who spoke them. Output: `WordFigures` of a group, with intervals over speakers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qasr_train.evaluation.scoring.distributions import t_quantile
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.rates import percent
from qasr_train.evaluation.scoring.significance import (
    Counts,
    Interval,
    Rates,
    error_rate_interval,
    independent_units,
    jackknife_error,
)
from qasr_train.evaluation.words.calibration import Calibration, Flags, Shares, clipped
from qasr_train.evaluation.words.confidences import JudgedWords

NUM_BINS = 10  # of equal width, as Naeini et al. 2015 have them


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading the least sure words finds.

    percent: of the words, asked for. num_read: so many. below: the highest confidence among them.
    found_percent: of the wrong words (substitutions and insertions), those among them. of_all_percent: of all errors, deletions
    too, for which there is no word to read. on_terms_percent: of wrong words on terms; None without a term list or such words.
    """

    percent: float
    num_read: int
    below: float
    num_found: int
    found_percent: float | None
    found_interval: Interval | None
    of_all_percent: float | None
    of_all_interval: Interval | None
    num_found_on_terms: int
    on_terms_percent: float | None
    on_terms_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Bin:
    """The words whose confidence lies from `low` up to `high`. mean_confidence, right_percent: None of none."""

    low: float
    high: float
    num_words: int
    mean_confidence: float | None
    right_percent: float | None
    right_interval: Interval | None


@dataclass(frozen=True, slots=True)
class WordFigures:
    """Of a group of utterances. num_unknown: words whose confidence nobody told, which enter nothing but `of_all_percent`.

    nce: normalised cross entropy (NIST; Siu & Gish 1999): 1 is all-knowing, 0 no better than one confidence for all words, below
    0 worse; None where all words are right, or all wrong; its interval in hundredths. ece_percent: expected calibration error,
    points between confidence and truth.
    """

    num_words: int
    num_wrong: int
    num_deleted: int
    num_unknown: int
    num_wrong_on_terms: int
    num_deleted_terms: int
    nce: float | None
    nce_interval: Interval | None
    ece_percent: float | None
    ece_interval: Interval | None
    bins: list[Bin]
    readings: list[Reading]


@dataclass(frozen=True, slots=True)
class Measured:
    """The words of a group's utterances as arrays, (words,) each but for those of utterances.

    order_by: confidences as told, which set the order of reading. utterance: of each word, its number in `speakers`. deleted,
    deleted_terms, unknown, unknown_wrong: (utterances,).
    """

    confidences: Shares
    order_by: Shares
    is_wrong: Flags
    is_on_term: Flags
    utterance: Counts
    deleted: Counts
    deleted_terms: Counts
    unknown: Counts
    unknown_errors: Counts
    speakers: list[str | None]

    def per_utterance(self, chosen: Flags) -> Counts:
        """(utterances,) how many of its words are chosen."""
        return np.bincount(self.utterance[chosen], minlength=len(self.speakers)).astype(np.int64)


def measure(
    words: Sequence[JudgedWords | None],
    unknown: Sequence[tuple[int, int]],
    speakers: Sequence[str | None],
    calibration: Calibration | None,
) -> Measured:
    """The words of a group. unknown: of each utterance without its words, how many there are, and its errors; else (0, 0)."""
    known = [(number, one) for number, one in enumerate(words) if one is not None]
    told = np.array([value for _, one in known for value in one.confidences], dtype=np.float64)
    deleted = np.array([(one.num_deleted, one.num_deleted_terms) if one else (0, 0) for one in words], dtype=np.int64)
    both = np.array(unknown, dtype=np.int64).reshape(-1, 2)
    return Measured(
        confidences=calibration(told) if calibration else told,
        order_by=told,
        is_wrong=np.array([value for _, one in known for value in one.is_wrong], dtype=bool),
        is_on_term=np.array([value for _, one in known for value in one.is_on_term], dtype=bool),
        utterance=np.array([number for number, one in known for _ in one.confidences], dtype=np.int64),
        deleted=deleted.reshape(-1, 2)[:, 0],
        deleted_terms=deleted.reshape(-1, 2)[:, 1],
        unknown=both[:, 0],
        unknown_errors=both[:, 1],
        speakers=list(speakers),
    )


def word_figures(words: Measured, read_percents: Sequence[float], resampling: Resampling) -> WordFigures:
    """All figures of a group."""
    nce, nce_interval = _nce(words, resampling)
    ece, ece_interval = _ece(words, resampling)
    return WordFigures(
        num_words=len(words.confidences),
        num_wrong=int(words.is_wrong.sum()),
        num_deleted=int(words.deleted.sum()),
        num_unknown=int(words.unknown.sum()),
        num_wrong_on_terms=int((words.is_wrong & words.is_on_term).sum()),
        num_deleted_terms=int(words.deleted_terms.sum()),
        nce=nce,
        nce_interval=nce_interval,
        ece_percent=ece,
        ece_interval=ece_interval,
        bins=_bins(words, resampling),
        readings=[_reading(words, share, resampling) for share in read_percents] if len(words.confidences) else [],
    )


def _reading(words: Measured, share_percent: float, resampling: Resampling) -> Reading:
    """Of equally sure words those that come first are read."""
    num_read = math.ceil(round(share_percent / 100 * len(words.confidences), 9))
    least_sure = np.argsort(words.order_by, kind="stable")[:num_read]
    is_read = np.zeros(len(words.confidences), dtype=bool)
    is_read[least_sure] = True
    found, wrong = words.per_utterance(is_read & words.is_wrong), words.per_utterance(words.is_wrong)
    on_terms = words.is_wrong & words.is_on_term
    found_terms, wrong_terms = words.per_utterance(is_read & on_terms), words.per_utterance(on_terms)
    errors = wrong + words.deleted + words.unknown_errors

    def interval(part: Counts, whole: Counts) -> Interval | None:
        return error_rate_interval(part, whole, words.speakers, **resampling.options())

    return Reading(
        percent=share_percent,
        num_read=num_read,
        below=round(float(words.confidences[least_sure].max()), 4),
        num_found=int(found.sum()),
        found_percent=percent(found.sum(), wrong.sum()),
        found_interval=interval(found, wrong),
        of_all_percent=percent(found.sum(), errors.sum()),
        of_all_interval=interval(found, errors),
        num_found_on_terms=int(found_terms.sum()),
        on_terms_percent=percent(found_terms.sum(), wrong_terms.sum()),
        on_terms_interval=interval(found_terms, wrong_terms),
    )


def _nce(words: Measured, resampling: Resampling) -> tuple[float | None, Interval | None]:
    """(H of one confidence for all - H of theirs) / H of one confidence for all, as sclite has it."""
    share = clipped(words.confidences)
    surprise = -np.log2(np.where(words.is_wrong, 1 - share, share))
    sums = _of_units(words, [np.ones_like(share), (~words.is_wrong).astype(float), surprise], resampling)

    def value(totals: Rates) -> Rates:
        count, right, told = totals[..., 0], totals[..., 1], totals[..., 2]
        base = np.clip(right / np.maximum(count, 1), 1e-12, 1 - 1e-12)
        apart: Rates = -(right * np.log2(base) + (count - right) * np.log2(1 - base))
        nce: Rates = 100 * (1 - told / np.maximum(apart, 1e-12))
        return nce

    if not 0 < int(words.is_wrong.sum()) < len(share):
        return None, None
    # A group of which all but one unit is right has no NCE without that unit.
    left = sums.sum(axis=0) - sums
    can_be_left = bool(((left[:, 1] > 0) & (left[:, 1] < left[:, 0])).all())
    interval = _jackknifed(words, sums, value, resampling) if can_be_left else None
    return round(float(value(sums.sum(axis=0))) / 100, 4), interval


def _ece(words: Measured, resampling: Resampling) -> tuple[float | None, Interval | None]:
    """Mean over words of |mean confidence of their bin - share right in it|, in percent."""
    if not len(words.confidences):
        return None, None
    number = _bin_numbers(words.confidences)
    columns = [np.where(number == one, words.confidences - ~words.is_wrong, 0.0) for one in range(NUM_BINS)]
    sums = _of_units(words, [np.ones_like(words.confidences), *columns], resampling)

    def value(totals: Rates) -> Rates:
        gaps: Rates = 100 * np.abs(totals[..., 1:]).sum(axis=-1) / np.maximum(totals[..., 0], 1)
        return gaps

    interval = _jackknifed(words, sums, value, resampling, least=0.0)
    return round(float(value(sums.sum(axis=0))), 2), interval


def _of_units(words: Measured, columns: Sequence[Rates], resampling: Resampling) -> Rates:
    """(units, columns): sums over the words of each speaker (or utterance)."""
    of_utterance = independent_units(words.speakers, resampling.resample_by).numbers
    numbers = of_utterance[words.utterance]
    sums: Rates = np.stack(
        [np.bincount(numbers, weights=one, minlength=int(of_utterance.max()) + 1) for one in columns], axis=1
    )
    kept: Rates = sums[sums[:, 0] > 0]
    return kept


def _jackknifed(
    words: Measured,
    sums: Rates,
    value: Callable[[Rates], Rates],
    resampling: Resampling,
    *,
    least: float = -math.inf,
) -> Interval | None:
    """t interval of a figure of sums over units, by what it changes to without each; None of fewer than two units.

    Args:
        value: the figure of sums (..., columns), in percent: at least `least`, at most 100.
    """
    if len(sums) < 2:
        return None
    units = independent_units(words.speakers, resampling.resample_by)
    whole, error = value(sums.sum(axis=0)), jackknife_error(value(sums.sum(axis=0) - sums) - value(sums.sum(axis=0)))
    half = t_quantile((1 + resampling.confidence) / 2, len(sums) - 1) * error
    ends = (round(max(float(whole) - half, least), 4), round(min(float(whole) + half, 100.0), 4))
    return Interval(*ends, resampling.confidence, units.unit, len(sums), units.because)


def _bin_numbers(confidences: Shares) -> Counts:
    return np.minimum((confidences * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def _bins(words: Measured, resampling: Resampling) -> list[Bin]:
    number = _bin_numbers(words.confidences)
    found = []
    for one in range(NUM_BINS):
        inside = number == one
        right, all_words = words.per_utterance(inside & ~words.is_wrong), words.per_utterance(inside)
        found.append(
            Bin(
                low=one / NUM_BINS,
                high=(one + 1) / NUM_BINS,
                num_words=int(inside.sum()),
                mean_confidence=round(float(words.confidences[inside].mean()), 4) if inside.any() else None,
                right_percent=percent(right.sum(), all_words.sum()),
                right_interval=error_rate_interval(right, all_words, words.speakers, **resampling.options()),
            )
        )
    return found
