"""Owns starting tests/training/worker.py on two processes of a CPU: by torchrun, or cheaply as copies of this process."""

import logging
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from accelerate.state import AcceleratorState

from qasr_train.run.heartbeat import leave_processes
from tests.helpers import ROOT
from tests.training import worker

LIMIT_S = 600


def run_two_processes(folder: Path, *arguments: str) -> Path:
    """The folder, with the results of the worker in it and what it said in stderr.txt."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.training.worker", str(folder), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


def fork_two_processes(folder: Path, *arguments: str) -> Path:
    """The same without three processes that import everything anew, which is three quarters of the time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_be_rank, args=(rank, port, folder, arguments)) for rank in range(2)]
    for process in ranks:
        process.start()
    end_s = time.monotonic() + LIMIT_S
    while any(process.is_alive() for process in ranks):
        if any(process.exitcode for process in ranks) or time.monotonic() > end_s:
            for process in ranks:  # the other waits for the one that fell
                process.kill()
        ranks[0].join(0.05)
        ranks[1].join(0.05)
    said = "".join((folder / f"stderr{rank}.txt").read_text() for rank in range(2))
    assert [process.exitcode for process in ranks] == [0, 0], said[-6000:]
    (folder / "stderr.txt").write_text(said)
    return folder


def _be_rank(rank: int, port: str, folder: Path, arguments: tuple[str, ...]) -> None:
    """What torchrun sets, and nothing of the process this is a copy of: its output, its log, its Accelerator."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    sys.stdout = sys.stderr = (folder / f"stderr{rank}.txt").open("w", buffering=1)
    logging.getLogger().handlers.clear()
    AcceleratorState._reset_state(reset_partial_state=True)
    worker.run(folder, *arguments)
    leave_processes()
