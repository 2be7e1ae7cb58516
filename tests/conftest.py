"""Owns what holds for every test: one thread, no network, no window, Ctrl-C heard, and which tests skip where.

One thread: two that wait for each other are far slower on a busy machine.

Set before any library is imported; `gpu` and `slow` tests skip with a reason, `shared` ones do so in tests/helpers.py.
"""

import gc
import logging
import os
import signal
from collections.abc import Iterator

for name, value in {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "offline",
    "MPLBACKEND": "Agg",
}.items():
    os.environ.setdefault(name, value)

# A shell that starts pytest in the background has it ignore Ctrl-C, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402

# All its tests wait for one run, the longest of all: begun first, one process is at it while another does the rest, and no
# other process is handed some of its tests, for which it would have to run it again.
FIRST = "test_two_processes.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --run-slow and --run-gpu."""
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow too")
    parser.addoption("--run-gpu", action="store_true", help="let tests see the GPU; without it those marked gpu skip")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes `make test` runs: a core each, at most 8 (some 1 GB of memory each); 0, none, for named tests."""
    if all("::" in str(argument) for argument in config.args):
        return 0
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs, from child processes too: what a recipe does by itself would otherwise depend on the machine."""
    if not config.getoption("--run-gpu"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, with a reason, what this machine or this call cannot run."""
    if not config.getoption("--run-gpu"):
        _skip(items, "gpu", "needs a CUDA device: runs with --run-gpu or `make test-gpu`")
    elif any(item.get_closest_marker("gpu") for item in items) and not _has_gpu():
        _skip(items, "gpu", "needs a CUDA device, and torch sees none")
    if not config.getoption("--run-slow"):
        _skip(items, "slow", "slow: runs with --run-slow or `make test-all`")
    items.sort(key=lambda item: item.path.name != FIRST)


def pytest_collection_finish() -> None:
    """What was imported stays; the garbage collector need not look through it again, nor after every 700 new objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def own_log_as_it_was() -> Iterator[None]:
    """A recipe run inside a test shows our log on standard error; the next test starts without that."""
    yield
    log = logging.getLogger("qasr_train")
    log.handlers.clear()
    log.setLevel(logging.NOTSET)
    log.propagate = True
