"""One optimizer step over a long-tail mix of clips, from FLAC to updated weights: ours, plain transformers, the official package.

    python scripts/bench/bench_train.py [--weigh] [--clips 24] [--repeats 3] [--encoder-layers 3] [--decoder-layers 5]
        [--adapt full|lora] [--official OVERLAY] [--recompute conv] [--shape 0.6b|1.7b|tiny] [--vocabulary 151936]
        [--full-depth] [--threads 8] [--device cuda [--mix librispeech] [--compile]]

Random weights in the widths of the published models, with fewer layers and the bundled tokenizer; synthetic clips. Plain
transformers gets what an ordinary collator makes (the processor over the batch, right labels), the official package what
its script makes (two processor calls, its labels); both in random order, `--rows` clips a microbatch. OVERLAY is a folder
for the official package, installed by pip where it is missing; it runs as a process of its own. All ways take turns.
Times are seconds of the core that a process had (of the wall on a GPU). The learning rate is 0, so that every step does
the same work on the same weights and losses can be compared.
A ninth of the 0.6B in every part: --encoder-layers 2 --decoder-layers 3 --vocabulary 16882 --channels 160.

On a GPU (`--device cuda`): bf16 over float32 masters, the input made once and not timed, as loader workers make it beside
the step; peak memory of the process, and the operations a second that the data need (flops.py), as a share of a measured
matrix product's.
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.data.buckets import BatchBudget, sorted_batches
from qasr_train.data.workers import load_recording
from qasr_train.manifest import Utterance
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.blocks.compiled import num_compilations
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.layouts import save_original
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.settings import AdaptConfig, LoraSettings, Recompute
from qasr_train.objectives.cross_entropy import CrossEntropy
from scripts.bench.official_step import OfficialStep
from scripts.bench.random_model import CHANNELS, SHAPES, VOCABULARY, plain_attention, random_model
from scripts.bench.train_step import MIXES, Clock, StepResult, saved_bytes, synthetic_utterances, target_text

LORA = LoraSettings(
    rank=16,
    decoder=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    encoder=[],
    projector=[],
)


@dataclass
class Bench:
    """What all ways share: the model, its optimizer, the clips, the microbatches of each way."""

    model: Qwen3ASR
    optimizer: torch.optim.Optimizer
    utterances: list[Utterance]
    ours: list[list[int]]
    random: list[list[int]]
    clock: Clock
    prepared: dict[tuple[str, int], Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return self.clock.device


def main() -> None:
    """Parse the command line, measure, print."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.weigh:
            weigh_depths(arguments, folder)
            return
        bench = prepare(arguments, folder)
        ours, plain = our_way(bench), plain_way(bench)
        ways: dict[str, Callable[[bool], StepResult]] = {
            "ours": lambda weigh: run_step(bench, ours, bench.ours, weigh=weigh),
            "plain": lambda weigh: run_step(bench, plain, bench.random, weigh=weigh),
        }
        if arguments.official and "official" in arguments.ways:
            official = OfficialStep(arguments, folder, bench.utterances, bench.random)
            ways["official"] = official.step
        ways = {name: way for name, way in ways.items() if name in arguments.ways}
        results = take_turns(ways, arguments.repeats, weigh=not arguments.no_weighing)
        show(results, bench)
        if arguments.device == "cuda" and "ours" in ways:
            show_utilisation(bench, results["ours"])


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--rows", type=int, default=4, help="clips of a microbatch of the other ways")
    parser.add_argument("--batch-seconds", type=float, default=32.0, help="padded seconds of a microbatch of ours")
    parser.add_argument("--repeats", type=int, default=3, help="steps of each way, after one that weighs memory")
    parser.add_argument("--shape", choices=["tiny", *SHAPES], default="0.6b")
    parser.add_argument("--encoder-layers", type=int, default=3)
    parser.add_argument("--decoder-layers", type=int, default=5)
    parser.add_argument("--full-depth", action="store_true", help="as many layers as published")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY)
    parser.add_argument("--channels", type=int, default=CHANNELS, help="of the convolutions")
    parser.add_argument("--adapt", choices=["full", "lora"], default="full", help="lora: the encoder is frozen")
    parser.add_argument("--recompute", choices=[one.name for one in Recompute], default="none", help="of ours")
    parser.add_argument("--official", type=Path, help="folder of the official package; made where it is missing")
    parser.add_argument("--compile", action="store_true", help="torch.compile of our layers")
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=["ours", "plain", "official"],
        default=["ours", "plain", "official"],
        help="some alone, where memory does not hold all; their medians are then compared with the first of them",
    )
    parser.add_argument("--mix", choices=list(MIXES), default="long-tail", help="lengths of the clips")
    parser.add_argument("--threads", type=int, default=1, help="above 1 seconds are those of the wall")
    parser.add_argument(
        "--no-weighing", action="store_true", help="the first step of each way is not timed, that is all"
    )
    parser.add_argument("--weigh", action="store_true", help="memory alone: forward passes at three depths, composed")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    return arguments


