"""Owns how sure a rate is: t intervals over speakers (or utterances) of one run's rate, and of the mean of several.

Input: error and length counts per utterance (numpy), and who spoke them. Output: intervals in percent. What they hold of what
they promise is simulated by scripts/bench/coverage.py; its table stands in docs/evaluation.md. Of two runs: comparing/paired.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qasr_train.evaluation.scoring.distributions import exact_binomial, t_quantile
from qasr_train.pages.table import ABSENT

Counts = NDArray[np.int64]
Rates = NDArray[np.float64]


class ResampleBy(str, Enum):
    """What is taken to be independent."""

    auto = "auto"  # speakers where two or more are named, else utterances
    speaker = "speaker"
    utterance = "utterance"


@dataclass(frozen=True, slots=True)
class Interval:
    """Two-sided interval of a rate, or of a difference of two.

    low_percent, high_percent: its ends. confidence: e.g. 0.95.
    unit: what is taken to be independent, "speaker" or "utterance". num_units: how many there are. because: why these.
    """

    low_percent: float
    high_percent: float
    confidence: float
    unit: str
    num_units: int
    because: str


@dataclass(frozen=True, slots=True)
class Units:
    """What is taken to be independent: the unit's number per utterance, what it is, and why."""

    numbers: Counts
    unit: str
    because: str


def interval_text(interval: Interval | None) -> str:
    """ "4.10 to 5.32", or a dash. Of two or three units the upper end may lie anywhere: "over 1000"."""
    if interval is None:
        return ABSENT
    high = f"{interval.high_percent:.2f}" if interval.high_percent <= 1000 else "over 1000"
    return f"{interval.low_percent:.2f} to {high}"


def independent_units(speakers: Sequence[str | None], resample_by: ResampleBy = ResampleBy.auto) -> Units:
    """Speakers where two or more are named, since errors of one hang together, else utterances.

    An utterance without a speaker, among others with one, is a unit of its own.
    """
    numbers: dict[str, int] = {}
    for speaker in speakers:
        if speaker is not None:
            numbers.setdefault(speaker, len(numbers))
    if resample_by is ResampleBy.utterance:
        return Units(np.arange(len(speakers)), "utterance", "resample_by=utterance")
    if len(numbers) < 2:
        who = "one speaker is named" if numbers else "no speakers are named"
        return Units(np.arange(len(speakers)), "utterance", f"{who}; if several spoke, the interval is too narrow")
    num_nameless = sum(speaker is None for speaker in speakers)
    others = iter(range(len(numbers), len(numbers) + num_nameless))
    units = [next(others) if speaker is None else numbers[speaker] for speaker in speakers]
    because = f"{len(numbers)} speakers are named" + (f", {num_nameless} utterances have none" if num_nameless else "")
    return Units(np.asarray(units, dtype=np.int64), "speaker", because)


def error_rate_interval(
    errors: Counts,
    lengths: Counts,
    speakers: Sequence[str | None],
    *,
    confidence: float = 0.95,
    resample_by: ResampleBy = ResampleBy.auto,
) -> Interval | None:
    """t interval of sum(errors) / sum(lengths), on the scale of its logit; None where there is nothing to divide by.

    The spread is the jackknife's over units, or what lognormal rates of speakers make likely where that is more (Cox: few
    speakers seldom hold a bad one); half an error is added. Degrees of freedom go by the effective number of units (Kish).
    Without any error the upper end is Clopper and Pearson's for utterances. Where an utterance has more errors than words the
    scale is the log. Of a single unit it is Clopper and Pearson's for words, as if they were independent.

    Args:
        errors, lengths: (utterances,) int; errors and reference length of each.
    """
    if lengths.sum() == 0:
        return None
    if (
        bool((errors <= lengths).all()) and 2 * errors.sum() > lengths.sum()
    ):  # a recall: by what was missed, which is rarer
        missed = error_rate_interval(
            lengths - errors, lengths, speakers, confidence=confidence, resample_by=resample_by
        )
        assert missed is not None
        ends = (round(100 - missed.high_percent, 4), round(100 - missed.low_percent, 4))
        return replace(missed, low_percent=ends[0], high_percent=ends[1])
    units = independent_units(speakers, resample_by)
    sums = per_unit((errors, lengths), units)
    spread = _spread(sums, bool((errors <= lengths).all()), units.unit == "speaker") if len(sums) > 1 else None
    low, high = _rate_ends((errors, lengths), spread, confidence)
    return Interval(round(100 * low, 4), round(100 * high, 4), confidence, units.unit, len(sums), units.because)


