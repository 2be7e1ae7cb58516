"""What each part of the demo's recipe is worth: the demo's data and model, one setting changed at a time, several seeds.

    python scripts/bench/ablation.py --work runs/ablation --seeds 0 1 2 [--only replay augment]

Data of a seed are made once and shared. Writes WORK/results.jsonl, a line a run; what is there is not run again. Prints the
medians over seeds of the error rates on the medical (target) and general (guard) test sets.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.steps import add_result, read_rates, read_results, step

# Name -> what is given to recipes/finetune.py besides experiment=demo; {data} is the folder of the seed's data.
# The first is what the others differ from, in one setting each; the demo itself is the one with augmentation.
VARIANTS: dict[str, list[str]] = {
    "LoRA, replay, no augmentation": ["augment=none"],
    "no replay": ["augment=none", "~data.train.replay", "data.dev.guard.path={data}/general.jsonl"],
    "LoRA on the decoder alone": ["augment=none", "adapt=lora_decoder"],
    "whole weights": ["augment=none", "adapt=full"],
    "augment=standard": ["augment=standard"],
    "hotwords in training": ["augment=none", "context=terms", "context.terms={data}/terms.txt",
                             "context.min_distractors=2", "context.max_distractors=20"],
}  # fmt: skip


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="directory for data, runs and results.jsonl")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), help="names of variants, or parts of them")
    arguments = parser.parse_args()
    chosen = [name for name in VARIANTS if any(part in name for part in arguments.only)]
    results = arguments.work / "results.jsonl"
    for seed in arguments.seeds:
        data = arguments.work / f"data-{seed}"
        if not (data / "general.jsonl").exists():
            step("", "scripts/demo/make_data.py", "--out", data, "--seed", seed, threads=1)
        for name in chosen:
            if not any(row["variant"] == name and row["seed"] == seed for row in read_results(results)):
                row = {"variant": name, "seed": seed, **run(name, seed, data, arguments.work)}
                add_result(results, row)
    print(table(read_results(results)))


def run(name: str, seed: int, data: Path, work: Path) -> dict[str, float]:
    """Train and evaluate one variant; WER in percent of both test sets."""
    folder = work / f"{name.replace(' ', '_')}-{seed}"
    sources = [f"data.train.target.path={data}/medical.jsonl", f"data.train.replay.path={data}/general.jsonl"]
    if "no replay" in name:
        sources = sources[:1]
    settings = [setting.format(data=data) for setting in VARIANTS[name]]
    step(
        "",
        "recipes/finetune.py",
        "experiment=demo",
        *sources,
        *settings,
        f"seed={seed}",
        f"run_dir={folder}/finetune",
        threads=1,
    )
    sets = [f"suite.sets.{one}.source.path={data}/{one}.jsonl" for one in ("medical", "general")]
    best = folder / "finetune" / "checkpoints" / "best"
    step("", "recipes/evaluate.py", f"model.path={best}", "suite=demo", *sets, f"run_dir={folder}/evaluated", threads=1)
    roles = read_rates(folder, ("evaluated",))["evaluated"]
    return {role: roles[role]["wer_percent"] for role in ("target", "guard")}


def table(rows: list[dict]) -> str:
    """A Markdown table: a line a variant, the runs and their medians."""
    lines = ["| variant | seeds | medical WER % | median | general WER % | median |", "|---|---|---|---:|---|---:|"]
    for name in dict.fromkeys(row["variant"] for row in rows):
        runs = sorted((row for row in rows if row["variant"] == name), key=lambda row: row["seed"])
        cells = [name, ", ".join(str(row["seed"]) for row in runs)]
        for role in ("target", "guard"):
            cells += [
                ", ".join(f"{row[role]:.1f}" for row in runs),
                f"{statistics.median(row[role] for row in runs):.1f}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
