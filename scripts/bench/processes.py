"""Owns running one way of a benchmark as a process of its own, on so many cores, and what that cost.

Input: a command. Output: a `Cost`. Ways that are compared take turns, so that what else the machine does meets all of them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cost:
    """Of a process with its children: seconds of the wall and of its cores, peak resident MiB, the machine's load as it ended."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    load: float


def run_python(arguments: Sequence[str], *, cores: int, log: Path, before: Sequence[Path] = ()) -> Cost:
    """Run Python with these arguments on so many cores; what it prints goes to `log`.

    before: folders of packages that go before those of this environment. A process that does not end well ends the benchmark.
    """
    paths = [str(path.resolve()) for path in before] + [str(ROOT)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(cores),
        "TOKENIZERS_PARALLELISM": "false",
    }
    allowed = sorted(os.sched_getaffinity(0))
    if cores > len(allowed):
        raise SystemExit(f"--cores {cores}: this process may use {len(allowed)}")
    began_s = time.perf_counter()
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        os.sched_setaffinity(process.pid, allowed[-cores:])
        _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(
            f"{' '.join(arguments)} ended with status {status}:\n{log.read_text(encoding='utf-8')[-3000:]}"
        )
    wall_s = time.perf_counter() - began_s
    return Cost(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, os.getloadavg()[0])
