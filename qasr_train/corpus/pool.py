"""Owns the worker processes of `prepare`: hands out tasks, survives a worker that crashes or hangs, and names its recording.

Input: tasks. Output: (number of the task, Reply) as they are ready. A task whose worker dies is tried once more in a fresh
process; the second death rejects the recording.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from qasr_train.corpus.worker import READY, Reply, Task, check, decode_reply
from qasr_train.run.processes import check_num_workers

TIMEOUT_S = 300.0  # an hour of sound decodes in some 20 s; what takes longer than this hangs
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def check_all(tasks: Sequence[Task], *, num_workers: int, timeout_s: float = TIMEOUT_S) -> Iterator[tuple[int, Reply]]:
    """Check recordings in parallel; yields (index of the task, reply) in the order they end.

    Args:
        tasks: what to check.
        num_workers: processes; 0 checks in this process, where a crash of a codec is the end of the run.
        timeout_s: a recording that takes longer is rejected and its worker replaced.

    Raises:
        ConfigError: `num_workers` is no number of processes.
    """
    check_num_workers(num_workers, at_least=0)
    if num_workers == 0:
        for index, task in enumerate(tasks):
            yield index, check(task)
        return
    pool = _Pool(tasks, timeout_s)
    try:
        pool.start(min(num_workers, len(tasks)))
        while not pool.is_done:
            yield from pool.collect()
    finally:
        pool.stop()


@dataclass
class _Worker:
    """A process, the task it works on (None: idle), and since when, by `time.monotonic`."""

    process: "subprocess.Popen[bytes]"
    task: int | None = None
    since: float = 0.0
    is_ready: bool = False

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout


class _Pool:
    """The workers, the tasks still to hand out, and the tasks that have killed a worker once."""

    def __init__(self, tasks: Sequence[Task], timeout_s: float) -> None:
        self.tasks, self.timeout_s = tasks, timeout_s
        self.waiting = deque(range(len(tasks)))
        self.num_open = len(tasks)
        self.tried: set[int] = set()
        self.workers: list[_Worker] = []
        self.selector = selectors.DefaultSelector()

    @property
    def is_done(self) -> bool:
        return self.num_open == 0

    def start(self, num_workers: int) -> None:
        for _ in range(num_workers):
            self._start_one()

    def _start_one(self) -> None:
        search_path = os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            [sys.executable, "-m", "qasr_train.corpus.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search_path},
            start_new_session=True,  # Ctrl-C is for the parent, which then ends its workers
        )
        worker = _Worker(process, since=time.monotonic())
        self.workers.append(worker)
        self.selector.register(worker.stdout, selectors.EVENT_READ, worker)

    def collect(self) -> Iterator[tuple[int, Reply]]:
        """Wait for whatever comes next; yields the replies that are there."""
        for key, _ in self.selector.select(timeout=1.0):
            worker: _Worker = key.data
            line = worker.stdout.readline()  # at most one line is on its way: a worker has one task at a time
            if not line.endswith(b"\n"):
                yield from self._bury(worker)
            elif line == READY:
                worker.is_ready = True
                self._hand_out(worker)
            else:
                assert worker.task is not None
                index, worker.task = worker.task, None
                self._hand_out(worker)
                self.num_open -= 1
                yield index, decode_reply(line)
        for worker in [w for w in self.workers if w.task is not None and time.monotonic() - w.since > self.timeout_s]:
            worker.process.kill()
            yield from self._bury(worker, rejected=f"took more than {self.timeout_s:g} s to decode; leave it out")

    def _hand_out(self, worker: _Worker) -> None:
        if not self.waiting:
            return
        worker.task, worker.since = self.waiting.popleft(), time.monotonic()
        try:
            worker.stdin.write(json.dumps(asdict(self.tasks[worker.task])).encode() + b"\n")
            worker.stdin.flush()
        except BrokenPipeError:
            pass  # it died idle; its stdout has ended too, and the next `collect` sees to the task

    def _bury(self, worker: _Worker, rejected: str | None = None) -> Iterator[tuple[int, Reply]]:
        """Replace a dead worker; yield a rejection if its task is not to be tried again."""
        self.selector.unregister(worker.stdout)
        self.workers.remove(worker)
        status = worker.process.wait()
        _close(worker)
        if not worker.is_ready:
            raise RuntimeError(f"a worker process could not start (exit status {status}); its error stands above")
        index = worker.task
        if index is not None and rejected is None and index not in self.tried:
            self.tried.add(index)
            self.waiting.appendleft(index)
        elif index is not None:
            self.num_open -= 1
            yield index, Reply(rejected=rejected or f"its decoder crashed twice ({_death(status)}); encode it again")
        if self.waiting:
            self._start_one()

    def stop(self) -> None:
        """End every worker; one that is idle ends by itself when its stdin closes."""
        for worker in self.workers:
            if worker.task is not None or not worker.is_ready:
                worker.process.kill()
            _close(worker)
            worker.process.wait()
        self.selector.close()


def _close(worker: _Worker) -> None:
    for stream in (worker.stdin, worker.stdout):
        with suppress(BrokenPipeError):
            stream.close()


def _death(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name
