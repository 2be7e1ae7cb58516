"""Owns `qasr info`: what a report of a bug should say of the machine, and nothing that says whose it is.

Input: this machine. Output: text with versions, devices, free memory and disk, extras installed; no path, no user or host name.
"""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil
import torch

from qasr_train.run.directory import git_state

_PACKAGES = (
    "torch transformers accelerate peft datasets tokenizers huggingface_hub hydra-core omegaconf numpy pyarrow "
    "soundfile soxr jiwer"
).split()
_GIB = 2**30


def describe_machine() -> str:
    """One `name: value` a line."""
    facts = {
        "qasr_train": _own_version(),
        "python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        **{name: installed_version(name) or "not installed" for name in _PACKAGES},
        "CUDA of torch": torch.version.cuda or "none (a CPU build)",
        "devices": "; ".join(_devices()),
        "memory": _free_of(psutil.virtual_memory().available, psutil.virtual_memory().total),
        "disk here": _free_of(*_disk()),
        "extras": ", ".join(installed_extras()) or "none",
        "ffmpeg": "found" if shutil.which("ffmpeg") else "not found",
    }
    width = max(map(len, facts)) + 1
    return "\n".join(f"{name + ':':{width}} {value}" for name, value in facts.items())


def installed_version(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def installed_extras() -> list[str]:
    """The extras of qasr_train (`pip install qasr_train[demo]`) of which every package is installed, by name."""
    try:
        lines = requires("qasr_train") or ()
    except PackageNotFoundError:
        return []
    packages: dict[str, list[str]] = {}
    for line in lines:  # espeakng-loader>=0.2.4; extra == "demo"
        extra, name = re.search(r"""extra == ["'](\w+)""", line), re.match(r"[\w.-]+", line)
        if extra and name:
            packages.setdefault(extra[1], []).append(name[0])
    return sorted(extra for extra, names in packages.items() if all(map(installed_version, names)))


def _own_version() -> str:
    git = git_state(Path(__file__).resolve().parents[1])
    commit = f", commit {git['commit'][:10]}{' with changes' if git['is_dirty'] else ''}" if git else ""
    return (installed_version("qasr_train") or "not installed") + commit


def _devices() -> Iterator[str]:
    yield f"CPU, {len(os.sched_getaffinity(0))} cores for us of {os.cpu_count()}"
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        yield f"{torch.cuda.get_device_name(index)}, {_free_of(free, total)}"
    if torch.backends.mps.is_available():
        yield "Apple GPU, not used"


def _disk() -> tuple[int, int]:
    usage = shutil.disk_usage(".")
    return usage.free, usage.total


def _free_of(free_bytes: int, total_bytes: int) -> str:
    return f"{free_bytes / _GIB:.1f} of {total_bytes / _GIB:.1f} GiB free"
