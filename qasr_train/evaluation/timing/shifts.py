"""Owns how far an aligner's times are from the references: boundaries, figures of a group, intervals. Imports no torch.

Input: the words of a reference with their times, the words an aligner placed. Output: `Timing`s, and `Figures` of any group of
them. The figure that is published is the accumulated averaging shift (AAS): the mean distance of boundaries, in milliseconds
(Qwen3-ASR technical report, arXiv 2601.18220).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qasr_train.timed.base import TimedWord

LATE_S = 60.0  # from where on times that stand still are counted: users met them after some minutes
_NUM_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Boundary:
    """Start or end of a word. at_s: in the reference. shift_s: of the aligner's time from it, later is positive."""

    is_start: bool
    at_s: float
    shift_s: float


@dataclass(frozen=True, slots=True)
class Timing:
    """One utterance as an aligner timed it.

    num_zero: placed words that begin where they end. num_late, num_still: placed words past LATE_S, and those of them that begin
    where the word before them does.
    """

    id: str
    language: str
    boundaries: tuple[Boundary, ...]
    num_words: int
    num_placed: int
    num_zero: int
    num_late: int
    num_still: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a group of boundaries. Shares are percent; None where there is nothing to divide by. interval_ms: 95 % of the AAS."""

    num_boundaries: int
    aas_ms: float | None
    interval_ms: tuple[float, float] | None
    start_ms: float | None
    end_ms: float | None
    bias_ms: float | None
    within_40: float | None
    within_80: float | None
    within_200: float | None
    unplaced: float | None
    zero: float | None
    still: float | None


def time_words(
    id_: str, language: str | None, reference: Sequence[TimedWord], heard: Sequence[TimedWord], num_units: Sequence[int]
) -> Timing:
    """Compare an aligner's words with the reference's.

    Args:
        heard: the words of the reference as the aligner cuts them, in order. num_units: how many of them each word of the
            reference is.
    """
    boundaries = list[Boundary]()
    first = 0
    for word, number in zip(reference, num_units, strict=True):
        units = heard[first : first + number]
        first += number
        if not units:
            continue
        for is_start, at_s, own_s in ((True, word.start_s, units[0].start_s), (False, word.end_s, units[-1].end_s)):
            if at_s is not None and own_s is not None:
                boundaries.append(Boundary(is_start, at_s, own_s - at_s))
    placed = [(word.start_s, word.end_s) for word in heard if word.start_s is not None and word.end_s is not None]
    late = [place for place in range(1, len(placed)) if placed[place][0] >= LATE_S]
    return Timing(
        id_,
        language or "unknown",
        tuple(boundaries),
        num_words=len(heard),
        num_placed=len(placed),
        num_zero=sum(end_s <= start_s for start_s, end_s in placed),
        num_late=len(late),
        num_still=sum(placed[place][0] <= placed[place - 1][0] for place in late),
    )


def figures_of(timings: Sequence[Timing], chosen: Callable[[Boundary], bool] | None = None) -> Figures:
    """The figures of utterances; of the boundaries that are chosen alone, which say nothing of words."""
    kept = [[one for one in timing.boundaries if chosen is None or chosen(one)] for timing in timings]
    all_of = [one for own in kept for one in own]
    off_ms = np.array([1000 * abs(one.shift_s) for one in all_of])
    counted = timings if chosen is None else []
    num_words, num_placed = sum(one.num_words for one in counted), sum(one.num_placed for one in counted)
    return Figures(
        num_boundaries=len(all_of),
        aas_ms=_mean(off_ms),
        interval_ms=_interval(kept),
        start_ms=_mean(np.array([off for off, one in zip(off_ms, all_of, strict=True) if one.is_start])),
        end_ms=_mean(np.array([off for off, one in zip(off_ms, all_of, strict=True) if not one.is_start])),
        bias_ms=_mean(np.array([1000 * one.shift_s for one in all_of])),
        within_40=_mean(100.0 * (off_ms <= 40)),
        within_80=_mean(100.0 * (off_ms <= 80)),
        within_200=_mean(100.0 * (off_ms <= 200)),
        unplaced=_percent(num_words - num_placed, num_words),
        zero=_percent(sum(one.num_zero for one in counted), num_placed),
        still=_percent(sum(one.num_still for one in counted), sum(one.num_late for one in counted)),
    )


def moved_ms(first: Sequence[Timing], second: Sequence[Timing]) -> float | None:
    """Mean distance in ms of two aligners' times of the same utterances, of the boundaries that both place; None for none."""
    distances = list[float]()
    for one, other in zip(first, second, strict=True):
        known = {(boundary.is_start, boundary.at_s): boundary.shift_s for boundary in other.boundaries}
        distances += [
            1000 * abs(boundary.shift_s - known[boundary.is_start, boundary.at_s])
            for boundary in one.boundaries
            if (boundary.is_start, boundary.at_s) in known
        ]
    return _mean(np.array(distances))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _interval(kept: Sequence[Sequence[Boundary]]) -> tuple[float, float] | None:
    """Percentile bootstrap of the AAS over utterances, whose boundaries hang together; None of fewer than two."""
    sums = np.array([[1000 * sum(abs(one.shift_s) for one in own), len(own)] for own in kept if own])
    if len(sums) < 2:
        return None
    drawn = np.random.default_rng(0).integers(len(sums), size=(_NUM_RESAMPLES, len(sums)))
    totals = sums[drawn].sum(1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], (0.025, 0.975))
    return float(low), float(high)
