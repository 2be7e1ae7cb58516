"""Owns Ctrl-C and SIGTERM: the first asks for a stop at the next step boundary, a Ctrl-C after it stops at once."""

import signal
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator


class Interrupt:
    """Context in which SIGINT and SIGTERM set a flag; SIGINT raises KeyboardInterrupt where it is set already.

    SIGTERM never does: clusters and launchers repeat it (SLURM to every process of a job, torchrun to its own on top of
    that), and the second would end the run while it saves. SIGKILL ends what does not end by itself.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def is_set_anywhere(self, accelerator: Accelerator) -> bool:
        """Whether any process was asked to stop; the same answer on all of them."""
        if accelerator.num_processes == 1:
            return self.is_set
        flag = torch.tensor(float(self.is_set), device=accelerator.device)
        return bool(accelerator.reduce(flag, reduction="sum") > 0)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.is_set and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_set = True
