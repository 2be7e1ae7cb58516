"""What a prompt without the empty system turn costs: the demo's model as it is, trained without such prompts, and with a share.

    python scripts/bench/prompt_forms.py --work runs/prompt_forms --seeds 0 1 2 [--model DIR] [--settings trainer.num_epochs=4]

Each model is evaluated on the demo's test sets with every form of prompt that servers send. Data of a seed are made once and
shared. Writes WORK/results.jsonl, a line an evaluation; what is there is not run again. Prints error rates, and the means over
seeds of what the served form costs.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.steps import add_result, read_results, step

# Name -> what is given to recipes/finetune.py besides experiment=demo; None: the model as it is.
MODELS: dict[str, list[str] | None] = {
    "as it is": None,
    "trained with an empty turn alone": ["context.served=0"],
    "trained with both, half and half": ["context.served=0.5"],
}
# Name -> what is given to recipes/evaluate.py. The first is what the others are compared with.
FORMS: dict[str, list[str]] = {
    "own": ["decode.prompt=own"],
    "served": ["decode.prompt=served"],
    "served, language given": ["decode.prompt=served", "decode.language=reference"],
}


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="directory for data, runs and results.jsonl")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", default="bundled:tiny", help="directory; of the model that is evaluated and trained")
    parser.add_argument(
        "--forms", nargs="*", default=list(FORMS), choices=list(FORMS), help="of prompts; all by default"
    )
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS), help="all by default")
    parser.add_argument("--settings", nargs="*", default=[], help="more for recipes/finetune.py")
    arguments = parser.parse_args()
    results = arguments.work / "results.jsonl"
    for seed in arguments.seeds:
        data = arguments.work / f"data-{seed}"
        if not (data / "terms.txt").exists():
            step("", "scripts/demo/make_data.py", "--out", data, "--seed", seed, threads=1)
        for name, settings in ((name, MODELS[name]) for name in arguments.models):
            missing = [form for form in arguments.forms if (name, seed, form) not in done(results)]
            if missing:
                folder = arguments.work / f"{name.replace(' ', '_').replace(',', '')}-{seed}"
                extra = None if settings is None else [*settings, *arguments.settings]
                model = arguments.model if extra is None else trained(extra, arguments.model, seed, data, folder)
                for form in missing:
                    row = {"model": name, "seed": seed, "form": form, **evaluated(model, form, data, folder)}
                    add_result(results, row)
    print(table(read_results(results)))


def trained(settings: list[str], model: str, seed: int, data: Path, folder: Path) -> str:
    """The best checkpoint of the demo's fine-tune with these settings, made or gone on with now unless it is done."""
    run_dir = folder / "finetune"
    sources = [f"data.train.target.path={data}/medical.jsonl", f"data.train.replay.path={data}/general.jsonl"]
    words = ["experiment=demo", f"model.path={model}", *sources, *settings, f"seed={seed}"]
    step("", "recipes/finetune.py", *words, f"run_dir={run_dir}", f"resume={str(run_dir.exists()).lower()}", threads=1)
    return str(run_dir / "checkpoints" / "best")


def evaluated(model: str, form: str, data: Path, folder: Path) -> dict[str, float]:
    """Error rates of both test sets, and the share of broken outputs, in percent."""
    run_dir = folder / f"evaluated_{form.replace(', ', '_').replace(' ', '_')}"
    sets = [f"suite.sets.{one}.source.path={data}/{one}.jsonl" for one in ("medical", "general")]
    words = [f"model.path={model}", "suite=demo", *sets, *FORMS[form], f"run_dir={run_dir}"]
    step("", "recipes/evaluate.py", *words, f"resume={str(run_dir.exists()).lower()}", threads=1)
    scores = json.loads((run_dir / "scores.json").read_text(encoding="utf-8"))
    rates = {role: scores["roles"][role]["wer_percent"] for role in ("target", "guard")}
    return {**rates, "broken": scores["overall"]["broken_percent"]}


def done(results: Path) -> set[tuple[str, int, str]]:
    """(model, seed, form) of each."""
    return {(row["model"], row["seed"], row["form"]) for row in read_results(results)}


def table(rows: list[dict]) -> str:
    """A Markdown table: a line a model and form, the runs in the order of their seeds, and the mean cost against its own form."""
    lines = [
        "| model | prompt | seeds | medical WER % | costs, mean | general WER % | costs, mean | broken % |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    by_key = {(row["model"], row["form"], row["seed"]): row for row in rows}
    for name in MODELS:
        for form in FORMS:
            seeds = sorted(seed for model, other, seed in by_key if (model, other) == (name, form))
            runs = [by_key[name, form, seed] for seed in seeds]
            if not runs:
                continue
            own = [by_key[name, next(iter(FORMS)), seed] for seed in seeds]
            cells = [name, form, ", ".join(map(str, seeds))]
            for role in ("target", "guard"):
                cost = fmean(run[role] - before[role] for run, before in zip(runs, own, strict=True))
                cells += [", ".join(f"{run[role]:.2f}" for run in runs), f"{cost:+.2f}"]
            cells.append(", ".join(f"{run['broken']:.1f}" for run in runs))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
