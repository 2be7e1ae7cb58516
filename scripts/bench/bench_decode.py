"""How fast clips are transcribed: our decoding loop, against transformers' `generate` in manifest order and sorted.

    python scripts/bench/bench_decode.py --manifest ../shared/speech/manifest.jsonl [--clips 64] [--repeats 3]
    python scripts/bench/bench_decode.py --manifest ... --shape 0.6b [--encoder-layers 2] [--decoder-layers 4 | --full-depth]
    python scripts/bench/bench_decode.py --synthetic long-tail --shape 0.6b --full-depth --device cuda --rows 128

Without --shape: the bundled model, rows end where it ends them. With it: random weights in the widths of the published
model with fewer layers and its whole vocabulary; rows end after as many tokens as the transcript has in the bundled
tokenizer (of --synthetic: 3.6 a second of audio and 6, as real transcripts have in the published one), since random weights
know no end. Timed is waveforms -> tokens, by our collator in all ways. The ways take turns;
medians are printed, and how many rows have other tokens than the first way. Times are seconds of the core that the process
had; with --device cuda of the wall, in bf16, and our loop runs with CUDA graphs and without.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.audio.decode import SAMPLE_RATE_HZ, load_audio
from qasr_train.batch import Recording
from qasr_train.data.buckets import BatchBudget, sorted_batches
from qasr_train.manifest import Utterance
from qasr_train.models.blocks.greedy import token_limit
from qasr_train.models.families import load_model
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from scripts.bench.random_model import SHAPES, plain_attention, random_model
from scripts.bench.train_step import MIXES, Clock, synthetic_utterances


@dataclass
class Bench:
    """What all ways share. limits: most new tokens of each clip; is_forced: they are where a row ends."""

    model: Qwen3ASR
    clips: list[Recording]
    limits: list[int]
    is_forced: bool
    clock: Clock

    @property
    def device(self) -> torch.device:
        return self.clock.device


def main() -> None:
    """Parse the command line, measure, print one line a way."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    bench = prepare(arguments)
    lengths_s = [len(clip.waveform) / SAMPLE_RATE_HZ for clip in bench.clips]
    order = list(range(len(bench.clips)))
    fixed = [order[i : i + arguments.rows] for i in range(0, len(order), arguments.rows)]
    by_length = partial(sorted_batches, lengths_s)
    narrow, wide = (
        by_length(BatchBudget(arguments.batch_seconds)),
        by_length(BatchBudget(4 * arguments.batch_seconds)),
    )
    plans = {f"{arguments.batch_seconds:g} s": narrow, f"{4 * arguments.batch_seconds:g} s": wide}
    engines: dict[str, Callable[..., list[list[int]]]] = {"generate": generate, "ours": ours}
    if arguments.device == "cuda":
        engines["graphs"] = graphs
    ways: dict[str, Callable[[], dict[int, list[int]]]] = {
        f"{name}, manifest order, {arguments.rows} rows": partial(run, bench, fixed, engine)
        for name, engine in engines.items()
    }
    for size, plan in plans.items():
        ways |= {f"{name}, sorted, {size}": partial(run, bench, plan, engine) for name, engine in engines.items()}
    if arguments.only:
        ways = {name: way for name, way in ways.items() if any(part in name for part in arguments.only)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    tokens: dict[str, dict[int, list[int]]] = {}
    for repeat in range(arguments.repeats + arguments.warm_up):
        for name, way in ways.items():
            began_s = bench.clock()
            tokens[name] = way()
            if repeat >= arguments.warm_up:
                seconds[name].append(bench.clock() - began_s)
            print(f"{name}: {bench.clock() - began_s:.2f} s", file=sys.stderr, flush=True)
    show(seconds, tokens, sum(lengths_s))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--manifest", type=Path, help="rows with audio, text and duration")
    source.add_argument("--synthetic", choices=list(MIXES), help="noise of such lengths instead, in random order")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--shortest-s", type=float, default=1.0)
    parser.add_argument("--longest-s", type=float, default=30.0)
    parser.add_argument("--rows", type=int, default=16, help="clips of a batch in manifest order")
    parser.add_argument("--batch-seconds", type=float, default=120.0, help="padded seconds of a sorted batch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=0, help="rounds that are not timed; graphs are captured in them")
    parser.add_argument(
        "--shape", choices=list(SHAPES), help="random weights of these widths instead of the bundled model"
    )
    parser.add_argument("--encoder-layers", type=int, default=2)
    parser.add_argument("--decoder-layers", type=int, default=4)
    parser.add_argument("--only", nargs="+", help="ways whose names contain one of these")
    parser.add_argument("--full-depth", action="store_true", help="as many layers as published")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    return arguments


def prepare(arguments: argparse.Namespace) -> Bench:
    """The model, and a seeded sample of the manifest's clips in its order."""
    device = torch.device(arguments.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if arguments.shape:
        model: Any = random_model(
            arguments.shape,
            encoder_layers=None if arguments.full_depth else arguments.encoder_layers,
            decoder_layers=None if arguments.full_depth else arguments.decoder_layers,
            device=device,
            dtype=dtype,
        )
    else:
        model = load_model(Qwen3ASRConfig(path="bundled:tiny"), device=device, dtype=dtype)
    clips = made_clips(arguments) if arguments.synthetic else read_clips(arguments)
    limits = [limit_of(clip, model, arguments) for clip in clips]
    return Bench(model.eval(), clips, limits, bool(arguments.shape), Clock(device, is_wall=device.type == "cuda"))


def limit_of(clip: Recording, model: Qwen3ASR, arguments: argparse.Namespace) -> int:
    """Most new tokens of a clip."""
    duration_s = len(clip.waveform) / SAMPLE_RATE_HZ
    if arguments.synthetic and arguments.shape:
        return round(3.6 * duration_s) + 6
    return model.collator.num_target_tokens(clip.utterance) if arguments.shape else token_limit(duration_s)


def read_clips(arguments: argparse.Namespace) -> list[Recording]:
    """A seeded sample of the manifest's clips, in its order."""
    rows = [json.loads(line) for line in arguments.manifest.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if arguments.shortest_s <= row["duration"] <= arguments.longest_s]
    kept = set(random.Random(0).sample(range(len(rows)), min(arguments.clips, len(rows))))
    clips = []
    for row in (row for i, row in enumerate(rows) if i in kept):
        path = str(arguments.manifest.parent / row["audio"])
        about = Utterance(id=row["audio"], audio=path, text=row["text"])
        clips.append(Recording(about, load_audio(path, name=row["audio"])))
    return clips


def made_clips(arguments: argparse.Namespace) -> list[Recording]:
    """Noise of the lengths of a mix, in random order."""
    with tempfile.TemporaryDirectory() as folder:
        utterances = synthetic_utterances(Path(folder), arguments.clips, MIXES[arguments.synthetic])
        random.Random(0).shuffle(utterances)
        return [Recording(one, load_audio(one.audio, name=one.id)) for one in utterances]


def run(bench: Bench, batches: Sequence[Sequence[int]], decode: Callable[..., list[list[int]]]) -> dict[int, list[int]]:
    """Clip -> its tokens, up to and with its end."""
    found: dict[int, list[int]] = {}
    for rows in batches:
        batch = bench.model.collator.for_transcription([bench.clips[row] for row in rows]).to(bench.device)
        with torch.inference_mode():
            batch = bench.model.collator.with_features(batch)
            decoded = decode(bench, batch, [bench.limits[row] for row in rows])
        found.update(zip(rows, (first_end(bench, ids) for ids in decoded), strict=True))
    return found


def ours(bench: Bench, batch: Any, limits: list[int]) -> list[list[int]]:
    """By our loop."""
    return decoded(bench, batch, limits, use_graphs=False)


def graphs(bench: Bench, batch: Any, limits: list[int]) -> list[list[int]]:
    """By our loop, its steps being CUDA graphs."""
    return decoded(bench, batch, limits, use_graphs=True)


def decoded(bench: Bench, batch: Any, limits: list[int], *, use_graphs: bool) -> list[list[int]]:
    """The tokens of every row."""
    return [row.ids for row in bench.model._decode_loop(batch, limits, use_graphs=use_graphs)]


def generate(bench: Bench, batch: Any, limits: list[int]) -> list[list[int]]:
    """By transformers, with its own attention; a row that has its tokens is done where lengths are forced."""
    core: Any = bench.model.core
    first = batch.input_ids.shape[1]
    stop = [_RowLimits(first, torch.tensor(limits, device=bench.device))] if bench.is_forced else []
    with plain_attention(core):
        ids = core.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            input_features=batch.input_features.to(core.dtype),
            input_features_mask=batch.input_features_mask,
            max_new_tokens=max(limits),
            do_sample=False,
            eos_token_id=[bench.model.collator.end_id, bench.model.collator.pad_id],
            pad_token_id=bench.model.collator.pad_id,
            stopping_criteria=StoppingCriteriaList(stop),
        )
    return [row[:limit] for row, limit in zip(ids[:, first:].tolist(), limits, strict=True)]


class _RowLimits(StoppingCriteria):
    def __init__(self, first: int, limits: torch.Tensor) -> None:
        self.first, self.limits = first, limits

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        is_done: Any = input_ids.shape[1] - self.first >= self.limits
        return is_done


def first_end(bench: Bench, ids: list[int]) -> list[int]:
    """Tokens up to and with the first end."""
    ends = [i for i, token in enumerate(ids) if token in (bench.model.collator.end_id, bench.model.collator.pad_id)]
    return ids[: ends[0] + 1] if ends else ids


def show(seconds: dict[str, list[float]], tokens: dict[str, dict[int, list[int]]], audio_s: float) -> None:
    """One line a way: median, speed, ratio to the first, rows whose tokens differ from the first's."""
    first = next(iter(seconds))
    reference_s = statistics.median(seconds[first])
    print(f"{len(tokens[first])} clips, {audio_s:.0f} s, {sum(map(len, tokens[first].values()))} tokens")
    for name, values in seconds.items():
        median = statistics.median(values)
        num_different = sum(tokens[name][row] != ids for row, ids in tokens[first].items())
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(
            f"{name:36}{median:8.2f} s ({spread})  {audio_s / median:7.1f} audio-s/s  {reference_s / median:5.2f} times as fast"
            f"  {num_different} rows differ"
        )


if __name__ == "__main__":
    main()
