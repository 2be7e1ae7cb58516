"""The tables of docs/real_weights.md: genuine whisper-base on people it never heard, one training and its evaluations a row.

    python scripts/real/measure.py --model W --work runs/measured [--parts seeds digits short full] [--seeds 0 1 2] [--only LoRA]

`seeds`: what `make real` trains, with replay. `digits`: English digits, a speaker left out, each in turn. `short`: whole
weights, LoRA and a frozen encoder by 100 steps of 8 commands, the clip alone. `full`: the same by 40 steps of 4, with the full
window and with the clip alone. Every training and evaluation is a process of the recipes. Writes WORK/results.jsonl, a line an
evaluation; what is there is not run again. Prints the tables.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.real.run_real import SPEECH, evaluate_command, finetune_command, replay_command
from scripts.steps import add_result, read_rates, read_results, step

DIGIT_SPEAKERS = ("george", "jackson", "nicolas", "theo", "yweweler")
ADAPTED: dict[str, tuple[str, ...]] = {
    "whole weights": (),
    "LoRA": ("adapt=lora", "optim=adamw"),
    "frozen encoder": ("adapt=frozen_encoder",),
}
RATES = {"whole weights": "5e-5", "LoRA": "5e-4", "frozen encoder": "5e-5"}
# With the full window a clip takes over a second: the first sixty, of all six speakers.
SIXTY = ("~suite.sets.sentences", "suite.sets.commands.source.max_utterances=60")
COMMANDS_ALONE = ("~suite.sets.sentences",)


@dataclass(frozen=True)
class Trial:
    """One training and what its best checkpoint is evaluated with."""

    part: str
    variant: str
    seed: int
    train: tuple[str, ...]  # script and settings, without `out`; empty: the model as it is
    evaluations: dict[str, tuple[str, ...]]  # name -> script and settings, without model.path and out

    @property
    def folder(self) -> str:
        """Without a comma: of a value with one Hydra makes a list."""
        return f"{self.part}-{self.variant}-{self.seed}".replace(", ", "_").replace(" ", "_")


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="whisper-base (scripts/real/whisper_weights.py)")
    parser.add_argument("--work", type=Path, required=True, help="directory for runs and results.jsonl")
    parser.add_argument("--speech", type=Path, default=SPEECH, help="manifest of the recordings")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the part `seeds`")
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the variants' names")
    arguments = parser.parse_args()
    results = arguments.work / "results.jsonl"
    for part in arguments.parts:
        for trial in PARTS[part](arguments):
            if any(word in trial.variant for word in arguments.only):
                run(trial, arguments.model, arguments.work, results)
    print("\n".join(table(read_results(results))))


def seeds(arguments: argparse.Namespace) -> Iterator[Trial]:
    """What `make real` trains, by several seeds."""
    replay = arguments.work / "replay"
    if not (replay / "manifest.jsonl").exists():
        step("replay", *replay_command(arguments.model, arguments.speech), f"out={replay}")
    evaluations = {
        "full window": evaluate_command(arguments.speech),
        "clip": (*evaluate_command(arguments.speech), "model.window=clip"),
    }
    for seed in arguments.seeds:
        train = finetune_command(arguments.model, arguments.speech, replay, seed)
        yield Trial("seeds", "make real", seed, train, evaluations)


def digits(arguments: argparse.Namespace) -> Iterator[Trial]:
    """Each speaker of the digits left out in turn: before and after."""
    for speaker in DIGIT_SPEAKERS:
        evaluate = (
            "recipes/evaluate.py",
            "model=whisper_base",
            "suite=whisper_digits",
            f"suite.sets.digits.source.path={arguments.speech}",
            f"suite.sets.digits.source.only.speaker=fsdd-{speaker}",
        )
        evaluations = {"full window": evaluate, "clip": (*evaluate, "model.window=clip")}
        yield Trial("digits", f"{speaker} before", 0, (), evaluations)
        train = (
            "recipes/finetune.py",
            "experiment=whisper_digits",
            f"model.path={arguments.model}",
            f"data.train.digits.path={arguments.speech}",
            f"data.train.digits.only.speaker=re:fsdd-(?!{speaker}).*",
            "trainer.max_steps=100",
        )
        yield Trial("digits", f"{speaker} after", 0, train, evaluations)


def short(arguments: argparse.Namespace) -> Iterator[Trial]:
    """Kinds of adaptation by 100 steps of 8 clips, the clip alone, no replay."""
    for variant, adapted in ADAPTED.items():
        settings = (*adapted, "trainer.max_steps=100", f"optim.lr={RATES[variant]}")
        yield Trial("short", variant, 0, *commands(arguments, *settings))


def full(arguments: argparse.Namespace) -> Iterator[Trial]:
    """Kinds of adaptation by 40 steps of 4 clips, with the full window and the clip alone, no replay."""
    for window in ("clip", "full"):
        for variant, adapted in ADAPTED.items():
            steps = ("trainer.max_steps=40", "data.max_batch_rows=4", "data.batch_seconds=120")
            settings = (*adapted, *steps, f"optim.lr={RATES[variant]}", f"model.window={window}")
            yield Trial("full", f"{variant}, {window}", 0, *commands(arguments, *settings))


def commands(arguments: argparse.Namespace, *settings: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """How the commands are learned without replay, and what is evaluated then."""
    named = (f"model.path={arguments.model}", f"data.train.commands.path={arguments.speech}")
    evaluate = evaluate_command(arguments.speech)
    evaluations = {"clip": (*evaluate, "model.window=clip", *COMMANDS_ALONE), "full window": (*evaluate, *SIXTY)}
    return ("recipes/finetune.py", "experiment=whisper_commands", *named, *settings), evaluations


PARTS = {"seeds": seeds, "digits": digits, "short": short, "full": full}


def run(trial: Trial, model: Path, work: Path, results: Path) -> None:
    """What of a trial is not in `results` yet."""
    done = {(row["part"], row["variant"], row["seed"], row["evaluation"]) for row in read_results(results)}
    todo = [name for name in trial.evaluations if (trial.part, trial.variant, trial.seed, name) not in done]
    folder = work / trial.folder
    checkpoint, timing = model, folder / "train_s.json"
    if trial.train and todo:
        checkpoint = folder / "finetune" / "checkpoints" / "best"
        if not timing.exists():
            began_s = time.perf_counter()
            step(trial.folder, *trial.train, f"out={folder / 'finetune'}")
            timing.write_text(json.dumps(time.perf_counter() - began_s), encoding="utf-8")
    for name in todo:
        out = folder / name.replace(" ", "_")
        step(f"{trial.folder}, {name}", *trial.evaluations[name], f"model.path={checkpoint}", f"out={out}")
        roles = read_rates(folder, (out.name,))[out.name]
        row = {key: value for key, value in asdict(trial).items() if key in ("part", "variant", "seed")}
        row |= {"evaluation": name, "train_s": json.loads(timing.read_text()) if timing.exists() else None}
        for role, figures in roles.items():
            row[role] = [
                figures["wer_percent"],
                figures["interval"]["low_percent"],
                figures["interval"]["high_percent"],
            ]
        add_result(results, row)


def table(rows: Sequence[dict]) -> Iterator[str]:
    """Markdown: a line an evaluation, WER in percent with its 95 % interval."""
    yield "| part | variant | seed | training s | evaluated with | target WER % | guard WER % |"
    yield "|---|---|---|---:|---|---|---|"
    for row in rows:
        seconds = f"{row['train_s']:.0f}" if row["train_s"] is not None else ""
        rates = [
            f"{row[role][0]:.1f} [{row[role][1]:.1f}, {row[role][2]:.1f}]" if role in row else ""
            for role in ("target", "guard")
        ]
        yield (
            "| "
            + " | ".join([row["part"], row["variant"], str(row["seed"]), seconds, row["evaluation"], *rates])
            + " |"
        )


if __name__ == "__main__":
    main()