def mean_interval(
    groups: Sequence[tuple[Counts, Counts]],
    speakers: Sequence[Sequence[str | None]],
    ids: Sequence[Sequence[str]],
    *,
    confidence: float = 0.95,
    resample_by: ResampleBy = ResampleBy.auto,
) -> Interval | None:
    """Interval of the unweighted mean of the groups' rates; None without a group.

    The groups' own intervals, at the degrees of freedom of their mean (Satterthwaite), put together by the squares of their
    halves (MOVER: Zou & Donner 2008). A unit may be in several groups (a speaker, or a clip under several conditions, told by its
    id): their correlation is that of what leaving each unit out changes, where it is above 0.

    Args:
        groups: per group (errors, reference lengths), each (utterances,) int, some length above 0; speakers, ids: of theirs.
    """
    if not groups:
        return None
    units = independent_units([speaker for part in speakers for speaker in part], resample_by)
    is_speaker = units.unit == "speaker"
    names = [
        [one if is_speaker and one is not None else (clip,) for one, clip in zip(part, clips, strict=True)]
        for part, clips in zip(speakers, ids, strict=True)
    ]
    sums = _per_named_unit(groups, names)
    present = [part[part.any(axis=1)] for part in sums]
    spreads = [
        _spread(part, bool((errors <= lengths).all()), is_speaker) if len(part) > 1 else None
        for part, (errors, lengths) in zip(present, groups, strict=True)
    ]
    variances = [(one.variance, one.freedom) for one in spreads if one is not None and one.variance]
    pooled = sum(v for v, _ in variances) ** 2 / sum(v**2 / f for v, f in variances) if variances else 1.0
    freedom = max(1.0, min(pooled, sums.shape[1] - 1))
    ends = np.array([_rate_ends(one, spread, confidence, freedom) for one, spread in zip(groups, spreads, strict=True)])
    rates, correlation = np.array([errors.sum() / lengths.sum() for errors, lengths in groups]), _correlation(sums)
    low, high = (math.sqrt(float(side @ correlation @ side)) for side in (rates - ends[:, 0], ends[:, 1] - rates))
    mean, num_groups = float(rates.mean()), len(groups)
    percents = (round(100 * (mean - low / num_groups), 4), round(100 * (mean + high / num_groups), 4))
    return Interval(*percents, confidence, units.unit, sums.shape[1], units.because)


@dataclass(frozen=True, slots=True)
class _Spread:
    """A rate on the scale of its logit (of its log where it is no share), its standard error there, and degrees of freedom."""

    center: float
    error: float
    freedom: float
    is_share: bool

    def ends(self, confidence: float, freedom: float) -> tuple[float, float]:
        """Of the t interval, as shares."""
        half = t_quantile((1 + confidence) / 2, freedom) * self.error
        low, high = (math.exp(min(max(end, -700.0), 700.0)) for end in (self.center - half, self.center + half))
        return (low / (1 + low), high / (1 + high)) if self.is_share else (low, high)

    @property
    def variance(self) -> float:
        """Of the rate itself, to first order."""
        odds = math.exp(self.center)
        return (self.error * (odds / (1 + odds) ** 2 if self.is_share else odds)) ** 2


def _spread(sums: Counts, is_share: bool, are_speakers: bool) -> _Spread:
    """Of the rate of (units, 2) sums of errors and lengths of two units or more."""
    errors, lengths = sums.T.astype(np.float64)
    n = len(sums)

    def scaled(errors: Rates, lengths: Rates) -> Rates:
        rates = (errors + 0.5) / (lengths + 1)
        if not is_share:
            return np.log(rates)
        rates = np.minimum(rates, 1 - 0.5 / (lengths + 1))
        return np.log(rates / (1 - rates))

    center = float(scaled(errors.sum(), lengths.sum()))
    error = jackknife_error(scaled(errors.sum() - errors, lengths.sum() - lengths) - center)
    if are_speakers:
        error = max(error * math.sqrt(n / (n - 1)), _lognormal_error(errors, lengths))
    freedom = max(1.0, float(lengths.sum() ** 2 / (lengths**2).sum()) - 1)
    return _Spread(center, error, freedom, is_share)


