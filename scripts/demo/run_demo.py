"""`make demo`: a tiny Qwen3-ASR learns medical dictation, and a report says what it gained and what it lost.

    python scripts/demo/run_demo.py [--out runs/demo] [--seed 0] [settings of recipes/finetune.py, e.g. adapt=full]

Runs the same recipes a real run uses, one process each: make_data -> prepare -> finetune -> evaluate (before, after) ->
compare. Writes OUT/summary.json. An earlier OUT is moved aside, never overwritten.
"""

import argparse
import sys
import textwrap
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts import steps

LABELS = {"target": "medical (target)", "guard": "general (guard)"}
# One thread: the model is so small that two wait for each other; the second core decodes audio.
step = partial(steps.step, threads=1)
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
    status, seconds = steps.run_anew(out, lambda: run_all(out, arguments.seed, arguments.settings), command="make demo")
    if status:
        return status
    rates = steps.read_rates(out, ("before", "after"))
    steps.write_summary(out, rates, seconds)
    print("\n".join(["", *steps.table(rates, LABELS), "", textwrap.fill(NOTE, 120)]))
    print(f"{seconds:.0f} s; report: {out / 'compare' / 'report.html'}")
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


if __name__ == "__main__":
    sys.exit(main())
