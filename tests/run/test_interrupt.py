"""Ctrl-C and SIGTERM: the first is a flag, a second Ctrl-C stops at once, and what was there before comes back."""

import os
import signal
from types import SimpleNamespace

import pytest
import torch

from qasr_train.run.interrupt import Interrupt

ALONE = SimpleNamespace(num_processes=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_flag_and_a_second_ctrl_c_stops_at_once(number: int):
    with Interrupt() as interrupt:
        assert not interrupt.is_set_anywhere(ALONE)
        os.kill(os.getpid(), number)
        assert interrupt.is_set_anywhere(ALONE)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sigterm_from_a_launcher_after_that_of_the_cluster_does_not_end_the_saving(number: int):
    with Interrupt() as interrupt:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.is_set


def test_afterwards_the_signals_do_what_they_did_before():
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGTERM)
        assert (interrupt.is_set, seen) == (True, [])
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
        with pytest.raises(RuntimeError), Interrupt():
            raise RuntimeError
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(seen) == 2
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("own", "others", "expected"), [(False, 0.0, False), (False, 1.0, True), (True, 0.0, True)])
def test_of_several_processes_one_that_was_asked_stops_all(own: bool, others: float, expected: bool):
    several = SimpleNamespace(num_processes=2, device=torch.device("cpu"), reduce=lambda flag, reduction: flag + others)
    interrupt = Interrupt()
    interrupt.is_set = own
    assert interrupt.is_set_anywhere(several) is expected
