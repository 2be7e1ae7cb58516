"""Owns the processes that share one evaluation: one, or those of `accelerate launch`.

Input: the device asked for. Output: this process's rank, its own device, and a place where all wait for each other.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

# A process that is done waits for the slowest; a model that still loads, or rank 0 hashing weights, may take long.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Processes:
    """rank: of this process, from 0. num_ranks: how many there are. device: of this process."""

    rank: int
    num_ranks: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes what all have in common."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.num_ranks > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def gather(self, values: list[Any]) -> list[Any]:
        """The values of all processes, those of rank 0 first, on every process; all must call it."""
        if self.num_ranks == 1:
            return values
        from accelerate.utils import gather_object

        return list(gather_object(values))

    def leave(self) -> None:
        """Take the communication down; left to the interpreter's end, gloo has now and then aborted a process that was done."""
        if self.num_ranks > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()


def num_launched() -> int:
    """How many processes `accelerate launch` (or torchrun) started, as it says in the environment; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join_processes(device: torch.device) -> Processes:
    """Find out which of how many processes this is, as `accelerate launch` (or torchrun) says in the environment."""
    if num_launched() == 1:
        return Processes(0, 1, device)
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
    return Processes(state.process_index, state.num_processes, torch.device(state.device))
