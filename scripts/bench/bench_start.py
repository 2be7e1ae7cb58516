"""What it costs until a recipe answers: CPU seconds and peak memory of `--help`, beside those of `import hydra` in the same run.

Input: a checkout (by default the one this file stands in; an older one for comparison). Output: a table on the terminal, the
median of the repeats. The processes run one after the other, on one core as far as the libraries let themselves be told.

    python scripts/bench/bench_start.py [--root ../older] [--repeats 3]
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Measure `import hydra`, then every recipe; print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    hydra_s, hydra_mb = median(["-c", "import hydra"], root, arguments.repeats)
    print(f"{'':20}{'CPU s':>8}{'x hydra':>9}{'MB':>7}")
    print(f"{'import hydra':20}{hydra_s:8.2f}{1:9.1f}{hydra_mb:7.0f}")
    for path in sorted((root / "recipes").glob("*.py")):
        cpu_s, peak_mb = median([str(path), "--help"], root, arguments.repeats)
        print(f"{path.stem:20}{cpu_s:8.2f}{cpu_s / hydra_s:9.1f}{peak_mb:7.0f}", flush=True)


def median(arguments: Sequence[str], root: Path, repeats: int) -> tuple[float, float]:
    """Median CPU seconds and MB of a Python process with these arguments."""
    figures = [cost(arguments, root) for _ in range(repeats)]
    return statistics.median(s for s, _ in figures), statistics.median(mb for _, mb in figures)


def cost(arguments: Sequence[str], root: Path) -> tuple[float, float]:
    """CPU seconds (user and system) and peak resident MB of one process, which must end well."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *arguments], cwd=root, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(arguments)} ended with status {status}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
