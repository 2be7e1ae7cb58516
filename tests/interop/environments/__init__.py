"""Owns the environments of clients: one for each list of pinned packages here, made once below .interop and kept.

An environment lies over the project's own: it sees what is installed there (torch above all) and holds what the list has
besides. A list is whole: pip takes its lines and no more, so that none draws in another torch.
Input: NAME.txt, `name==version` a line; INTEROP_CACHE, a folder to take instead of .interop. Output: its Python; a test that
needs one that cannot be made skips and says why.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.helpers import ROOT

CACHE = Path(os.environ.get("INTEROP_CACHE", ROOT / ".interop"))
LISTS = Path(__file__).resolve().parent
PIP_LIMIT_S = 1200


def python_of(name: str) -> Path:
    """The Python of an environment, made where it is missing or its list has changed; skips the test where pip cannot."""
    wanted = (LISTS / f"{name}.txt").read_text(encoding="utf-8") + sys.version
    folder = CACHE / "environments" / name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    venv.create(folder, clear=True, with_pip=True)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # After its own packages on the path, so that these come first.
    (site / "project.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-compile",
    ]
    command += ["-r", str(LISTS / f"{name}.txt")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name}: pip was not done after {PIP_LIMIT_S} s")
    if done.returncode:
        pytest.skip(f"{name}: pip could not install it: {last_line(done.stderr)}")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def last_line(text: str) -> str:
    """What a program said last, which is where its reason stands."""
    return next(reversed([line.strip() for line in text.splitlines() if line.strip()]), "it said nothing")
