"""Whisper beside what most people use: fine-tuning beside Seq2SeqTrainer, transcribing beside faster-whisper and transformers.

    python scripts/bench/bench_whisper.py train --model W --manifest ../shared/speech/manifest.jsonl [--steps 24] [--repeats 3]
    python scripts/bench/bench_whisper.py transcribe --model W --manifest ... [--clips 48] [--cores 1 2] [--overlay DIR]

`train`: the same weights, clips, order, labels and optimizer by Seq2SeqTrainer and by recipes/finetune.py with the full window
and with the clip alone, whole weights, float32. Loss of the first step, seconds of a step and of the whole process, peak memory,
and the error rate after as many steps on clips of --test-split. `transcribe`: the same clips by all, greedy; which transcripts
differ from transformers' own, and audio seconds a second. Every way is a process of its own; ways take turns; medians.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.processes import ROOT, Cost, run_python

# Without their dependencies, which this environment has: what it has not is named too.
FASTER_WHISPER = ["faster-whisper==1.2.1", "ctranslate2==4.8.5", "onnxruntime", "av", "flatbuffers"]


def main() -> None:
    """Parse the command line, measure, print."""
    arguments = parse_arguments()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} before", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        arguments.measure(arguments, Path(name))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", type=Path, required=True, help="a Whisper checkpoint in transformers' layout")
    shared.add_argument("--manifest", type=Path, required=True, help="rows with audio, text, language, duration, split")
    shared.add_argument("--languages", nargs="+", help="of the clips; none: all")
    shared.add_argument("--shortest-s", type=float, default=1.0)
    shared.add_argument("--longest-s", type=float, default=30.0)
    shared.add_argument("--rows", type=int, default=8, help="clips of a batch")
    shared.add_argument("--repeats", type=int, default=3)
    shared.add_argument("--seed", type=int, default=0, help="which clips, and their order")
    shared.add_argument("--work", type=Path, help="folder for what is removed in the end; none: the system's")
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train", parents=[shared], help="beside Seq2SeqTrainer")
    train.add_argument("--steps", type=int, default=24)
    train.add_argument("--split", default="train")
    train.add_argument("--test-split", default="dev")
    train.add_argument("--test-clips", type=int, default=80, help="for the error rate after training. 0: none")
    train.add_argument("--ways", nargs="+", choices=TRAINING, default=list(TRAINING))
    train.add_argument("--cores", type=int, default=1)
    train.add_argument("--workers", type=int, default=0, help="of the loader, in all ways")
    train.add_argument("--lr", type=float, default=2e-5, help="at the start; it falls linearly to 0, without a warm-up")
    train.add_argument("--weight-decay", type=float, default=0.01)
    train.add_argument("--keep", type=Path, help="folder for the models of the first round")
    train.set_defaults(measure=measure_training)
    transcribe = commands.add_parser("transcribe", parents=[shared], help="beside faster-whisper and transformers")
    transcribe.add_argument("--clips", type=int, default=48)
    transcribe.add_argument("--split", help="of the clips. none: all")
    transcribe.add_argument("--ways", nargs="+", choices=TRANSCRIBING, default=list(TRANSCRIBING))
    transcribe.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    transcribe.add_argument("--max-new-tokens", type=int, default=200)
    transcribe.add_argument("--overlay", type=Path, help="folder that has faster-whisper, or gets it by pip")
    transcribe.set_defaults(measure=measure_transcribing)
    return parser.parse_args()


def chosen_rows(arguments: argparse.Namespace, split: str | None, num_clips: int) -> list[dict[str, Any]]:
    """A seeded sample of the manifest's clips, in its order, with whole paths and ids."""
    rows = [json.loads(line) for line in arguments.manifest.read_text(encoding="utf-8").splitlines()]
    rows = [
        row
        for row in rows
        if arguments.shortest_s <= row["duration"] <= arguments.longest_s
        and (not arguments.languages or row["language"] in arguments.languages)
        and (split is None or row["split"] == split)
    ]
    if len(rows) < num_clips:
        raise SystemExit(f"{arguments.manifest}: {len(rows)} such clips in split {split}, {num_clips} wanted")
    kept = sorted(random.Random(arguments.seed).sample(range(len(rows)), num_clips))
    folder = arguments.manifest.resolve().parent
    names = ("text", "language", "duration", "speaker")
    chosen = [{name: rows[i][name] for name in names if name in rows[i]} for i in kept]
    return [
        one | {"id": rows[i]["audio"], "audio": str(folder / rows[i]["audio"])}
        for i, one in zip(kept, chosen, strict=True)
    ]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A manifest."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------------------------- training


