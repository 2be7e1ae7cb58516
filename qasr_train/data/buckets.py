"""Owns which utterances go into which batch: duration buckets under a budget of padded seconds, equal counts per process.

Input: durations in seconds. Output: lists of indices. Pure functions of their arguments and seed: no audio, no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qasr_train.errors import ConfigError

LENGTH_JITTER = 0.04  # so that the same clips do not meet in every epoch; keeps padding under 5 % (bench_batches.py)


@dataclass(frozen=True, slots=True)
class BatchBudget:
    """How much a batch may hold. seconds: its rows times its longest clip. max_rows: most rows; None: no such limit.

    windows: shares of the rows, 1 in all, and the seconds that a shorter clip counts as there, where a model hears so much of it.
    """

    seconds: float
    max_rows: int | None = None
    windows: tuple[tuple[float, float], ...] = ((1.0, 0.0),)

    def hearing(self, windows: tuple[tuple[float, float], ...], *, are_apart: bool) -> "BatchBudget":
        """The budget for a model of these windows.

        are_apart: rows of one are computed apart from those of another; else the widest one of a batch is that of all its rows.
        """
        if not are_apart:
            windows = ((1.0, max(least_s for _, least_s in windows)),)
        return replace(self, windows=windows)

    def counted_s(self, longest_s: float) -> float:
        """Seconds that each row counts as, in the mean, beside a longest clip of so many."""
        return sum(share * max(longest_s, least_s) for share, least_s in self.windows)


def plan_batches(
    durations_s: Sequence[float] | np.ndarray, budget: BatchBudget, *, seed: Sequence[int], num_processes: int = 1
) -> list[list[int]]:
    """Batches of similar durations in random order; every index exactly once; a multiple of `num_processes` batches.

    Where every batch is down to one row, empty ones make up the number.

    Args:
        durations_s: seconds of each utterance; none longer than the budget's.
        budget: of a batch.
        seed: e.g. (run seed, epoch); the same seed gives the same batches.
        num_processes: process r takes batches r, r + num_processes, ...

    Raises:
        ConfigError: fewer utterances than processes.
    """
    rng = np.random.default_rng(list(seed))
    durations = np.asarray(durations_s, dtype=np.float64)
    jittered = durations * (1.0 + LENGTH_JITTER * rng.uniform(-1.0, 1.0, size=len(durations)))
    batches = _fill(np.argsort(jittered, kind="stable"), durations, budget)
    batches = _split_evenly(batches, num_processes)
    return [batches[i] for i in rng.permutation(len(batches))]


def sorted_batches(durations_s: Sequence[float] | np.ndarray, budget: BatchBudget) -> list[list[int]]:
    """Batches by duration, longest first, every index once; for validation and transcription."""
    durations = np.asarray(durations_s, dtype=np.float64)
    batches = _fill(np.argsort(durations, kind="stable"), durations, budget)
    return batches[::-1]


def padded_fraction(durations_s: Sequence[float], batches: Sequence[Sequence[int]]) -> float:
    """Share of the batches' padded seconds that is padding."""
    durations = np.asarray(durations_s)
    padded = sum(len(batch) * durations[list(batch)].max() for batch in batches)
    return 1.0 - float(sum(durations[list(batch)].sum() for batch in batches)) / float(padded)


def epoch_indices(num_items: int, *, passes: float, epoch: int, seed: Sequence[int]) -> list[int]:
    """The items of one epoch where an epoch is `passes` passes: consecutive cuts of an endless row of permutations.

    With passes = 0.25 four epochs show every item exactly once, a fresh quarter each; with 2 every item twice an epoch.
    """
    first = int(np.floor(epoch * passes * num_items + 1e-9))
    last = int(np.floor((epoch + 1) * passes * num_items + 1e-9))
    last = max(last, first + 1)  # a source is never silently absent
    chosen: list[int] = []
    for number in range(first // num_items, (last - 1) // num_items + 1):
        order = np.random.default_rng([*seed, number]).permutation(num_items)
        begin, end = max(first - number * num_items, 0), min(last - number * num_items, num_items)
        chosen.extend(int(i) for i in order[begin:end])
    return chosen


def _fill(order: np.ndarray, durations: np.ndarray, budget: BatchBudget) -> list[list[int]]:
    """Cut a nearly sorted order into batches under the budget."""
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0.0
    for index in order.tolist():
        grown = max(longest, float(durations[index]))
        is_over = budget.counted_s(grown) * (len(current) + 1) > budget.seconds
        if current and (is_over or len(current) == budget.max_rows):
            batches.append(current)
            current, grown = [], float(durations[index])
        current.append(index)
        longest = grown
    return [*batches, current] if current else batches


def _split_evenly(batches: list[list[int]], num_processes: int) -> list[list[int]]:
    """Halve the largest batches until their number is a multiple of the number of processes; then add empty ones."""
    batches = list(batches)
    while len(batches) % num_processes:
        widest = max(range(len(batches)), key=lambda i: len(batches[i]))
        rows = batches[widest]
        if len(rows) < 2 and len(batches) < num_processes:
            raise ConfigError(
                f"data: {len(batches)} utterances cannot be shared by {num_processes} processes; launch fewer processes "
                "or give more data"
            )
        if len(rows) < 2:
            return [*batches, *([] for _ in range(-len(batches) % num_processes))]
        batches[widest : widest + 1] = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    return batches
