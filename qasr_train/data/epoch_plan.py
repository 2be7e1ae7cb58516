"""Owns the plan of an epoch: which batch comes when, on which process, also where a run was resumed on other processes.

Input: durations, how the epoch is cut (`PlanShape`), and which steps were done under another cut. Output: batches of
indices. A plan is a function of its arguments and seed alone, so any process can work out what all of them have seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from qasr_train.data.buckets import BatchBudget, plan_batches


@dataclass(frozen=True)
class PlanShape:
    """What an epoch is cut by. num_microbatches: batches of one optimizer step on each process."""

    num_processes: int
    num_microbatches: int
    budget: BatchBudget

    def state_dict(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        state = {
            "num_processes": self.num_processes,
            "num_microbatches": self.num_microbatches,
            "batch_seconds": self.budget.seconds,
            "max_batch_rows": self.budget.max_rows,
        }
        (share, least_s), *others = self.budget.windows
        if others:
            return state | {"windows": [[share, least_s], *map(list, others)]}
        return state | ({"least_clip_s": least_s} if least_s else {})

    @staticmethod
    def of_state_dict(state: Mapping[str, Any]) -> "PlanShape":
        """What `state_dict` was given for."""
        windows = tuple((share, s) for share, s in state.get("windows", [[1.0, state.get("least_clip_s", 0.0)]]))
        budget = BatchBudget(state["batch_seconds"], state["max_batch_rows"], windows)
        return PlanShape(state["num_processes"], state["num_microbatches"], budget)


@dataclass(frozen=True)
class DoneSteps:
    """The first `num_steps` optimizer steps of a plan of this shape."""

    shape: PlanShape
    num_steps: int

    def state_dict(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        return {"shape": self.shape.state_dict(), "num_steps": self.num_steps}


def plan_epoch(
    durations_s: np.ndarray, shape: PlanShape, *, seed: Sequence[int], done: Sequence[DoneSteps] = ()
) -> list[list[int]]:
    """Batches of an epoch for all processes; process r takes batches r, r + num_processes, ...

    Args:
        durations_s: float64 [N]; of the utterances of the epoch.
        shape: how it is cut now.
        seed: (run seed, epoch).
        done: what was trained on before, first to last; the remainder alone is planned.

    Raises:
        ConfigError: an epoch has fewer utterances than processes.
    """
    rest = np.arange(len(durations_s))
    for number, part in enumerate(done):
        batches = _plan_rest(durations_s, rest, part.shape, seed, number)
        seen = np.zeros(len(durations_s), dtype=bool)
        for batch in batches[: part.num_steps * part.shape.num_microbatches * part.shape.num_processes]:
            seen[batch] = True
        rest = rest[~seen[rest]]
    return _plan_rest(durations_s, rest, shape, seed, len(done))


def _plan_rest(
    durations_s: np.ndarray, rest: np.ndarray, shape: PlanShape, seed: Sequence[int], number: int
) -> list[list[int]]:
    """Batches of the utterances `rest` (int64, sorted); `number` of plans of the same epoch came before."""
    if number and len(rest) < shape.num_processes:  # the tail of an epoch: the others run empty batches
        return [*([int(i)] for i in rest), *([] for _ in range(shape.num_processes - len(rest)))]
    batches = plan_batches(
        durations_s[rest],
        shape.budget,
        seed=[*seed, number] if number else seed,
        num_processes=shape.num_processes,
    )
    return [rest[batch].tolist() for batch in batches] if number else batches


def make_up_number(batches: list[list[int]], num_batches: int) -> list[list[int]]:
    """So many batches of the same rows: the largest are halved, and where all are down to one row, empty ones added."""
    batches = list(batches)
    while len(batches) < num_batches:
        widest = max(range(len(batches)), key=lambda i: len(batches[i]), default=None)
        if widest is None or len(batches[widest]) < 2:
            return [*batches, *([] for _ in range(num_batches - len(batches)))]
        rows = batches[widest]
        batches[widest : widest + 1] = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    return batches


class PackedBatches(Sequence[list[int]]):
    """Batches in two arrays: a forked worker that reads a list of lists would copy its memory page by page."""

    def __init__(self, batches: Sequence[Sequence[int]]) -> None:
        self.ends = np.cumsum([len(batch) for batch in batches], dtype=np.int64)
        self.rows = np.fromiter((i for batch in batches for i in batch), dtype=np.int64, count=self._num_rows)

    @property
    def _num_rows(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> "PackedBatches": ...
    def __getitem__(self, index: int | slice) -> "list[int] | PackedBatches":
        if isinstance(index, slice):
            return PackedBatches([self[i] for i in range(*index.indices(len(self)))])
        index = range(len(self))[index]
        begin = self.ends[index - 1] if index else 0
        return self.rows[begin : self.ends[index]].tolist()
