"""Owns starting tests/training/worker.py on two processes of a CPU."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT


def run_two_processes(folder: Path, *arguments: str) -> Path:
    """The folder, with the results of the worker in it and what it said in stderr.txt."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.training.worker", str(folder), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    (folder / "stderr.txt").write_text(done.stderr)
    return folder
