"""A process that dies takes the others with it soon, and they say which one it was."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.helpers_finetune import last_step, make_inputs, start, wait_until


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@pytest.mark.slow  # it waits for a silence of eight seconds; .ci/run runs it
def test_a_killed_process_is_named_by_the_one_that_is_left(tmp_path: Path) -> None:
    """Started as srun does: no launcher watches over the processes."""
    arguments = [*make_inputs(tmp_path), f"run_dir={tmp_path / 'run'}", "trainer.max_steps=100000"]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    processes = [
        start([*arguments, "trainer.save_every=3"], shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert wait_until(lambda: last_step(tmp_path / "run") >= 4, processes[0]), processes[0].communicate()[1]
        os.kill(processes[1].pid, signal.SIGKILL)
        began_s = time.monotonic()
        error = processes[0].communicate(timeout=60)[1]
        took_s = time.monotonic() - began_s
    finally:
        for process in processes:
            process.kill()
    assert processes[0].returncode == 2
    assert "error: process 1 of 2 died or cannot be reached" in error
    assert "go on from the last checkpoint with the same command and resume=true" in error
    assert "Traceback" not in error
    assert took_s < 45, took_s  # four signs of life are missed, and the machine may be busy