def prepare(arguments: argparse.Namespace, folder: Path) -> Bench:
    """Random weights, clips on disk, and which clips go together."""
    device = torch.device(arguments.device)
    model = random_model(
        arguments.shape,
        encoder_layers=None if arguments.full_depth else arguments.encoder_layers,
        decoder_layers=None if arguments.full_depth else arguments.decoder_layers,
        vocabulary=arguments.vocabulary,
        channels=arguments.channels,
        device=device,
    )
    if arguments.official:  # before adapters change the names of weights
        save_original(model.core, model.processor, folder / "original")
    adapt = AdaptConfig(trainable=["*"]) if arguments.adapt == "full" else AdaptConfig(lora=LORA)
    model.module = apply_adaptation(model.module, adapt, PARTS)
    model.set_gradient_checkpointing(Recompute[arguments.recompute])
    model.to(device).train()
    if arguments.compile:
        model.compile_layers()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0, fused=True)
    utterances = synthetic_utterances(folder, arguments.clips, MIXES[arguments.mix])
    durations_s = [one.duration_s or 0.0 for one in utterances]
    order = np.random.default_rng(1).permutation(len(utterances)).tolist()
    return Bench(
        model=model,
        optimizer=optimizer,
        utterances=utterances,
        ours=sorted_batches(durations_s, BatchBudget(arguments.batch_seconds)),
        random=[order[i : i + arguments.rows] for i in range(0, len(order), arguments.rows)],
        clock=Clock(device, is_wall=arguments.threads > 1 or device.type == "cuda"),
    )


@dataclass
class Way:
    """One way to train.

    name: tells it apart. prepare: clips -> (batch, its targets, share of padding). loss: batch -> the summed loss, in nats."""

    name: str
    prepare: Callable[[list[int]], tuple[Any, int, float]]
    loss: Callable[[Any], torch.Tensor]


def our_way(bench: Bench) -> Way:
    """What our trainer does: decode, collate, forward."""

    def prepare(rows: list[int]) -> tuple[Any, int, float]:
        batch = bench.model.collator.for_training([load_recording(bench.utterances[i]) for i in rows])
        return batch, batch.num_targets, batch.padded_fraction

    return Way("ours", prepare, lambda batch: CrossEntropy()(bench.model, batch.to(bench.device)).total)


