"""What training with clips cut at chunk ends (augment.prefix) wins back of what streaming loses: one share a run, several seeds.

    python scripts/bench/prefixes.py --work runs/prefixes --seeds 0 1 --shares 0 0.25 --longer 0.25 --chunks 2

English sentences of eSpeak NG, whose word times it tells, joined to 4 to 8 s. bundled:tiny-2 knows clips of some 2 s alone, so
it first learns whole ones of this length, until it is finished with them (WORK/begun/metrics.jsonl tells, on a dev set); from
there each share is trained on with equal steps, 0 being the control. A cut clip takes the place of a whole one then; with
--longer a share goes on until it has seen as many whole seconds as the control, the cut ones on top. Every model hears the same
unseen sentences, half of them in timbres never trained on, offline and in chunks; what a chunk loses against offline is paired
by recording. Writes WORK/results.jsonl, a line a figure; what is there is not run again.
"""

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.augment.prefixes import chunk_ends
from qasr_train.augment.settings import PrefixConfig
from qasr_train.manifest import Utterance, read_jsonl, write_manifest
from qasr_train.timed.base import TimedWord
from qasr_train.timed.jsonl import word_of
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
FIGURES = ("changed_percent", "mean_delay_s", "p95_delay_s")


class Arm(NamedTuple):
    """One way of training on. share: of the clips that are cut. is_longer: see --longer."""

    share: float
    is_longer: bool = False

    @property
    def label(self) -> str:
        """As tables and folders have it."""
        return f"{self.share:g}{'+' if self.is_longer else ''}"

    def model(self, seed: int) -> str:
        """The name of what it trains."""
        return f"{self.label} seed {seed}"


CONTROL = Arm(0.0)


