"""What training with clips cut at chunk ends (augment.prefix) wins back of what streaming loses: one share a run, several seeds.

    python scripts/bench/prefixes.py --work runs/prefixes --seeds 0 1 --shares 0 0.25 0.5 --chunks 2

English sentences of eSpeak NG, whose word times it tells, joined to 4 to 8 s. bundled:tiny-2 knows clips of some 2 s alone, so
it first learns whole ones of this length; from there each share is trained on with equal steps, 0 being the control. Every model
hears the same unseen sentences, half of them in timbres never trained on, offline and in chunks; what a chunk loses against
offline is paired by utterance. Writes WORK/results.jsonl, a line a figure; what is there is not run again.
"""

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.manifest import Utterance, write_manifest
from qasr_train.timed.base import TimedWord
from scripts.aligner.speech import TimedClip, join
from scripts.demo.corpus import draw_sentence
from scripts.demo.synthesis import (
    HELD_OUT_TIMBRES,
    SAMPLE_RATE_HZ,
    TRAINED_TIMBRES,
    Synthesizer,
    draw_delivery,
    require_espeak,
)
from scripts.steps import add_result, read_results, step

LANGUAGE = "English"
SHORTEST_S, LONGEST_S = 4.0, 8.0
LONGEST_PAUSE_S = 0.6
BASE = "begun"  # what every share begins from
OFFLINE = "offline"


def main() -> None:
    """Make what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="directory for data, runs and results.jsonl")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.25, 0.5], help="of the clips that are cut")
    parser.add_argument("--chunks", type=float, nargs="+", default=[2.0], help="seconds; what is decoded in")
    parser.add_argument("--first-steps", type=int, default=200, help="on whole clips, before any share")
    parser.add_argument("--steps", type=int, default=70, help="of each share")
    parser.add_argument("--num-train", type=int, default=1200, help="recordings")
    parser.add_argument("--num-test", type=int, default=60, help="recordings")
    parser.add_argument("--only", choices=("data", "train"), help="stop behind this")
    arguments = parser.parse_args()
    try:
        require_espeak()
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    make_data(arguments)
    if arguments.only == "data":
        return
    models = {
        BASE: train("begun", 100, "model=tiny", "optim.lr=1e-3", steps=arguments.first_steps, work=arguments.work)
    }
    for seed in arguments.seeds:
        for share in arguments.shares:
            given = (
                "model=tiny",
                f"model.path={models[BASE]}",
                "optim.lr=5e-4",
                f"augment.prefix.probability={share:g}",
            )
            name = f"{share:g} seed {seed}"
            models[name] = train(name.replace(" ", "-"), seed, *given, steps=arguments.steps, work=arguments.work)
    if arguments.only != "train":
        for name, model in models.items():
            measure(name, model, arguments)
        print(table(read_results(arguments.work / "results.jsonl")))
        print(pooled_table(arguments))


def make_data(arguments: argparse.Namespace) -> None:
    """WORK/train and WORK/test, unless they are there: WAV files, and a manifest with the times of the words."""
    for name, number, seed in (("train", arguments.num_train, 1), ("test", arguments.num_test, 2)):
        folder = arguments.work / name
        if (folder / "manifest.jsonl").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        rng = random.Random(seed)
        synthesizer = Synthesizer()
        clips = (draw(synthesizer, rng, number=n, is_test=name == "test") for n in range(number))
        rows = [write(clip, n, folder) for n, clip in enumerate(clips)]
        write_manifest(folder / "manifest.jsonl", rows)


def draw(synthesizer: Synthesizer, rng: random.Random, *, number: int, is_test: bool) -> TimedClip:
    """One speaker's sentences with pauses between them, 4 to 8 s. is_test: unseen sentences, every second in a new timbre."""
    timbres = HELD_OUT_TIMBRES if is_test and number % 2 else TRAINED_TIMBRES
    delivery = draw_delivery(LANGUAGE, timbres, is_test, rng)
    aim_s, chosen, pauses_s = rng.uniform(SHORTEST_S, LONGEST_S), list[TimedClip](), [rng.uniform(0.0, LONGEST_PAUSE_S)]
    length_s = pauses_s[0]
    while length_s < SHORTEST_S or length_s < aim_s:
        text = draw_sentence(LANGUAGE, rng, held_out=is_test)
        speech = synthesizer.speak_timed(text, delivery)
        sentence = TimedClip(speech.samples, LANGUAGE, tuple(text.split()), speech.starts_s, speech.ends_s)
        if chosen and length_s + sentence.duration_s > LONGEST_S:
            break
        chosen.append(sentence)
        pauses_s.append(rng.uniform(0.1, LONGEST_PAUSE_S))
        length_s += sentence.duration_s + pauses_s[-1]
    return join(chosen, pauses_s)


def write(clip: TimedClip, number: int, folder: Path) -> Utterance:
    """The WAV file, and the row of it."""
    file = folder / f"{number:04d}.wav"
    soundfile.write(file, clip.samples, SAMPLE_RATE_HZ)
    words = tuple(TimedWord(*word) for word in zip(clip.words, clip.starts_s, clip.ends_s, strict=True))
    return Utterance(file.stem, file.name, clip.text, clip.language, duration_s=clip.duration_s, words=words)