@dataclass
class TrainingRun:
    """One run. step_s: of every step. prepare_s: before the first one, where features are made ahead."""

    cost: Cost
    losses: list[float]
    step_s: list[float]
    model: Path
    prepare_s: float = 0.0

    @property
    def median_step_s(self) -> float:
        """Of the steps after the first, which allocates and starts what the others find."""
        return statistics.median(self.step_s[1:] or self.step_s)


def measure_training(arguments: argparse.Namespace, work: Path) -> None:
    """Run the ways in turn, then look at what they learned."""
    clips = write_rows(work / "clips.jsonl", chosen_rows(arguments, arguments.split, arguments.steps * arguments.rows))
    runs: dict[str, list[TrainingRun]] = {way: [] for way in arguments.ways}
    for number in range(arguments.repeats):
        for way in arguments.ways:
            folder = work / f"{way}-{number}"
            folder.mkdir()
            run = TRAINING[way](arguments, clips, folder)
            runs[way].append(run)
            print(
                f"{way}: step {run.median_step_s:.2f} s, whole {run.cost.wall_s:.1f} s ({run.cost.cpu_s:.1f} s of cores), "
                f"{run.cost.peak_mib:.0f} MiB, "
                f"first loss {run.losses[0]:.6f}, load {run.cost.load:.1f}",
                file=sys.stderr,
                flush=True,
            )
    show_training(runs)
    if arguments.test_clips:
        show_error_rates(arguments, runs, work)
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        for way, (first, *_) in runs.items():
            first.model.resolve().rename(arguments.keep / way)


def show_training(runs: Mapping[str, Sequence[TrainingRun]]) -> None:
    """A line a way, ratios to the first."""
    columns = ("first loss", "last loss", "step s", "x", "whole s", "x", "core s", "x", "MiB", "x", "ahead s", "load")
    print(f"{'':14}" + "".join(f"{name:>11}" if len(name) > 1 else f"{name:>6}" for name in columns))
    reference: list[float] = []
    for way, several in runs.items():
        figures = [
            statistics.median(one.median_step_s for one in several),
            statistics.median(one.cost.wall_s for one in several),
            statistics.median(one.cost.cpu_s for one in several),
            statistics.median(one.cost.peak_mib for one in several),
        ]
        reference = reference or figures
        cells = "".join(f"{value:11.2f}{first / value:6.2f}" for value, first in zip(figures, reference, strict=True))
        ahead_s = statistics.median(one.prepare_s for one in several)
        load = statistics.median(one.cost.load for one in several)
        first = several[0]
        print(f"{way:14}{first.losses[0]:11.6f}{first.losses[-1]:11.6f}{cells}{ahead_s:11.1f}{load:11.1f}")


def show_error_rates(arguments: argparse.Namespace, runs: Mapping[str, Sequence[TrainingRun]], work: Path) -> None:
    """What each way's first run learned, with the window it was trained with and with the full one."""
    test = write_rows(work / "test.jsonl", chosen_rows(arguments, arguments.test_split, arguments.test_clips))
    asked = [("before", arguments.model, "full"), ("before", arguments.model, "clip")]
    for way, (first, *_) in runs.items():
        asked += [(way, first.model, "full")] + ([(way, first.model, "clip")] if way == "ours-clip" else [])
    print(f"{'':14}{'window':>8}{'WER %':>8}   interval   ({arguments.test_clips} clips of {arguments.test_split})")
    for number, (name, model, window) in enumerate(asked):
        folder = work / f"test-{number}"
        settings = ["model=whisper_base", f"model.path={model}", f"model.window={window}", "suite=own"]
        settings += [f"suite.manifest={test}", "decode.language=reference", "decode.check_batch_invariance=0"]
        settings += [f"decode.max_batch_rows={arguments.rows}", f"run_dir={folder}"]
        run_python([str(ROOT / "recipes" / "evaluate.py"), *settings], cores=arguments.cores, log=work / "evaluate.log")
        (scores,) = folder.rglob("scores.json")
        overall = json.loads(scores.read_text(encoding="utf-8"))["overall"]
        print(f"{name:14}{window:>8}{overall['wer_percent']:8.1f}   {overall['interval']}", flush=True)


def train_full(arguments: argparse.Namespace, clips: Path, folder: Path) -> TrainingRun:
    """recipes/finetune.py with the full window."""
    return train_ours(arguments, clips, folder, "full")