def plain_way(bench: Bench) -> Way:
    """transformers' processor over the batch, its model's own forward pass over padded rows and full logits, right labels."""
    core, processor = bench.model.core, bench.model.processor
    tokenizer = processor.tokenizer
    messages: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": ""}]}]
    messages.append({"role": "user", "content": [{"type": "audio", "audio": np.zeros(1)}]})
    prompt = processor.apply_chat_template([messages], tokenize=False, add_generation_prompt=True)[0]

    def prepare(rows: list[int]) -> tuple[Any, int, float]:
        recordings = [load_recording(bench.utterances[i]) for i in rows]
        targets = [target_text(r.utterance) + "<|im_end|>" for r in recordings]
        texts, audio = [prompt + target for target in targets], [r.waveform for r in recordings]
        inputs = processor(text=texts, audio=audio, sampling_rate=16_000, return_tensors="pt", padding=True)
        labels = torch.full_like(inputs["input_ids"], -100)
        for row, target in enumerate(targets):  # padded on the left, so that targets end where the batch does
            num_tokens = len(tokenizer(target)["input_ids"])
            labels[row, -num_tokens:] = inputs["input_ids"][row, -num_tokens:]
        padded = 1.0 - float(inputs["attention_mask"].float().mean())
        return {**inputs, "labels": labels}, int((labels != -100).sum()), padded

    def loss(inputs: Any) -> torch.Tensor:
        inputs = {name: tensor.to(bench.device) for name, tensor in inputs.items()}
        with plain_attention(core):
            return core(**inputs, num_items_in_batch=torch.tensor(1)).loss  # divided by 1: a sum

    return Way("plain", prepare, loss)


def run_step(bench: Bench, way: Way, microbatches: Sequence[list[int]], *, weigh: bool) -> StepResult:
    """Seconds, loss and padding of one optimizer step; with `weigh` also what autograd keeps of the heaviest microbatch."""
    is_cuda = bench.device.type == "cuda"
    began_s = bench.clock()
    batches = [prepared(bench, way, number, rows) for number, rows in enumerate(microbatches)]
    input_s = bench.clock() - began_s
    num_targets = sum(number for _, number, _ in batches)
    losses, heaviest = [], 0
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    for batch, _, _ in batches:
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=is_cuda):
            loss, kept = saved_bytes(partial(way.loss, batch), bench.model) if weigh else (way.loss(batch), 0)
        (loss / num_targets).backward()
        losses.append(loss.detach())
        heaviest = max(heaviest, kept)
    torch.nn.utils.clip_grad_norm_([p for p in bench.model.parameters() if p.requires_grad], 1.0)
    bench.optimizer.step()
    bench.optimizer.zero_grad()
    return StepResult(
        seconds=bench.clock() - began_s,
        input_s=input_s,
        loss_nats=sum(map(float, losses)) / num_targets,
        num_targets=num_targets,
        padded_fraction=float(np.mean([padded for _, _, padded in batches])),
        saved_bytes=heaviest,
        peak_bytes=torch.cuda.max_memory_allocated() if is_cuda else 0,
    )


def prepared(bench: Bench, way: Way, number: int, rows: list[int]) -> tuple[Any, int, float]:
    """A microbatch; on a GPU made once and kept, in memory it can be copied from meanwhile."""
    if bench.device.type != "cuda":
        return way.prepare(rows)
    key = (way.name, number)
    if key not in bench.prepared:
        batch, *counts = way.prepare(rows)
        pinned = {n: t.pin_memory() for n, t in batch.items()} if isinstance(batch, dict) else batch.pin_memory()
        bench.prepared[key] = (pinned, *counts)
    return bench.prepared[key]


def weigh_depths(arguments: argparse.Namespace, folder: Path) -> None:
    """Bytes kept for the backward pass of one microbatch, the same clips both ways, at three depths; composed to the whole.

    Forward passes alone. Layers are alike, so two depths give what one layer keeps.
    """
    if arguments.full_depth or arguments.shape == "tiny":
        raise SystemExit(
            "--weigh composes the depth of a published model from three small ones: no --full-depth, no tiny"
        )
    whole = SHAPES[arguments.shape].encoder_layers, SHAPES[arguments.shape].decoder_layers
    kept: dict[str, list[int]] = {}
    for depth in ((2, 2), (4, 2), (2, 4)):
        arguments.encoder_layers, arguments.decoder_layers = depth
        sizes, audio_s = weigh(prepare(arguments, folder))
        for name, size in sizes.items():
            kept.setdefault(name, []).append(size)
            print(f"{name}: encoder and decoder layers {depth}: {size / 2**20:.0f} MiB", flush=True)
    composed = {}
    for name, (base, encoder, decoder) in kept.items():
        composed[name] = base + (whole[0] - 2) * (encoder - base) / 2 + (whole[1] - 2) * (decoder - base) / 2
        print(
            f"{name}: composed to {whole[0]} and {whole[1]} layers {composed[name] / 2**20:.0f} MiB for {audio_s:.0f} s of audio"
        )
    print(f"plain transformers keeps {composed['plain'] / composed['ours']:.2f} times as much as ours")


