"""Owns how sure a figure is: bootstrap intervals of one run, paired bootstrap and matched-pairs test of two.

Input: error and length counts per utterance (numpy), or token alignments. Output: intervals in percent, p values. All seeded.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qasr_train.evaluation.scoring.word_pairs import word_pairs
from qasr_train.pages.table import ABSENT

Counts = NDArray[np.int64]
Rates = NDArray[np.float64]

# With fewer speakers than this, resampling whole speakers understates how much a figure would vary.
MIN_SPEAKERS = 10
_MAX_CELLS = 4_000_000  # numbers drawn at once; 32 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """Percentile bootstrap interval.

    low_percent, high_percent: its ends, of an error rate or of a difference of two.
    confidence: e.g. 0.95.
    unit: what was resampled, "speaker" or "utterance".
    num_units, num_resamples, seed: how.
    """

    low_percent: float
    high_percent: float
    confidence: float
    unit: str
    num_units: int
    num_resamples: int
    seed: int


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two systems on the same utterances; differences are candidate minus baseline, so below 0 is better.

    baseline_percent, candidate_percent, delta_percent: pooled error rates, and their difference in points.
    interval: of that difference.
    upper_percent: the difference is below this with the interval's confidence (one-sided bound): how bad it may be.
    p_bootstrap: two-sided p value of the paired bootstrap.
    p_segments: two-sided p value of the matched-pairs sentence-segment test; None if no segment differs enough to tell.
    num_segments: stretches of speech in which at least one system erred.
    """

    baseline_percent: float
    candidate_percent: float
    delta_percent: float
    interval: Interval
    upper_percent: float
    p_bootstrap: float
    p_segments: float | None
    num_segments: int


def interval_text(interval: Interval | None) -> str:
    """ "4.10 to 5.32", or a dash."""
    return ABSENT if interval is None else f"{interval.low_percent:.2f} to {interval.high_percent:.2f}"


def resampling_units(speakers: Sequence[str | None]) -> tuple[Counts, str]:
    """(unit number per utterance, "speaker" or "utterance").

    Speakers are resampled whole where at least MIN_SPEAKERS are named, since errors of one speaker hang together; an utterance
    without a speaker is then a unit of its own. Otherwise every utterance is one.
    """
    numbers: dict[str, int] = {}
    for speaker in speakers:
        if speaker is not None:
            numbers.setdefault(speaker, len(numbers))
    if len(numbers) < MIN_SPEAKERS:
        return np.arange(len(speakers)), "utterance"
    units = []
    next_unit = len(numbers)
    for speaker in speakers:
        if speaker is None:
            units.append(next_unit)
            next_unit += 1
        else:
            units.append(numbers[speaker])
    return np.asarray(units, dtype=np.int64), "speaker"


