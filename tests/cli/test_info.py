"""What `qasr info` says, and what it must not."""

import getpass
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from qasr_train.cli import info
from qasr_train.cli.info import describe_machine, installed_extras, installed_version


def test_it_names_versions_devices_memory_disk() -> None:
    facts = dict(re.split(r":\s+", line, maxsplit=1) for line in describe_machine().splitlines())
    assert facts["python"].startswith(platform.python_version())
    assert facts["torch"] == version("torch") == torch.__version__
    assert facts["qasr_train"].startswith(version("qasr_train"))
    assert facts["devices"].startswith("CPU, ")
    for name in ("memory", "disk here"):
        free, total = map(float, re.fullmatch(r"([\d.]+) of ([\d.]+) GiB free", facts[name]).groups())
        assert 0 < free <= total


def test_it_says_nothing_of_whose_machine_it_is() -> None:
    text = describe_machine()
    for private in (getpass.getuser(), os.uname().nodename, str(Path.home()), str(Path.cwd())):
        assert not re.search(rf"(?<!\w){re.escape(private)}(?!\w)", text), private
    assert "/" not in text


def test_an_extra_is_installed_when_all_its_packages_are(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=2", 'one>=1; extra == "demo"', 'two>=1; extra == "demo"', "one>=1; extra == 'dev'"]
    monkeypatch.setattr(info, "requires", lambda package: lines)
    monkeypatch.setattr(info, "version", lambda package: {"one": "1.0"}[package] if package == "one" else missing())
    assert installed_extras() == ["dev"]
    assert (installed_version("one"), installed_version("two")) == ("1.0", None)


def missing() -> str:
    raise info.PackageNotFoundError
