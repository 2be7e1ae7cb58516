"""Owns the processes that share one run: one, or those of `accelerate launch`.

Input: what the launch says in the environment, or Accelerate. Output: which of how many this is, and where all meet. Imports no
torch, so that what is shared among processes (rows of a source, batches) can be worked out without it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

from qasr_train.errors import ConfigError

Item = TypeVar("Item")

# A process that is done waits for the slowest; a model that still loads, or rank 0 hashing weights, may take long.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Processes:
    """rank: of this process, from 0. num_processes: how many there are."""

    rank: int
    num_processes: int

    @property
    def is_main(self) -> bool:
        """Whether this process writes what all have in common."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every `num_processes`-th item from `rank` on: together the processes have each once."""
        return items[self.rank :: self.num_processes]

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.num_processes > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def gather(self, values: list[Any]) -> list[Any]:
        """The values of all processes, those of rank 0 first, on every process; all must call it."""
        if self.num_processes == 1:
            return values
        from accelerate.utils import gather_object

        return list(gather_object(values))

    def leave(self) -> None:
        """Take the communication down; left to the interpreter's end, gloo has now and then aborted a process that was done."""
        if self.num_processes > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()


ALONE = Processes(0, 1)


def check_num_workers(num_workers: int, *, at_least: int = 1, key: str = "num_workers") -> None:
    """Refuse (ConfigError) what is no number of processes or threads to work with."""
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < at_least:
        raise ConfigError(f"{key}={num_workers!r}: expected a whole number, at least {at_least}")


def num_launched() -> int:
    """How many processes `accelerate launch` (or torchrun) started, as it says in the environment; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def refuse_several_processes(recipe: str) -> None:
    """Refuse a launch of several processes; recipe: a job that would do all its work in each of them.

    Raises:
        ConfigError: there are several.
    """
    if num_launched() > 1:
        raise ConfigError(
            f"WORLD_SIZE={num_launched()}: {recipe} does not share its work among processes; run it as one process, without "
            "accelerate launch or torchrun"
        )


def processes_of(accelerator: "Accelerator") -> Processes:
    """Those of an Accelerator."""
    return Processes(accelerator.process_index, accelerator.num_processes)


def join_processes(device: "torch.device") -> tuple[Processes, "torch.device"]:
    """Which of how many processes this is, as `accelerate launch` (or torchrun) says, and its own device.

    device: the kind asked for.
    """
    if num_launched() == 1:
        return ALONE, device
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
    return Processes(state.process_index, state.num_processes), torch.device(state.device)
