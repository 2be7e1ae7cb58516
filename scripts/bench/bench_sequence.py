"""Further cross entropy against MWER and GSPO, from the same fine-tune by as many steps, by several seeds: gain and loss.

    python scripts/bench/bench_sequence.py --demo runs/demo --work runs/sequence
        [--parts medical noise corpus commands silence digits] [--arms "cross entropy" "MWER, beam"] [--table]
        [--whisper DIR] [--seeds 0 1 2] [--steps 80]

`medical`: the fine-tune of `make demo`, first taken further by cross entropy (100 steps, the best by the dev set),
goes on with its 300 clips; dev and test: new sentences in noise, the test half in voices never trained on; general
speech is the guard. `noise`: the same, all of it with clips in noise, so that those that train are not heard right
either. `corpus`: 2,000 sentences in noise of 0 to 10 dB, too many to be learned by heart, whole weights, taken by
cross entropy as far as it takes them first. `commands`: genuine whisper-base (--whisper) and Arabic commands of real
people, the clip alone, its encoder frozen, taken further by cross entropy first. `silence`: `medical` with clips
without speech among them (experiment=silence), and noises without speech as a test, of other recordings than those
that train. `digits`: real people (../shared/speech), a speaker left out, fine-tuned before (experiment=real_digits).
Every training and evaluation is a process of the recipes; the best checkpoint by the dev set is taken in every arm. "As
long" is cross entropy by three times the steps: what a step of MWER costs (bench_rollout.py). What is there is not made
again, so an interrupted call goes on. Prints rates pooled over the seeds and paired tests against cross entropy, speakers
being what is drawn.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.evaluation.comparing.group import compare_pairs
from qasr_train.evaluation.comparing.pairs import Pair, pair_runs
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.run_files import load_run
from scripts import steps
from scripts.bench.sequence_data import SHARED, make_data

step = partial(steps.step, threads=1)  # as `make demo`
DIGIT_SPEAKERS = ("george", "jackson", "nicolas")  # left out with seeds 0, 1, 2
CORPUS_STEPS, COMMANDS_STEPS = 300, 200  # of cross entropy, before the arms
START, CROSS_ENTROPY, AS_LONG = "start", "cross entropy", "cross entropy, as long"
AS_LONG_STEPS = 3


@dataclass(frozen=True)
class Part:
    """One setting.

    arms: name -> what is theirs alone of the command, nothing of the start, which is not trained. sets: of the evaluation, in
    the table's order.
    """

    arms: dict[str, tuple[str, ...]]
    sets: tuple[str, ...]


def main() -> None:
    """Make what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="directory of a finished `make demo`")
    parser.add_argument("--work", type=Path, required=True, help="directory for runs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--arms", nargs="+", help=f"of each part, by name; `{CROSS_ENTROPY}` is what others are held to"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of data order and draws")
    parser.add_argument("--whisper", type=Path, help="whisper-base, for `commands` (scripts/real/whisper_weights.py)")
    parser.add_argument("--steps", type=int, default=80, help="further steps of each arm")
    parser.add_argument(
        "--test-clips", type=int, help="of each test set of `medical`, `noise`, `corpus`, `silence`; all if left out"
    )
    parser.add_argument("--table", action="store_true", help="print what is there, train nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        run_all(arguments)
    for part in arguments.parts:
        print("\n".join(table(arguments, part)))


def run_all(arguments: argparse.Namespace) -> None:
    """Make what is missing, seed by seed."""
    if set(arguments.parts) - {"commands", "digits"}:  # those are real people's
        if not (arguments.demo / "summary.json").is_file():
            raise SystemExit(
                f"error: --demo {arguments.demo}: holds no finished `make demo`; run it, or name another folder"
            )
        make_data(arguments.demo, arguments.work / "data")
    for part in arguments.parts:
        for seed in arguments.seeds:
            for arm in PARTS[part].arms:
                if arguments.arms is None or arm in arguments.arms:
                    run(arguments, part, arm, seed)


def start_of(arguments: argparse.Namespace, part: str, seed: int) -> Path:
    """The checkpoint that the arms go on from, trained here where it is not there."""
    starts = {"corpus": corpus_start, "commands": commands_start, "digits": digits_start}
    folder, *command = starts.get(part, partial(medical_start, part))(arguments, seed)
    if not (folder / "done").exists():
        steps.set_aside(folder)
        step(folder.name, *command, f"out={folder}")
        (folder / "done").touch()
    return folder / "checkpoints" / "best"


def corpus_start(arguments: argparse.Namespace, seed: int) -> tuple[Path | str, ...]:
    """Folder and command of the start of `corpus`."""
    learned = ("optim.lr=1e-3", *lasting(CORPUS_STEPS, 3))
    return (arguments.work / "corpus-start", *CONTINUE, *FURTHER[:2], *corpus_data(arguments), *learned)


def commands_start(arguments: argparse.Namespace, seed: int) -> tuple[Path | str, ...]:
    """The same of `commands`."""
    if arguments.whisper is None:
        raise SystemExit("error: --parts commands needs --whisper DIR")
    learned = (f"model.path={arguments.whisper}", "optim.lr=5e-5", *lasting(COMMANDS_STEPS, 2))
    return (arguments.work / "commands-start", *COMMANDS, *learned)


def digits_start(arguments: argparse.Namespace, seed: int) -> tuple[Path | str, ...]:
    """The same of `digits`, without the speaker of the test."""
    speaker = DIGIT_SPEAKERS[seed % len(DIGIT_SPEAKERS)]
    others = f"data.train.digits.only.speaker=re:fsdd-(?!{speaker}).*"
    return (arguments.work / f"digits-start-{speaker}", "recipes/finetune.py", "experiment=real_digits", others)


def medical_start(part: str, arguments: argparse.Namespace, seed: int) -> tuple[Path | str, ...]:
    """The same of the parts that go on from the demo's fine-tune."""
    noisy = noisy_data(arguments, part)
    demo = arguments.demo / "finetune" / "checkpoints" / "best"
    further = (f"model.path={demo}", *lasting(300 if noisy else 100, 4), *noisy)
    folder = arguments.work / ("noise-start" if noisy else "medical-start")
    return (folder, *CONTINUE, *FURTHER, *medical_data(arguments), *further)


def lasting(num_steps: int, num_validations: int) -> tuple[str, ...]:
    """So many steps, validated so often."""
    return (f"trainer.max_steps={num_steps}", f"trainer.validate_every={num_steps // num_validations}")


def train_command(arguments: argparse.Namespace, part: str, arm: str, seed: int) -> tuple[str, ...]:
    """How one arm goes on; `out` follows."""
    settings = (
        *(f"model.path={start_of(arguments, part, seed)}", *PARTS[part].arms[arm], f"seed={seed}"),
        *lasting(arguments.steps * (AS_LONG_STEPS if arm == AS_LONG else 1), 2),
    )
    if part == "commands":
        return (*COMMANDS, *settings)
    common = (*CONTINUE, *settings)
    if part == "digits":
        return (*common, *digits_data(DIGIT_SPEAKERS[seed % len(DIGIT_SPEAKERS)]))
    terms = f"objective.reward_rules.terms={arguments.demo / 'raw' / 'terms.txt'}"
    if part == "corpus":
        return (*common, *((terms,) if "experiment=terms" in common else ()), *corpus_data(arguments))
    noises = f"augment.noise.path={arguments.work / 'data' / 'noises.jsonl'}"
    return (
        *common,
        *((terms,) if "experiment=terms" in common else ()),
        *((noises,) if part == "silence" else noisy_data(arguments, part)),
        *medical_data(arguments),
    )


def noisy_data(arguments: argparse.Namespace, part: str) -> tuple[str, ...]:
    """Clips in noise, half of whose words are lost in the worst, where the part is about that."""
    path = f"augment.noise.path={arguments.work / 'data' / 'noises.jsonl'}"
    snr = ("augment.noise.probability=0.8", "augment.noise.min_snr_db=-5", "augment.noise.max_snr_db=15")
    return (path, *snr) if part == "noise" else ()


def medical_data(arguments: argparse.Namespace) -> tuple[str, ...]:
    """What the demo trained with, and a larger dev set."""
    return (
        f"data.train.target.path={arguments.demo / 'medical' / 'manifest.jsonl'}",
        f"data.train.replay.path={arguments.demo / 'general' / 'manifest.jsonl'}",
        "data.train.replay.split=train",
        "data.train.replay.passes_per_epoch=0.03",  # a third of the target's clips
        f"data.dev.target.path={arguments.work / 'data' / 'medical.jsonl'}",
    )


def corpus_data(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The large corpus, whole weights, and as much replay as there is of it in `medical_data`."""
    return (
        *("adapt=full", f"data.train.target.path={arguments.work / 'data' / 'corpus.jsonl'}"),
        f"data.train.replay.path={arguments.demo / 'general' / 'manifest.jsonl'}",
        *("data.train.replay.split=train", "data.train.replay.passes_per_epoch=0.2"),
    )


def digits_data(speaker: str) -> tuple[str, ...]:
    """All speakers but one; their last takes are the dev set."""
    takes = {"train": r"(\d|[123]\d|4[0-4])", "dev": r"4[5-9]"}
    chosen = [
        setting
        for split, take in takes.items()
        for setting in (
            f"data.{split}.target.only.id='re:fsdd_\\d_[a-z]+_{take}'",
            f"data.{split}.target.only.speaker='re:fsdd-(?!{speaker}).*'",
        )
    ]
    path = f"data.train.target.path={SHARED / 'speech' / 'manifest.jsonl'}"
    return (path, "data.dev.target.split=train", *chosen)


def evaluate_command(arguments: argparse.Namespace, part: str, seed: int) -> tuple[str, ...]:
    """How a checkpoint is evaluated; `model.path` and `out` follow."""
    if part == "commands":
        return (
            "recipes/evaluate.py",
            "model=whisper_base",
            "suite=whisper_commands",
            "model.window=clip",
            "~suite.sets.sentences",
        )
    if part == "digits":
        speaker = DIGIT_SPEAKERS[seed % len(DIGIT_SPEAKERS)]
        source = "suite.sets.digits.source"
        return (
            *(
                "recipes/evaluate.py",
                "suite=real_digits",
                f"{source}.split=train",
                f"{source}.only.speaker=fsdd-{speaker}",
            ),
            f"{source}.max_utterances=250",
            f"{source}.sample_seed=0",
        )
    data = arguments.work / "data"
    medical = data / ("corpus.jsonl" if part == "corpus" else "medical.jsonl")
    sets = {
        "known": (medical, ("source.split=known", "role=target")),
        "new": (medical, ("source.split=new", "role=target")),
        "general": (arguments.demo / "general" / "manifest.jsonl", ("source.split=test", "role=guard")),
        "silence": (data / "silence.jsonl", ()),
    }
    most = () if arguments.test_clips is None else (f"source.max_utterances={arguments.test_clips}",)
    named = [
        f"suite.sets.{name}.{setting}"
        for name, (path, settings) in sets.items()
        for setting in (f"source.path={path}", *settings, *most)
        if name in PARTS[part].sets
    ]
    terms = f"suite.terms={arguments.demo / 'raw' / 'terms.txt'}"
    return ("recipes/evaluate.py", "suite=demo", "~suite.sets.medical", "~suite.sets.general", *named, terms)


COMMANDS = ("recipes/finetune.py", "experiment=whisper_commands", "adapt=frozen_encoder", "trainer.guard.action=none")
CONTINUE = ("recipes/finetune.py", "model=tiny", "augment=standard", "trainer.guard.action=none")
# Rates by the dev set of `medical`, seed 0: of 1e-4 and 5e-4 the better for each.
FURTHER = ("experiment=polish", "objective=cross_entropy", "optim.lr=5e-4")
MWER = ("experiment=polish", "optim.lr=1e-4")
GSPO = ("experiment=polish", "objective=gspo", "optim.lr=5e-4")
PARTS = {
    "medical": Part(
        {
            START: (),
            CROSS_ENTROPY: FURTHER,
            "MWER": MWER,
            "GSPO": GSPO,
            "GSPO with terms": ("experiment=terms", "optim.lr=5e-4"),
        },
        ("known", "new", "general"),
    ),
    "noise": Part({START: (), CROSS_ENTROPY: FURTHER, "MWER": MWER, "GSPO": GSPO}, ("known", "new", "general")),
    "corpus": Part(
        {
            START: (),
            CROSS_ENTROPY: (*FURTHER[:2], "optim.lr=2e-4"),
            "MWER, beam": (*MWER[:1], "objective.drawn_by=beam", "optim.lr=2e-4"),
            "MWER": (*MWER[:1], "optim.lr=2e-4"),
            "GSPO": (*GSPO[:2], "optim.lr=2e-4"),
            "GSPO with terms": ("experiment=terms", "optim.lr=2e-4"),
            AS_LONG: (*FURTHER[:2], "optim.lr=2e-4"),
        },
        ("known", "new", "general"),
    ),
    "commands": Part(
        {
            START: (),
            CROSS_ENTROPY: ("optim.lr=2e-5",),
            "MWER, beam": ("objective=mwer", "objective.drawn_by=beam", "optim.lr=2e-5"),
            "MWER": ("objective=mwer", "optim.lr=2e-5"),
            "GSPO": ("objective=gspo", "optim.lr=2e-5"),
            AS_LONG: ("optim.lr=2e-5",),
        },
        ("commands",),
    ),
    "silence": Part(
        {
            START: (),
            CROSS_ENTROPY: (*FURTHER, "augment.silence.share=0.3"),
            "GSPO": ("experiment=silence", "optim.lr=5e-4"),
        },
        ("silence", "known", "new", "general"),
    ),
    "digits": Part({START: (), CROSS_ENTROPY: FURTHER, "MWER": MWER, "GSPO": GSPO}, ("digits",)),
}


def run(arguments: argparse.Namespace, part: str, arm: str, seed: int) -> None:
    """Train and evaluate one arm, where that is not done yet."""
    folder = folder_of(arguments, part, arm, seed)
    if arm == START:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train_s.json").write_text("0", encoding="utf-8")
    if not (folder / "train_s.json").exists():
        began_s = time.perf_counter()
        step(folder.name, *train_command(arguments, part, arm, seed), f"out={folder / 'finetune'}")
        (folder / "train_s.json").write_text(json.dumps(time.perf_counter() - began_s), encoding="utf-8")
    trained = folder / "finetune" / "checkpoints" / "best"
    best = start_of(arguments, part, seed) if arm == START else trained
    if not (folder / "test" / "scores.json").exists():
        step(
            f"{folder.name}, test",
            *evaluate_command(arguments, part, seed),
            f"model.path={best}",
            f"out={folder / 'test'}",
        )


def folder_of(arguments: argparse.Namespace, part: str, arm: str, seed: int) -> Path:
    """Where one arm lies."""
    return arguments.work / f"{part}-{arm}-{seed}".replace(", ", "_").replace(" ", "_")  # of a comma Hydra makes a list


def table(arguments: argparse.Namespace, part: str) -> Iterator[str]:
    """Markdown: a row a set and arm, of the seeds that are there."""
    yield f"\n{part}, {arguments.steps} steps"
    yield "| set | arm | seeds | training s | WER % | against cross entropy | terms: recall, precision % | invented words % |"
    yield "|---|---|---:|---:|---:|---|---|---:|"
    for name in PARTS[part].sets:
        for arm in PARTS[part].arms:
            folders = {
                seed: [folder_of(arguments, part, one, seed) for one in (CROSS_ENTROPY, arm)]
                for seed in arguments.seeds
            }
            done = [
                seed for seed, both in folders.items() if all((one / "test" / "scores.json").exists() for one in both)
            ]
            if not done:
                continue
            seconds = [json.loads((folders[seed][1] / "train_s.json").read_text()) for seed in done]
            arguments_there = argparse.Namespace(**{**vars(arguments), "seeds": done})
            cells = [name, arm, str(len(done)), f"{np.median(seconds):.0f}", *figures(arguments_there, part, arm, name)]
            yield f"| {' | '.join(cells)} |"


def figures(arguments: argparse.Namespace, part: str, arm: str, name: str) -> Sequence[str]:
    """WER, the paired test against cross entropy, terms and inventions of a set, over all seeds."""
    pairs: list[Pair] = []
    scores = []
    for seed in arguments.seeds:
        runs = [load_run(folder_of(arguments, part, one, seed) / "test") for one in (CROSS_ENTROPY, arm)]
        pairs += [pair for pair in pair_runs(*runs)[0] if pair.set == name]
        scores.append(json.loads((folder_of(arguments, part, arm, seed) / "test" / "scores.json").read_text()))
    test = compare_pairs(pairs, Resampling()).test if pairs else None
    rate = change = ""
    if test is not None:
        rate = f"{test.candidate_percent:.2f}"
        low, high = test.interval.low_percent, test.interval.high_percent
        change = (
            "" if arm == CROSS_ENTROPY else f"{test.delta_percent:+.2f} [{low:+.2f}, {high:+.2f}], p {test.p_value:.3f}"
        )
    terms = [score["entities"]["sets"][name] for score in scores if score.get("entities")]
    has_terms = any(one["recall_percent"] is not None for one in terms)
    shown = ", ".join(
        f"{np.mean([one[key] for one in terms]):.1f}" for key in ("recall_percent", "precision_percent") if has_terms
    )
    invented = [share for score in scores if (share := score["sets"][name]["hallucination_percent"]) is not None]
    return rate, change, shown, f"{np.mean(invented):.1f}" if invented else ""


if __name__ == "__main__":
    main()
