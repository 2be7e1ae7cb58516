"""What `make demo`, `make real` and the benches of whole runs share: recipes run as a user would run them, and their figures.

Every step is a process of its own and prints its command line. Figures come from the scores.json of two evaluations.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
Rates = dict[str, dict[str, Any]]  # name of an evaluation -> role -> figures, as scores.json has them


def step(title: str, script: str, *arguments: object, threads: int | None = None, is_verdict: bool = False) -> None:
    """Run one script of the repository.

    Args:
        title: printed before it; "": none. script: from the root. arguments: of its command line.
        threads: of arithmetic; None: as many as there are cores.
        is_verdict: exit statuses 1 and 3 are answers then (not passed, undecided), not failures.

    Raises:
        subprocess.CalledProcessError: it failed; it has said why.
    """
    if title:
        print(f"\n== {title}", flush=True)
    command, environment = _announced(script, arguments, threads)
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode and not (is_verdict and done.returncode in (1, 3)):
        raise subprocess.CalledProcessError(done.returncode, script)


def _announced(script: object, arguments: Sequence[object], threads: int | None) -> tuple[list[str], dict[str, str]]:
    """The command and environment of a script of the repository, whose command line is printed."""
    words = [str(argument) for argument in arguments]
    print(f"$ python {script} {shlex.join(words)}", flush=True)
    environment = {"PYTHONPATH": str(ROOT), **({"OMP_NUM_THREADS": str(threads)} if threads else {}), **os.environ}
    return [sys.executable, str(ROOT / str(script)), *words], environment


def run_anew(out: Path, run_all: Callable[[], None], *, command: str) -> tuple[int, float]:
    """Run all steps into a new `out`: (exit status, seconds); that of a step that fails, 2 where interrupted, else 0.

    command: what begins anew, for whoever interrupts it.
    """
    set_aside(out)
    began_s = time.perf_counter()
    status = 0
    try:
        run_all()
    except subprocess.CalledProcessError as error:
        status = int(error.returncode)
    except KeyboardInterrupt:
        print(f"interrupted; what was made lies in {out}; `{command}` begins anew", file=sys.stderr)
        status = 2
    return status, time.perf_counter() - began_s


def set_aside(out: Path) -> None:
    """Move an earlier result out of the way, under the time it was made."""
    if out.exists():
        stamp = datetime.fromtimestamp(out.stat().st_mtime).strftime("%Y%m%d-%H%M%S")
        moved = out.with_name(f"{out.name}-{stamp}")
        out.rename(moved)
        print(f"the earlier {out} was moved to {moved}")


def read_rates(out: Path, names: Sequence[str]) -> Rates:
    """The figures of the target and guard sets of evaluations that lie in `out` by these names."""
    return {name: json.loads((out / name / "scores.json").read_text(encoding="utf-8"))["roles"] for name in names}


def write_summary(out: Path, rates: Rates, seconds: float, **others: Any) -> None:
    """summary.json: WER in percent of each evaluation by role, the seconds it all took, and what else there is to say."""
    summary: dict[str, Any] = {
        role: {f"wer_{name}": figures[role]["wer_percent"] for name, figures in rates.items() if role in figures}
        for role in ("target", "guard")
    }
    summary |= {"seconds": round(seconds, 1), **others}
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> list[dict[str, Any]]:
    """The rows of a results.jsonl so far, none where there is none: a bench that is begun again makes what is missing."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def add_result(path: Path, row: Mapping[str, Any]) -> None:
    """Append a row to a results.jsonl."""
    with open(path, "a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")


def table(rates: Rates, labels: Mapping[str, str]) -> list[str]:
    """Lines: a column an evaluation, a row a role, with 95 % intervals. labels: of the roles."""
    lines = [f"{'':24}" + "".join(f"{name:>24}" for name in rates) + "   WER in percent, 95 % interval"]
    for role, label in labels.items():
        cells = [_with_interval(figures[role]) if role in figures else "" for figures in rates.values()]
        lines.append(f"{label:24}" + "".join(f"{cell:>24}" for cell in cells))
    return lines


def _with_interval(figures: Mapping[str, Any]) -> str:
    interval = figures["interval"]
    return f"{figures['wer_percent']:.1f} [{interval['low_percent']:.1f}, {interval['high_percent']:.1f}]"
