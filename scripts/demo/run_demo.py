"""`make demo`: a tiny Qwen3-ASR learns medical dictation, and a report says what it gained and what it lost.

    python scripts/demo/run_demo.py [--out runs/demo] [--seed 0] [settings of recipes/finetune.py, e.g. adapt=full]

Runs the same recipes a real run uses, one process each: make_data -> prepare -> finetune -> evaluate (before, after) ->
compare. Writes OUT/summary.json. An earlier OUT is moved aside, never overwritten.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import textwrap
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NOTE = (
    "What this shows: the whole way from recordings to a report, on the real architecture. What it does not show: what a "
    "fine-tune gains on real speech. The voices are synthetic, the medical vocabulary is closed (test sentences are new, "
    "their words and voices are not), and before training the model knew none of it."
)


def main() -> int:
    """Run the demo; returns the exit status: that of the first recipe that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="directory for all the demo makes")
    parser.add_argument("--seed", type=int, default=0, help="of texts, voices, data order and new weights")
    parser.add_argument("settings", nargs="*", help="settings of recipes/finetune.py, e.g. adapt=full")
    arguments = parser.parse_args()
    out: Path = arguments.out
    set_aside(out)
    began_s = time.perf_counter()
    try:
        run_all(out, arguments.seed, arguments.settings)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    except KeyboardInterrupt:
        print(f"interrupted; what was made lies in {out}; `make demo` begins anew", file=sys.stderr)
        return 2
    seconds = time.perf_counter() - began_s
    roles = read_roles(out)
    (out / "summary.json").write_text(json.dumps(summarise(roles, seconds), indent=1) + "\n", encoding="utf-8")
    print(describe(roles, seconds, out))
    return 0


def run_all(out: Path, seed: int, settings: list[str]) -> None:
    """Every step, each a recipe with the command line a user would give."""
    raw, medical, general = out / "raw", out / "medical", out / "general"
    step("1 of 5: speech is synthesised", "scripts/demo/make_data.py", "--out", raw, "--seed", seed)
    step(
        "2 of 5: both corpora are checked",
        "recipes/prepare.py",
        f"source.path={raw / 'medical.jsonl'}",
        f"out={medical}",
    )
    step("", "recipes/prepare.py", f"source.path={raw / 'general.jsonl'}", f"out={general}")
    step(
        "3 of 5: the bundled model is fine-tuned on medical dictation",
        "recipes/finetune.py",
        "experiment=demo",
        f"data.train.target.path={medical / 'manifest.jsonl'}",
        f"data.train.replay.path={general / 'manifest.jsonl'}",
        f"seed={seed}",
        f"run_dir={out / 'finetune'}",
        *settings,
    )
    sets = [
        "suite=demo",
        f"suite.sets.medical.source.path={medical / 'manifest.jsonl'}",
        f"suite.sets.general.source.path={general / 'manifest.jsonl'}",
    ]
    best = out / "finetune" / "checkpoints" / "best"
    step(
        "4 of 5: before and after are evaluated",
        "recipes/evaluate.py",
        "model=tiny",
        *sets,
        f"run_dir={out / 'before'}",
    )
    step("", "recipes/evaluate.py", f"model.path={best}", *sets, f"run_dir={out / 'after'}")
    step(
        "5 of 5: before and after are compared",
        "recipes/compare.py",
        f"baseline={out / 'before'}",
        f"candidate={out / 'after'}",
        f"out={out / 'compare'}",
        "gate.max_guard_loss_points=5",
        f"note='{NOTE}'",
        is_verdict=True,
    )


def step(title: str, script: str, *arguments: object, is_verdict: bool = False) -> None:
    """Run one script of the repository; exit status 1 of a verdict is an answer, not a failure."""
    if title:
        print(f"\n== {title}", flush=True)
    words = [str(argument) for argument in arguments]
    print(f"$ python {script} {shlex.join(words)}", flush=True)
    # One thread: the model is so small that two wait for each other; the second core decodes audio.
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **os.environ}
    done = subprocess.run([sys.executable, str(ROOT / script), *words], env=environment, check=False)
    if done.returncode and not (is_verdict and done.returncode == 1):
        raise subprocess.CalledProcessError(done.returncode, script)


def set_aside(out: Path) -> None:
    """Move an earlier demo out of the way, under the time it was made."""
    if out.exists():
        stamp = datetime.fromtimestamp(out.stat().st_mtime).strftime("%Y%m%d-%H%M%S")
        moved = out.with_name(f"{out.name}-{stamp}")
        out.rename(moved)
        print(f"the earlier demo was moved to {moved}")


def read_roles(out: Path) -> dict[str, dict[str, Any]]:
    """The scores of the medical (target) and the general (guard) test set, before and after."""
    names = ("before", "after")
    return {name: json.loads((out / name / "scores.json").read_text(encoding="utf-8"))["roles"] for name in names}


def summarise(roles: dict[str, dict[str, Any]], seconds: float) -> dict[str, Any]:
    """WER in percent before and after, of both test sets; what summary.json holds."""
    summary: dict[str, Any] = {
        role: {f"wer_{name}": scores[role]["wer_percent"] for name, scores in roles.items()}
        for role in ("target", "guard")
    }
    return summary | {"seconds": round(seconds, 1)}


def describe(roles: dict[str, dict[str, Any]], seconds: float, out: Path) -> str:
    """The table printed last, with 95 % intervals."""
    lines = [f"{'':18}{'before':>24}{'after':>24}   WER in percent, 95 % interval"]
    for role, label in (("target", "medical (target)"), ("guard", "general (guard)")):
        lines.append(f"{label:18}" + "".join(f"{_with_interval(roles[name][role]):>24}" for name in roles))
    report = out / "compare" / "report.html"
    return "\n".join(["", *lines, "", textwrap.fill(NOTE, 120), f"{seconds:.0f} s; report: {report}"])


def _with_interval(score: dict[str, Any]) -> str:
    interval = score["interval"]
    return f"{score['wer_percent']:.1f} [{interval['low_percent']:.1f}, {interval['high_percent']:.1f}]"


if __name__ == "__main__":
    sys.exit(main())