def error_rate_interval(
    errors: Counts,
    lengths: Counts,
    speakers: Sequence[str | None],
    *,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Bootstrap interval of sum(errors) / sum(lengths); None where there is nothing to divide by.

    Source: Bisani & Ney 2004, with units of `resampling_units` and percentiles instead of a normal approximation.

    Args:
        errors, lengths: (utterances,) int; errors and reference length of each.
    """
    if lengths.sum() == 0:
        return None
    units, unit = resampling_units(speakers)
    sums = np.stack([_per_unit(errors, units), _per_unit(lengths, units)], axis=1)
    resampled = _resampled_sums(sums, num_resamples, seed)
    rates = _rates(resampled[:, 0], resampled[:, 1])
    return _interval(rates, confidence, unit, len(sums), num_resamples, seed)


def paired_test(
    baseline: tuple[Counts, Counts],
    candidate: tuple[Counts, Counts],
    speakers: Sequence[str | None],
    differences: Sequence[int],
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> PairedTest | None:
    """Compare two systems on the same utterances; None where a reference has no word to divide by.

    The interval is a paired bootstrap: one draw of utterances (or speakers) for both systems. p_bootstrap is twice the smaller
    share of resamples in which the difference is at least 0, or at most 0 (one added to each count, so it is never 0).

    Args:
        baseline, candidate: (errors, reference lengths) of each system, each (utterances,) int.
        differences: of all segments of all utterances, from `segment_differences`.
    """
    if baseline[1].sum() == 0 or candidate[1].sum() == 0:
        return None
    units, unit = resampling_units(speakers)
    sums = np.stack([_per_unit(counts, units) for counts in (*baseline, *candidate)], axis=1)
    resampled = _resampled_sums(sums, num_resamples, seed)
    resampled = resampled[(resampled[:, 1] > 0) & (resampled[:, 3] > 0)]
    deltas = _rates(resampled[:, 2], resampled[:, 3]) - _rates(resampled[:, 0], resampled[:, 1])
    smaller = min(int((deltas >= 0).sum()), int((deltas <= 0).sum()))
    rates = [100.0 * float(errors.sum()) / float(lengths.sum()) for errors, lengths in (baseline, candidate)]
    return PairedTest(
        baseline_percent=round(rates[0], 4),
        candidate_percent=round(rates[1], 4),
        delta_percent=round(rates[1] - rates[0], 4),
        interval=_interval(deltas, confidence, unit, len(sums), num_resamples, seed),
        upper_percent=round(float(np.quantile(deltas, confidence)), 4),
        p_bootstrap=min(1.0, 2 * (smaller + 1) / (len(deltas) + 1)),
        p_segments=matched_pairs_p_value(differences),
        num_segments=len(differences),
    )


def matched_pairs_p_value(differences: Sequence[int]) -> float | None:
    """Two-sided p value of the mean of error differences per segment, by the normal approximation.

    Source: Gillick & Cox 1989, "Some statistical issues in the comparison of speech recognition algorithms".

    Args:
        differences: errors of the candidate minus errors of the baseline, one per segment.

    Returns: None with fewer than two segments. Where all segments differ alike: 1.0 if by nothing, else 0.0.
    """
    if len(differences) < 2:
        return None
    values = np.asarray(differences, dtype=np.float64)
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    if deviation == 0:
        return 1.0 if mean == 0 else 0.0
    z = abs(mean) / (deviation / math.sqrt(len(values)))
    return math.erfc(z / math.sqrt(2))


def segment_differences(
    reference: Sequence[str], baseline: Sequence[str], candidate: Sequence[str], *, merges_compounds: bool = False
) -> list[int]:
    """Errors of candidate minus baseline in each stretch of one utterance in which either erred.

    Stretches are apart where both systems have two reference words or more in a row right, so that what one system does in one
    hardly bears on the next (Gillick & Cox 1989).

    Args:
        reference, baseline, candidate: tokens (words, or characters).
    """
    if baseline == candidate == reference:
        return []
    ours = _errors_by_place(reference, baseline, merges_compounds)
    theirs = _errors_by_place(reference, candidate, merges_compounds)
    return [sum(theirs[start:end]) - sum(ours[start:end]) for start, end in _segments(ours, theirs)]


def _errors_by_place(reference: Sequence[str], hypothesis: Sequence[str], merges_compounds: bool) -> list[int]:
    """Errors at each place of the reference: gap 0, word 0, gap 1, word 1 ... last gap; insertions stand in gaps."""
    errors = [0] * (2 * len(reference) + 1)
    word = 0
    for expected, _, is_right in word_pairs(reference, hypothesis, merges_compounds=merges_compounds):
        if expected == "":
            errors[2 * word] += 1
            continue
        num_words = expected.count(" ") + 1 if merges_compounds else 1
        if not is_right:
            errors[2 * word + 1] += 1
        word += num_words
    return errors


def _segments(ours: list[int], theirs: list[int]) -> Iterator[tuple[int, int]]:
    """(start, end) of places between runs of two or more words that both have right, with nothing inserted between them."""
    wrong = [index for index in range(len(ours)) if ours[index] or theirs[index]]
    start = previous = -1
    for index in wrong:
        if start >= 0 and _num_words_between(previous, index) >= 2:
            yield start, previous + 1
            start = index
        start = index if start < 0 else start
        previous = index
    if start >= 0:
        yield start, previous + 1


def _num_words_between(first: int, last: int) -> int:
    """Words (odd places) strictly between two places."""
    return last // 2 - (first + 1) // 2


def _per_unit(counts: Counts, units: Counts) -> Counts:
    return np.bincount(units, weights=counts).astype(np.int64)


def _resampled_sums(sums: Counts, num_resamples: int, seed: int) -> Counts:
    """Column sums of `num_resamples` bootstrap samples: (resamples, columns) from (units, columns).

    Units with equal counts are alike, so how often each kind is drawn is one multinomial draw: exact, and much less work.
    """
    rng = np.random.default_rng(seed)
    kinds, how_often = np.unique(sums, axis=0, return_counts=True)
    num_units = len(sums)
    if 2 * len(kinds) <= num_units:
        rows = max(1, _MAX_CELLS // len(kinds))
        draws = (
            rng.multinomial(num_units, how_often / num_units, size=min(rows, num_resamples - first))
            for first in range(0, num_resamples, rows)
        )
        return np.concatenate([draw @ kinds for draw in draws])
    rows = max(1, _MAX_CELLS // num_units)
    columns = [np.ascontiguousarray(column) for column in sums.T]
    parts = []
    for first in range(0, num_resamples, rows):
        drawn = rng.integers(0, num_units, size=(min(rows, num_resamples - first), num_units), dtype=np.int32)
        parts.append(np.stack([column[drawn].sum(axis=1) for column in columns], axis=1))
    return np.concatenate(parts)


def _rates(errors: Counts, lengths: Counts) -> Rates:
    """Percent per resample; a resample that drew no reference word at all says nothing and is left out."""
    drawn = lengths > 0
    return 100.0 * errors[drawn] / lengths[drawn]


def _interval(values: Rates, confidence: float, unit: str, num_units: int, num_resamples: int, seed: int) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(round(float(low), 4), round(float(high), 4), confidence, unit, num_units, num_resamples, seed)
