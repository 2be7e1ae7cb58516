"""Owns what becomes of the slots a model names: times in order, how sure they are, and words that cannot be placed.

Input: the slot of each boundary and its probability. Output: `TimedWord`s. qwen-asr keeps the longest run of slots in order and
interpolates the others; here a boundary far from where its neighbours allow it leaves its word unplaced. Imports no torch.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from qasr_train.models.qwen3_aligner.words import Unit
from qasr_train.timed.base import TimedWord

MAX_MENDED_SLOTS = 3  # a boundary out of order by no more is moved to its neighbour


def timed_words(
    units: Sequence[Unit], slots: Sequence[float], sure: Sequence[float], *, slot_s: float, duration_s: float
) -> tuple[TimedWord, ...]:
    """The units with their times.

    Args:
        slots: start and end of each unit in turn, in slots from the clip's start, which may be parts of one. sure: probability of
            each. slot_s: seconds of a slot. duration_s: of the clip, past which no time lies.
    """
    words = []
    placed = in_order(slots)
    for number, unit in enumerate(units):
        start, end = placed[2 * number], placed[2 * number + 1]
        confidence = (sure[2 * number] * sure[2 * number + 1]) ** 0.5
        if start is None or end is None:
            words.append(TimedWord(unit.shown, None, None, confidence))
            continue
        start_s, end_s = (min(duration_s, at * slot_s) for at in (start, end))
        words.append(TimedWord(unit.shown, start_s, end_s, confidence))
    return tuple(words)


def in_order(slots: Sequence[float]) -> list[float | None]:
    """The slots in order: those of the longest run that never falls stay; one near to it is moved to it; others are None."""
    kept = _longest_rising(slots)
    lows = list(accumulate((slot if keep else 0.0 for slot, keep in zip(slots, kept, strict=True)), max))
    highs = list(
        accumulate((slot if keep else float("inf") for slot, keep in zip(slots[::-1], kept[::-1], strict=True)), min)
    )[::-1]
    placed: list[float | None] = []
    low = 0.0
    for slot, keep, below, high in zip(slots, kept, lows, highs, strict=True):
        low = max(low, below)
        moved = slot if keep else min(max(slot, low), high)
        is_near = abs(moved - slot) <= MAX_MENDED_SLOTS
        placed.append(moved if is_near else None)
        low = max(low, moved) if is_near else low
    return placed


def _longest_rising(values: Sequence[float]) -> list[bool]:
    """Which values are of the longest subsequence that never falls (the one that ends lowest, of several)."""
    tails: list[float] = []  # the lowest last value of a subsequence of each length
    at: list[int] = []  # where it stands
    before: list[int] = []
    for place, value in enumerate(values):
        length = bisect_right(tails, value)
        before.append(at[length - 1] if length else -1)
        if length == len(tails):
            tails.append(value)
            at.append(place)
        else:
            tails[length], at[length] = value, place
    kept = [False] * len(values)
    place = at[-1] if at else -1
    while place >= 0:
        kept[place] = True
        place = before[place]
    return kept