def train_clip(arguments: argparse.Namespace, clips: Path, folder: Path) -> TrainingRun:
    """recipes/finetune.py with the clip alone."""
    return train_ours(arguments, clips, folder, "clip")


def train_ours(arguments: argparse.Namespace, clips: Path, folder: Path, window: str) -> TrainingRun:
    """The recipe itself; a line of its log is a step, whose seconds are its sound over the sound a second."""
    settings = [*recipe_settings(arguments, clips), f"model.window={window}", f"run_dir={folder / 'run'}"]
    recipe = str(ROOT / "recipes" / "finetune.py")
    cost = run_python([recipe, *settings], cores=arguments.cores, log=folder / "log")
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if "train/loss_nats" in line]
    heard_s = [line["train/audio_s"] for line in lines]
    step_s = [
        (now - before) / line["train/audio_s_per_s"]
        for now, before, line in zip(heard_s, [0.0, *heard_s], lines, strict=False)
    ]
    return TrainingRun(
        cost, [line["train/loss_nats"] for line in lines], step_s, folder / "run" / "checkpoints" / "last"
    )


def recipe_settings(arguments: argparse.Namespace, clips: Path) -> list[str]:
    """Settings of recipes/finetune.py that both windows share; they also decide the order of the clips."""
    return [
        "model=whisper_base",
        f"model.path={arguments.model}",
        "model.supervise_language=true",  # as the example's labels do
        "adapt=full",
        f"data.train.clips.path={clips}",
        f"data.batch_seconds={arguments.rows * 30}",
        f"data.max_batch_rows={arguments.rows}",
        f"data.num_workers={arguments.workers}",
        "optim=adamw_full",
        f"optim.lr={arguments.lr}",
        f"optim.weight_decay={arguments.weight_decay}",
        "optim.schedule=linear",
        "optim.warmup_fraction=0",
        "trainer.num_epochs=1",
        "trainer.log_every=1",
        "trainer.device=cpu",
        f"seed={arguments.seed}",
    ]


def train_hugging_face(arguments: argparse.Namespace, clips: Path, folder: Path) -> TrainingRun:
    """Seq2SeqTrainer over the clips in the order in which the recipe takes them, with the recipe's optimizer."""
    from qasr_train.jobs.recipes import load_config

    config = load_config("finetune", [*recipe_settings(arguments, clips), "run_dir=unused"])
    optim = config.optim
    job = {
        "model": str(arguments.model),
        "rows": str(write_rows(folder / "rows.jsonl", ordered_rows(config, clips))),
        "out": str(folder),
        "cores": arguments.cores,
        "batch_rows": arguments.rows,
        "num_workers": arguments.workers,
        "max_grad_norm": config.trainer.max_grad_norm,
        "lr": optim.lr,
        "weight_decay": optim.weight_decay,
        "beta1": optim.beta1,
        "beta2": optim.beta2,
        "eps": optim.eps,
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    script = str(ROOT / "scripts" / "bench" / "whisper_seq2seq.py")
    cost = run_python([script, str(folder / "job.json")], cores=arguments.cores, log=folder / "log")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return TrainingRun(cost, result["losses"], result["step_s"], folder / "model", result["prepare_s"])


def ordered_rows(config: Any, clips: Path) -> list[dict[str, Any]]:
    """The clips in the order of the recipe's first epoch, each with its text as Whisper says it, after a space."""
    from qasr_train.data.length_limits import Limits
    from qasr_train.data.source_pools import build_pools
    from qasr_train.data.training_data import TrainingData
    from qasr_train.models.whisper.model import load_collator

    collator: Any = load_collator(config.model)
    limits = Limits(config.data, collator, model_max_duration_s=config.model.max_duration_s)
    pools = build_pools(config.data.train, limits=limits, stream_window=1, seed=config.seed)
    utterances, batches = TrainingData(pools, collator, config.data.budget, seed=config.seed).plan(0)
    written = {row["id"]: row for row in map(json.loads, clips.read_text(encoding="utf-8").splitlines())}
    tokens = collator.tokens
    in_order = [written[utterances[i].id] for batch in batches for i in batch]
    return [row | {"said": tokens.tokenizer.decode(tokens.encode(row["text"]))} for row in in_order]


TRAINING = {"hugging-face": train_hugging_face, "ours-full": train_full, "ours-clip": train_clip}


# ------------------------------------------------------------------------------------------------------------ transcribing

# Way -> what transcribes, and with which window. Transcripts are compared with the first one's. faster-whisper fills the features
# of a clip up with zeros, where Whisper was trained with those of silence; with "full" it is given the silence.
TRANSCRIBING = {
    "generate": ("generate", "full"),
    "pipeline": ("pipeline", "full"),
    "faster-whisper": ("faster-whisper", "clip"),
    "faster-whisper-30s": ("faster-whisper", "full"),
    "ours-full": ("ours", "full"),
    "ours-clip": ("ours", "clip"),
}


def measure_transcribing(arguments: argparse.Namespace, work: Path) -> None:
    """Run the ways in turn, on each number of cores."""
    rows = chosen_rows(arguments, arguments.split, arguments.clips)
    overlay = arguments.overlay or work / "overlay"
    converted = None
    if any(TRANSCRIBING[way][0] == "faster-whisper" for way in arguments.ways):
        converted = convert(arguments.model, overlay, work)
    results: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(arguments.repeats):
        for cores in arguments.cores:
            for way in arguments.ways:
                result = transcribe_once(arguments, rows, way, cores, overlay, work, converted)
                results.setdefault((way, cores), []).append(result)
                print(
                    f"{way}, {cores} cores: {result['wall_s']:.1f} s, load {os.getloadavg()[0]:.1f}",
                    file=sys.stderr,
                    flush=True,
                )
    show_transcribing(results)
    show_differences(rows, {way: several[0]["texts"] for (way, _), several in results.items()})


def convert(model: Path, overlay: Path, work: Path) -> Path:
    """The checkpoint as CTranslate2 has it, weights in float32."""
    if not overlay.is_dir():
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(overlay), *FASTER_WHISPER]
        subprocess.run(install, check=True)
    out = work / "converted"
    settings = ["--model", str(model), "--output_dir", str(out), "--copy_files", "tokenizer.json"]
    converter = str(overlay.resolve() / "bin" / "ct2-transformers-converter")
    run_python([converter, *settings], cores=1, log=work / "convert.log", before=[overlay])
    return out