def train(name: str, seed: int, *given: str, steps: int, work: Path) -> str:
    """The checkpoint of one run, which is made, or gone on with, where it is not there."""
    run = work / name
    if not (run / "done").exists():
        step(
            name,
            "recipes/finetune.py",
            *given,
            "adapt=full",
            f"data.train.main.path={work}/train/manifest.jsonl",
            "data.batch_seconds=32",
            "data.num_workers=0",
            f"trainer.max_steps={steps}",
            "trainer.num_epochs=null",
            "trainer.save_every=100",
            f"seed={seed}",
            "resume=true",
            f"out={run}",
            threads=1,
        )
        (run / "done").touch()
    return str(run / "checkpoints" / "last")


def measure(name: str, model: str, arguments: argparse.Namespace) -> None:
    """The error rates of one model, offline and in chunks, and what is lost and won, as far as they are not there."""
    results = arguments.work / "results.jsonl"
    known = {(row["model"], row["how"]) for row in read_results(results)}
    for how in (OFFLINE, *(f"{chunk_s:g} s" for chunk_s in arguments.chunks)):
        if (name, how) in known:
            continue
        out = evaluated(arguments.work, name, how)
        streamed = [] if how == OFFLINE else [f"decode.streaming.chunk_s={how.split()[0]}"]
        given = [f"model.path={model}", f"suite.manifest={arguments.work}/test/manifest.jsonl", *streamed, f"out={out}"]
        resume = f"resume={str(out.exists()).lower()}"
        step(f"{name}, {how}", "recipes/evaluate.py", "model=tiny", "suite=own", *given, resume, threads=1)
        scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
        row = {"model": name, "how": how, "wer_percent": scores["sets"]["own"]["wer_percent"]}
        control = evaluated(arguments.work, f"0 seed {name.split()[-1]}", how)
        if how != OFFLINE:
            row["lost"] = difference(evaluated(arguments.work, name, OFFLINE), out)
            row |= {
                figure: scores["streaming"]["sets"]["own"][figure] for figure in ("changed_percent", "mean_delay_s")
            }
        if name != BASE and control != out:
            row["against_control"] = difference(control, out)
        add_result(results, row)


def evaluated(work: Path, name: str, how: str) -> Path:
    """Where the evaluation of a model lies."""
    return work / "evaluated" / name.replace(" ", "-") / how.replace(" ", "")


def difference(before: Path, after: Path) -> list[float]:
    """Points of WER, and the ends of their 95 % interval, paired by utterance."""
    out = after.with_name(f"{after.name}-beside-{before.parent.name}-{before.name}")
    step("", "recipes/compare.py", f"baseline={before}", f"candidate={after}", f"out={out}", is_verdict=True)
    test = json.loads((out / "comparison.json").read_text(encoding="utf-8"))["overall"]["test"]
    return [test["delta_percent"], test["interval"]["low_percent"], test["interval"]["high_percent"]]


def table(rows: list[dict]) -> str:
    """A Markdown table: a line a model and way of hearing it."""
    lines = [
        "| share | heard | WER % | lost against offline, points | against share 0, points | shown and changed % | delay s |"
    ]
    lines.append("|---|---|---:|---|---|---|---|")
    for row in rows:
        cells = [points(row[name]) if name in row else "" for name in ("lost", "against_control")]
        cells += [figure(row[name]) if name in row else "" for name in ("changed_percent", "mean_delay_s")]
        lines.append(f"| {row['model']} | {row['how']} | {row['wer_percent']:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pooled_table(arguments: argparse.Namespace) -> str:
    """A Markdown table: what each share loses in chunks, all seeds together, and that beside share 0 (below 0: won back)."""
    lines = ["| share | heard | lost against offline, points | beside share 0, points |", "|---|---|---|---|"]
    for chunk_s in arguments.chunks:
        how = f"{chunk_s:g} s"
        control, num_words = errors_lost(0.0, how, arguments)
        for share in arguments.shares:
            lost, _ = errors_lost(share, how, arguments)
            won = points(pooled(lost - control, num_words)) if share else ""
            lines.append(f"| {share:g} | {how} | {points(pooled(lost, num_words))} | {won} |")
    return "\n".join(lines)


def errors_lost(share: float, how: str, arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """(float64 [N] errors more in chunks than offline, words) of each test recording, summed over the seeds."""
    lost, num_words = np.zeros(arguments.num_test), np.zeros(arguments.num_test)
    for seed in arguments.seeds:
        for heard, sign in ((how, 1), (OFFLINE, -1)):
            file = evaluated(arguments.work, f"{share:g} seed {seed}", heard) / "utterances.jsonl"
            rows = sorted(map(json.loads, file.read_text(encoding="utf-8").splitlines()), key=lambda row: row["id"])
            lost += [sign * (row["substitutions"] + row["deletions"] + row["insertions"]) for row in rows]
            num_words += [row["num_reference_words"] / 2 for row in rows]  # each row stands in two evaluations
    return lost, num_words


def pooled(lost: np.ndarray, num_words: np.ndarray) -> list[float]:
    """Points of WER, and the ends of their 95 % interval: recordings drawn anew 10,000 times, seed 0."""
    drawn = np.random.default_rng(0).integers(len(lost), size=(10_000, len(lost)))
    rates = 100 * lost[drawn].sum(1) / num_words[drawn].sum(1)
    return [100 * lost.sum() / num_words.sum(), *np.percentile(rates, [2.5, 97.5]).tolist()]


def figure(measured: Mapping[str, float]) -> str:
    """A figure of streaming with its interval."""
    return f"{measured['value']:.2f} [{measured['low']:.2f}, {measured['high']:.2f}]"


def points(test: Sequence[float]) -> str:
    """The difference with its interval."""
    return f"{test[0]:+.2f} [{test[1]:+.2f}, {test[2]:+.2f}]"


if __name__ == "__main__":
    main()
