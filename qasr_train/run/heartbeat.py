"""Owns noticing that another process of a run has died: each shows signs of life, and the others end and say which did not.

Input: the address of the launch (MASTER_ADDR, MASTER_PORT). Output: a TrainingError that names the process; a process whose
main thread hangs in a collective operation, as with NCCL, is ended with the same sentence on standard error.
"""

import logging
import os
import sys
import threading
import time
from datetime import timedelta
from types import TracebackType

import torch.distributed as dist
from accelerate import Accelerator

from qasr_train.errors import InterruptedRunError, TrainingError, UserError

log = logging.getLogger(__name__)

BEAT_S = 2.0  # seconds between signs of life
_DONE, _ENDED_BADLY = "done", "failed:"
_GRACE_S = 10.0  # for the main thread to end by itself once a process is known to be lost


def leave_processes() -> None:
    """Take the communication with other processes down, if there is any.

    Left to the interpreter's end, gloo's threads have now and then aborted a process that was done: status -6 instead of 0 or 75.
    """
    if dist.is_initialized():
        dist.destroy_process_group()


class Peers:
    """Context around a run of several processes; does nothing where there is one."""

    def __init__(self, accelerator: Accelerator, *, run: str, timeout_s: float) -> None:
        """run: tells this run's signs from others'. timeout_s: silence after which a process counts as dead."""
        self.accelerator, self.timeout_s = accelerator, timeout_s
        self.rank, self.num_processes = accelerator.process_index, accelerator.num_processes
        self.prefix = f"qasr/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{run}"
        self.lost: str | None = None
        self._found, self._ended = threading.Event(), threading.Event()
        self._seen: dict[int, tuple[str, float]] = {}
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Peers":
        if self.num_processes == 1 or "MASTER_ADDR" not in os.environ:
            return self
        self.store = dist.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=max(self.timeout_s, 10)),
        )
        self.store.set(self._key(self.rank), "0")
        self.accelerator.wait_for_everyone()
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell the others how this process ended. An error of communication becomes the name of who caused it.

        Raises:
            TrainingError: another process is dead or ended with an error, which broke the communication with it.
        """
        if self._thread is None:
            return
        if isinstance(error, RuntimeError) and not isinstance(error, UserError):
            self.timeout_s = min(self.timeout_s, 4 * BEAT_S)  # something broke: who is silent now is the cause
            self._found.wait(self.timeout_s + 3 * BEAT_S)
        self._ended.set()
        self._thread.join(timeout=BEAT_S)
        sentence = " ".join(str(self.lost or error).split())[:500]
        try:
            self.store.set(self._key(self.rank), _DONE if error is None else f"{_ENDED_BADLY}{sentence}")
        except RuntimeError:  # the process that kept the store is gone
            log.debug("the store is gone")
        if self.lost is not None and isinstance(error, RuntimeError):
            raise TrainingError(self.lost) from error
        if error is None or isinstance(error, InterruptedRunError):  # else another may still wait in an operation
            leave_processes()

    def _watch(self) -> None:
        """The thread: show a sign of life, look at the others', until the run ends or one is lost."""
        number = 0
        while not self._ended.wait(BEAT_S):
            number += 1
            try:
                self.store.set(self._key(self.rank), str(number))
                values = [value.decode() for value in self.store.multi_get([self._key(r) for r in self._others()])]
            except RuntimeError:
                self._lose("process 0, or the launcher that kept the processes together, is gone")
                return
            for rank, value in zip(self._others(), values, strict=True):
                if reason := self._fault(rank, value):
                    self._lose(f"process {rank} of {self.num_processes} {reason}")
                    return

    def _fault(self, rank: int, value: str) -> str | None:
        """Why a process counts as lost, or None."""
        now_s = time.monotonic()
        if value.startswith(_ENDED_BADLY):
            return f"ended with an error: {value.removeprefix(_ENDED_BADLY)}"
        if rank not in self._seen or self._seen[rank][0] != value or value == _DONE:
            self._seen[rank] = (value, now_s)
        silent_s = now_s - self._seen[rank][1]
        return f"died or cannot be reached, silent for {silent_s:.0f} s" if silent_s > self.timeout_s else None

    def _lose(self, what: str) -> None:
        self.lost = (
            f"{what}; this process ends too; go on from the last checkpoint with the same command and resume=true"
        )
        self._found.set()
        if self._ended.wait(_GRACE_S):
            return
        # The main thread hangs in an operation that waits for the dead process, where no exception reaches it.
        print(f"error (process {self.rank}): {self.lost}", file=sys.stderr, flush=True)
        os._exit(TrainingError.exit_status)

    def _others(self) -> list[int]:
        return [rank for rank in range(self.num_processes) if rank != self.rank]

    def _key(self, rank: int) -> str:
        return f"{self.prefix}/{rank}"