def weigh(bench: Bench) -> tuple[dict[str, int], float]:
    """Bytes that each way keeps of the microbatch with the longest clip, and its seconds of audio."""
    longest = int(np.argmax([one.duration_s for one in bench.utterances]))
    [rows] = [rows for rows in bench.random if longest in rows]
    sizes = {}
    for name, way in (("ours", our_way(bench)), ("plain", plain_way(bench))):
        batch, _, _ = way.prepare(rows)
        sizes[name] = saved_bytes(partial(way.loss, batch), bench.model)[1]
    return sizes, sum(bench.utterances[i].duration_s or 0.0 for i in rows)


def take_turns(
    ways: dict[str, Callable[[bool], StepResult]], num_repeats: int, *, weigh: bool
) -> dict[str, list[StepResult]]:
    """Steps of each way, one after the other in turns; the first of each may weigh memory and is not timed."""
    results: dict[str, list[StepResult]] = {name: [] for name in ways}
    for repeat in range(num_repeats + 1):
        for name, step in ways.items():
            results[name].append(step(weigh and repeat == 0))
            gc.collect()
            print(f"{name}: {json.dumps(vars(results[name][-1]))}", file=sys.stderr, flush=True)
    return results


def show(results: dict[str, list[StepResult]], bench: Bench) -> None:
    """A line a way: medians, and ratios to the first way, which is ours unless it was left out."""
    audio_s = sum(one.duration_s or 0.0 for one in bench.utterances)
    longest_s = max(one.duration_s or 0.0 for one in bench.utterances)
    print(f"{len(bench.utterances)} clips, {audio_s:.0f} s of audio, the longest {longest_s:.1f} s")
    reference, base = next(iter(results.items()))
    is_cuda = bench.device.type == "cuda"

    def timed(result: StepResult) -> float:
        return result.seconds - (result.input_s if is_cuda else 0.0)

    reference_s = statistics.median(map(timed, base[1:]))
    for name, (first, *others) in results.items():
        seconds = sorted(map(timed, others))
        median = statistics.median(seconds)
        # AdamW has its two means only after the first step.
        held = [max(one.peak_bytes or one.saved_bytes for one in way) for way in ([first, *others], base)]
        print(
            f"{name:20}{median:8.3f} s ({seconds[0]:.3f} to {seconds[-1]:.3f}; input {first.input_s:.2f}) "
            f"{audio_s / median:7.1f} audio-s/s {median / reference_s:5.2f} x {reference} {held[0] / 2**20:7.0f} MiB "
            f"{held[0] / max(1, held[1]):5.2f} x {reference}  padded {100 * first.padded_fraction:4.1f} %  loss "
            f"{first.loss_nats:.6f} over {first.num_targets} tokens"
        )


def show_utilisation(bench: Bench, results: list[StepResult]) -> None:
    """Operations that the data need over the time of our step, and as a share of the measured bf16 matrix rate. Needs a GPU."""
    count = bench.model.flop_counter()
    batches = [bench.prepared["ours", number][0] for number in range(len(bench.ours))]
    seconds = statistics.median(one.seconds - one.input_s for one in results[1:])
    rate = sum(map(count, batches)) / seconds
    size = 8192
    left, right = (torch.randn(size, size, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    for is_timed in (False, True):
        began_s = bench.clock()
        for _ in range(50):
            left @ right
        if is_timed:
            best = 50 * 2 * size**3 / (bench.clock() - began_s)
            print(f"{rate / 1e12:.0f} TFLOP/s, {100 * rate / best:.1f} % of a matrix product's {best / 1e12:.0f}")
    print(f"{len(batches)} microbatches; graphs compiled: {num_compilations()}; {torch.cuda.get_device_name()}")


if __name__ == "__main__":
    main()