def _rate_ends(
    counts: tuple[Counts, Counts], spread: _Spread | None, confidence: float, freedom: float | None = None
) -> tuple[float, float]:
    """Ends of the interval of a rate (a share, not percent); spread: None of a single unit. freedom: None: that of the spread."""
    errors, lengths = counts
    num_errors, length = int(errors.sum()), int(lengths.sum())
    if spread is None:
        low, high = exact_binomial(min(num_errors, length), length, confidence)
    else:
        low, high = spread.ends(confidence, freedom or spread.freedom)
    if num_errors == 0:
        return 0.0, max(high, share_where_none(lengths, confidence))
    rate = num_errors / length
    return min(low, rate), max(high, rate)


def _per_named_unit(counts: Sequence[tuple[Counts, Counts]], names: Sequence[Sequence[Any]]) -> Counts:
    """Sums (groups, units, 2) of errors and lengths over the utterances of each unit, by its name; 0 where a group lacks it."""
    numbers: dict[Any, int] = {}
    places = [np.array([numbers.setdefault(name, len(numbers)) for name in part]) for part in names]
    sums = np.zeros((len(counts), len(numbers), 2), dtype=np.int64)
    for group, (place, both) in enumerate(zip(places, counts, strict=True)):
        for column, one in enumerate(both):
            np.add.at(sums[group, :, column], place, one)
    return sums[:, sums.any(axis=(0, 2))]


def _correlation(sums: Counts) -> Rates:
    """How the rates of groups hang together, (groups, groups), 0 to 1, from (groups, units, 2) sums."""
    changes = np.stack([without_each(part) - part[:, 0].sum() / part[:, 1].sum() for part in sums])
    length = np.sqrt((changes**2).sum(axis=1, keepdims=True))
    changes = np.divide(changes, length, out=np.zeros_like(changes), where=length > 0)
    found: Rates = np.maximum(changes @ changes.T, 0.0)
    np.fill_diagonal(found, 1.0)
    return found


def _lognormal_error(errors: Rates, lengths: Rates) -> float:
    """Standard error of the log of a mean of lognormal rates, from the spread of their logs less that of counting.

    Source: Cox's method, in Zhou & Gao 1997, "Confidence intervals for the log-normal mean".
    """
    n = len(errors)
    logs = np.log((errors + 0.5) / (lengths + 1))
    variance = max(0.0, float(logs.var(ddof=1) - (1 / (errors + 0.5)).mean()))
    return math.sqrt(variance / n + variance**2 / (2 * (n - 1)))


def share_where_none(lengths: Counts, confidence: float) -> float:
    """Errors per word that may be there though no utterance has any: the most utterances that may have one, one in each."""
    num_utterances = int((lengths > 0).sum())
    return exact_binomial(0, num_utterances, confidence)[1] * num_utterances / float(lengths.sum())


def without_each(sums: Counts) -> Rates:
    """The rate of all units but one, for each: (units,); where the others have no words, that of all."""
    left, total = sums.sum(axis=0) - sums, sums.sum(axis=0)
    return np.where(left[:, 1] > 0, left[:, 0] / np.maximum(1, left[:, 1]), total[0] / total[1])


def jackknife_error(parts: Rates) -> float:
    """Standard error, from what a figure changes by when each unit is left out."""
    n = len(parts)
    return math.sqrt((n - 1) / n * float((parts**2).sum()))


def per_unit(counts: Sequence[Counts], units: Units) -> Counts:
    """Sums (units, columns) over the utterances of each unit; units in which there is nothing to count are left out."""
    sums = np.stack([np.bincount(units.numbers, weights=one).astype(np.int64) for one in counts], axis=1)
    return sums[sums.any(axis=1)]
