"""A function in a process of its own: its answer, its error, its memory."""

import os
import sys

import pytest

from qasr_train.errors import DataError
from qasr_train.run.apart import run_apart


def hold(num_bytes: int) -> int:
    """Keep so much memory for a while; the number of the process."""
    import time

    kept = bytearray(num_bytes)
    kept[::4096] = b"x" * len(kept[::4096])  # touched, or the system gives none
    time.sleep(0.3)
    return os.getpid()


def refuse() -> None:
    raise DataError("so it is")


def fall() -> None:
    sys.exit(3)


def test_the_answer_comes_from_another_process_with_its_memory() -> None:
    pid, peak = run_apart(hold, 100_000_000)
    assert pid != os.getpid() and 100_000_000 < peak < 2_000_000_000
    assert run_apart(hold, 100_000_000, only_children=True)[1] < 100_000_000  # it starts none


def test_a_users_mistake_is_raised_here_and_a_fall_is_told() -> None:
    with pytest.raises(DataError, match="so it is"):
        run_apart(refuse)
    with pytest.raises(RuntimeError, match="ended with status 3"):
        run_apart(fall)