def main() -> None:
    """Make what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="directory for data, runs and results.jsonl")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.25], help="of the clips that are cut")
    parser.add_argument("--longer", type=float, nargs="*", default=[0.25], help="shares that see as much whole, too")
    parser.add_argument("--chunks", type=float, nargs="+", default=[2.0], help="seconds; what is decoded in")
    parser.add_argument("--first-steps", type=int, default=1500, help="on whole clips, before any share")
    parser.add_argument("--steps", type=int, default=200, help="of each share")
    parser.add_argument("--lr", type=float, default=5e-4, help="peak learning rate of each share")
    parser.add_argument("--num-train", type=int, default=8000, help="recordings")
    parser.add_argument("--num-test", type=int, default=240, help="recordings")
    parser.add_argument("--only", choices=("data", "begin", "train"), help="stop behind this")
    arguments = parser.parse_args()
    try:
        require_espeak()
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    make_data(arguments)
    if arguments.only == "data":
        return
    begun = train(BASE, 100, "model=tiny", "optim.lr=1e-3", steps=arguments.first_steps, work=arguments.work)
    if arguments.only == "begin":
        return
    models = train_arms(begun, arguments) | {BASE: begun}
    if arguments.only == "train":
        return
    for name, model in models.items():
        measure(name, model, arguments)
    print(table(read_results(arguments.work / "results.jsonl")))
    print(pooled_table(arguments))


def arms(arguments: argparse.Namespace) -> list[Arm]:
    """The control first."""
    others = [*(Arm(share) for share in arguments.shares), *(Arm(share, True) for share in arguments.longer)]
    return [CONTROL, *(arm for arm in others if arm.share)]


def train_arms(begun: str, arguments: argparse.Namespace) -> dict[str, str]:
    """Name of each model that was trained on from `begun` -> its checkpoint."""
    models = {}
    for seed in arguments.seeds:
        for arm in arms(arguments):
            steps = arguments.steps
            if arm.is_longer:
                steps = round(steps / whole_part(arm.share, arguments.work))
            given = [f"model.path={begun}", f"optim.lr={arguments.lr:g}", f"augment.prefix.probability={arm.share:g}"]
            name = arm.model(seed)
            models[name] = train(name.replace(" ", "-"), seed, "model=tiny", *given, steps=steps, work=arguments.work)
    return models


def whole_part(share: float, work: Path) -> float:
    """Of the seconds that are trained on with a share of the clips cut, the part of whole ones."""
    whole_s = cut_s = 0.0
    for where, row in read_jsonl(work / "train" / "manifest.jsonl"):
        duration_s, words = row["duration_s"], tuple(word_of(word, where) for word in row["words"])
        utterance = Utterance(row["id"], row["audio"], row["text"], duration_s=duration_s, words=words)
        [ends_s] = chunk_ends(utterance, PrefixConfig().chunks_s)
        whole_s += duration_s * (1 - share if ends_s else 1)
        cut_s += share * float(np.mean(ends_s)) if ends_s else 0.0
    return whole_s / (whole_s + cut_s)


def make_data(arguments: argparse.Namespace) -> None:
    """WORK/train, dev and test, unless they are there: WAV files, and a manifest with the times of the words."""
    for name, number, seed in (("train", arguments.num_train, 1), ("test", arguments.num_test, 2), ("dev", 60, 3)):
        folder = arguments.work / name
        if (folder / "manifest.jsonl").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        rng = random.Random(seed)
        synthesizer = Synthesizer()
        clips = (draw(synthesizer, rng, number=n, is_test=name != "train") for n in range(number))
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
            f"data.dev.main.path={work}/dev/manifest.jsonl",
            "data.batch_seconds=32",
            "data.num_workers=0",
            f"trainer.max_steps={steps}",
            "trainer.num_epochs=null",
            "trainer.validate_every=250",
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
            row |= {figure: scores["streaming"]["sets"]["own"][figure] for figure in FIGURES}
        if name != BASE and control != out:
            row["against_control"] = difference(control, out)
        add_result(results, row)


def evaluated(work: Path, name: str, how: str) -> Path:
    """Where the evaluation of a model lies."""
    return work / "evaluated" / name.replace(" ", "-") / how.replace(" ", "")


def difference(before: Path, after: Path) -> list[float]:
    """Points of WER, the ends of their 95 % interval, and what they surely are below (one-sided), paired by utterance."""
    out = after.with_name(f"{after.name}-beside-{before.parent.name}-{before.name}")
    step("", "recipes/compare.py", f"baseline={before}", f"candidate={after}", f"out={out}", is_verdict=True)
    test = json.loads((out / "comparison.json").read_text(encoding="utf-8"))["overall"]["test"]
    interval = test["interval"]
    return [test["delta_percent"], interval["low_percent"], interval["high_percent"], test["one_sided_upper_percent"]]


def table(rows: list[dict]) -> str:
    """A Markdown table: a line a model and way of hearing it."""
    lines = [
        "| share | heard | WER % | lost against offline, points (surely below) | against share 0, points (surely below) "
        "| shown and changed % | mean delay s | 95 % within s |",
        "|---|---|---:|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [points(row[name]) if name in row else "" for name in ("lost", "against_control")]
        cells += [figure(row[name]) if name in row else "" for name in FIGURES]
        lines.append(f"| {row['model']} | {row['how']} | {row['wer_percent']:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pooled_table(arguments: argparse.Namespace) -> str:
    """A Markdown table, all seeds together: a line an arm and chunk, and differences in points with what they are surely below.

    Offline is compared with the control's offline; a stream with its own model's offline, the control's offline, and the
    control's stream.
    """
    lines = [
        "| share | chunk | offline WER % | beside share 0 offline | streamed WER % | beside its offline "
        "| beside share 0 offline | beside share 0 streamed |",
        "|---|---|---:|---|---:|---|---|---|",
    ]
    for chunk_s in arguments.chunks:
        how = f"{chunk_s:g} s"
        for arm in arms(arguments):
            offline, streamed = (pooled_errors(arm, heard, arguments) for heard in (OFFLINE, how))
            control, control_streamed = (pooled_errors(CONTROL, heard, arguments) for heard in (OFFLINE, how))
            cells = [arm.label, how, rate(offline), pooled(control, offline), rate(streamed), pooled(offline, streamed)]
            cells += [pooled(control, streamed), pooled(control_streamed, streamed)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def pooled_errors(arm: Arm, how: str, arguments: argparse.Namespace) -> np.ndarray:
    """float64 [recordings, 2]: errors and words of each test recording, summed over the seeds."""
    counts = dict[str, np.ndarray]()
    for seed in arguments.seeds:
        file = evaluated(arguments.work, arm.model(seed), how) / "utterances.jsonl"
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            errors = row["substitutions"] + row["deletions"] + row["insertions"]
            counts[row["id"]] = counts.get(row["id"], 0) + np.array([errors, row["num_reference_words"]], float)
    return np.stack([counts[name] for name in sorted(counts)])


def rate(counts: np.ndarray) -> str:
    """WER in percent."""
    errors, words = counts.sum(0)
    return f"{100 * errors / words:.2f}"


def pooled(before: np.ndarray, after: np.ndarray) -> str:
    """Points of WER, their 95 % interval and one-sided 95 % bound: recordings drawn anew 10,000 times, seed 0."""
    if before is after or np.array_equal(before, after):
        return ""
    lost, num_words = after[:, 0] - before[:, 0], before[:, 1]
    drawn = np.random.default_rng(0).integers(len(lost), size=(10_000, len(lost)))
    rates = 100 * lost[drawn].sum(1) / num_words[drawn].sum(1)
    return points([100 * lost.sum() / num_words.sum(), *np.percentile(rates, [2.5, 97.5, 95]).tolist()])


def figure(measured: Mapping[str, float]) -> str:
    """A figure of streaming with its interval."""
    return f"{measured['value']:.2f} [{measured['low']:.2f}, {measured['high']:.2f}]"


def points(test: Sequence[float]) -> str:
    """The difference with its interval, and what it surely is below."""
    return f"{test[0]:+.2f} [{test[1]:+.2f}, {test[2]:+.2f}] ({test[3]:+.2f})"


if __name__ == "__main__":
    main()