def transcribe_once(
    arguments: argparse.Namespace,
    rows: Sequence[Mapping[str, Any]],
    way: str,
    cores: int,
    overlay: Path,
    work: Path,
    converted: Path | None,
) -> dict[str, Any]:
    """What one process of a way says."""
    name, window = TRANSCRIBING[way]
    job = {
        "way": name,
        "window": window,
        "model": str(arguments.model),
        "converted": str(converted),
        "rows": list(rows),
        "batch_rows": arguments.rows,
        "max_new_tokens": arguments.max_new_tokens,
        "cores": cores,
        "result": str(work / "result.json"),
    }
    (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
    script = str(ROOT / "scripts" / "bench" / "whisper_transcribers.py")
    before = [overlay] if name == "faster-whisper" else []
    cost = run_python([script, str(work / "job.json")], cores=cores, log=work / "way.log", before=before)
    result: dict[str, Any] = json.loads((work / "result.json").read_text(encoding="utf-8"))
    return result | {"peak_mib": cost.peak_mib, "load": cost.load}


def show_transcribing(results: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]) -> None:
    """A line a way and number of cores."""
    print(f"{'':16}{'cores':>6}{'wall s':>9}{'RTFx':>8}{'core s':>9}{'MiB':>7}{'load':>6}")
    for (way, cores), several in results.items():
        wall_s, core_s, mib, load = (
            statistics.median(one[name] for one in several) for name in ("wall_s", "cpu_s", "peak_mib", "load")
        )
        rtfx = several[0]["audio_s"] / wall_s
        print(f"{way:16}{cores:6}{wall_s:9.2f}{rtfx:8.1f}{core_s:9.2f}{mib:7.0f}{load:6.1f}")


def show_differences(rows: Sequence[Mapping[str, Any]], texts: Mapping[str, Sequence[str]]) -> None:
    """Every transcript that is not the first way's."""
    first, *others = texts
    for way in others:
        differing = [i for i in range(len(rows)) if texts[way][i] != texts[first][i]]
        print(f"{way}: {len(differing)} of {len(rows)} transcripts differ from {first}'s")
        for i in differing:
            heard, expected = (f"{texts[one][i]:.120}" for one in (way, first))
            print(f"  {rows[i]['id']} ({rows[i]['duration']:.1f} s): {heard!r}, {first}: {expected!r}")


if __name__ == "__main__":
    main()
