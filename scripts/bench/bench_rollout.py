"""What learning from hypotheses costs: drawing them, against a `generate` call a clip, and a step against one of cross entropy.

    python scripts/bench/bench_rollout.py --manifest ../shared/speech/manifest.jsonl [--model DIR] [--clips 32] [--rows 8]
        [--hypotheses 4] [--repeats 3] [--device cuda] [--frozen]

Drawn: batches of --rows clips by `Sampler.draw`, the greedy hypothesis and the others sampled, or a beam's; against transformers'
`generate(do_sample=True, num_return_sequences=N)` of each clip by itself, on the same prompts and features, with the same limits.
Timed is features -> tokens; the ways take turns, medians are printed, in seconds of the core that the process had (with --device
cuda of the wall). A step: whole weights, the same clips, each objective in a process of its own so that its peak of memory is its
own; the first step is left out of the times. --frozen: the decoder alone is trained, so that a step hears its clips once;
`mwer_twice` is the same step if it heard them for each of its two passes.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.batch import Batch, Reference
from qasr_train.data.workers import load_recording
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.blocks.beam import Beam
from qasr_train.models.blocks.greedy import token_limit
from qasr_train.models.blocks.sampling import Said, Samples, rows_of, with_rows
from qasr_train.models.families import load_trainable
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.settings import AdaptConfig
from qasr_train.objectives.rollout_settings import GSPOConfig, MWERConfig
from qasr_train.objectives.settings import CrossEntropyConfig
from qasr_train.objectives.table import build_objective
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances
from qasr_train.training.learner import Learner
from qasr_train.training.settings import OptimConfig, TrainerConfig
from qasr_train.training.step import build_step

OBJECTIVES: dict[str, Callable[[int], Any]] = {
    "cross_entropy": lambda number: CrossEntropyConfig(),
    "mwer": lambda number: MWERConfig(num_hypotheses=number),
    "gspo": lambda number: GSPOConfig(num_hypotheses=number),
}
TWICE = "mwer_twice"  # with --frozen


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--model", default="bundled:tiny-2", help="directory or hub id of a Qwen3-ASR")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--rows", type=int, default=8, help="clips of a batch")
    parser.add_argument("--hypotheses", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frozen", action="store_true", help="train the decoder alone")
    parser.add_argument("--step", choices=[*OBJECTIVES, TWICE], help=argparse.SUPPRESS)
    given = parser.parse_args()
    model = load_trainable(Qwen3ASRConfig(path=given.model), device=given.device)
    assert isinstance(model, Qwen3ASR)
    batches = load_batches(model, given.manifest, given.clips, given.rows)
    if given.step is not None:
        print(json.dumps(time_steps(model, batches, given)))
        return
    compare_drawing(model, batches, given)
    compare_steps(given)


def load_batches(model: Qwen3ASR, manifest: str, num_clips: int, rows: int) -> list[Batch]:
    """Training batches of clips spread over the manifest, of similar lengths together."""
    utterances = [one for one in load_utterances(SourceConfig(path=manifest), "bench") if one.text]
    chosen = utterances[:: max(1, len(utterances) // num_clips)][:num_clips]
    recordings = sorted((load_recording(one) for one in chosen), key=lambda one: one.num_samples)
    batches = []
    for begin in range(0, len(recordings), rows):
        some = recordings[begin : begin + rows]
        references = [Reference(one.utterance.text or "", one.utterance.language) for one in some]
        batches.append(replace(model.collator.for_training(some), references=references))
    return batches


def clock_of(device: str) -> Callable[[], float]:
    """Seconds of this process's core, or of the wall once a GPU is done."""

    def wall_s() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return wall_s if device.startswith("cuda") else time.process_time


def compare_drawing(model: Qwen3ASR, batches: Sequence[Batch], given: argparse.Namespace) -> None:
    """Hypotheses a second, ours and by `generate`."""
    clock, ways = clock_of(given.device), {"draw": draw_batch, "generate a clip": generate_clips, "beam": search_batch}
    found: dict[str, list[float]] = {name: [] for name in ways}
    lengths: dict[str, list[int]] = {name: [] for name in ways}
    model.module.eval()
    for repeat in range(given.repeats + 1):
        for name, way in ways.items():
            began = clock()
            tokens = [number for batch in batches for number in way(model, batch, given)]
            if repeat:  # the first is a warm-up
                found[name].append(clock() - began)
                lengths[name] += tokens
    num = given.hypotheses * sum(map(len, batches))
    for name, seconds in found.items():
        median_s = statistics.median(seconds)
        print(
            f"{name:16} {num / median_s:8.1f} hypotheses/s  {median_s:7.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  "
            f"{statistics.fmean(lengths[name]):.1f} tokens each"
        )
    medians = [statistics.median(found[name]) for name in ways]
    print(f"draw is {medians[1] / medians[0]:.1f} times as fast")


def draw_batch(model: Qwen3ASR, batch: Batch, given: argparse.Namespace) -> list[int]:
    """Tokens of each hypothesis, all clips together."""
    limits = [token_limit(duration_s) for duration_s in batch.duration_s.tolist()]
    uniforms = torch.rand(len(batch), given.hypotheses - 1, max(limits), dtype=torch.float64)
    drawn = model.draw(batch, Samples(uniforms.to(given.device), 1.0), limits=limits)
    return [len(draw.ids) for one in drawn for draw in one.draws]


def search_batch(model: Qwen3ASR, batch: Batch, given: argparse.Namespace) -> list[int]:
    """Tokens of each hypothesis of a beam."""
    limits = [token_limit(duration_s) for duration_s in batch.duration_s.tolist()]
    drawn = model.draw(batch, Beam(given.hypotheses), limits=limits)
    return [len(draw.ids) for one in drawn for draw in one.draws]


@torch.inference_mode()
def generate_clips(model: Qwen3ASR, batch: Batch, given: argparse.Namespace) -> list[int]:
    """The same by a call of transformers' `generate` for each clip."""
    numbers = []
    ends = [model.collator.end_id, model.collator.pad_id]
    for clip, row in enumerate(rows_of(batch)):
        frames = batch.input_features_mask[clip].sum()
        width = -(-int(frames) // model.collator.sound.chunk_frames) * model.collator.sound.chunk_frames
        asked = with_rows(batch, [Said(clip, row.prompt)], pad_id=model.pad_id).to(given.device)
        core: Any = model.core
        ids = core.generate(
            input_ids=asked.input_ids,
            attention_mask=asked.attention_mask,
            input_features=batch.input_features[clip : clip + 1, :, :width].to(given.device, core.dtype),
            input_features_mask=batch.input_features_mask[clip : clip + 1, :width].to(given.device),
            max_new_tokens=token_limit(float(batch.duration_s[clip])),
            do_sample=True,
            top_k=0,
            temperature=1.0,
            num_return_sequences=given.hypotheses,
            eos_token_id=ends,
            pad_token_id=model.pad_id,
        )[:, asked.input_ids.shape[1] :]
        numbers += [next((i + 1 for i, token in enumerate(said) if token in ends), len(said)) for said in ids.tolist()]
    return numbers


def compare_steps(given: argparse.Namespace) -> None:
    """Seconds and memory of a step by each objective, in processes of their own."""
    passed = ["manifest", "model", "clips", "rows", "hypotheses", "repeats", "device"]
    arguments = [part for name in passed for part in (f"--{name}", str(getattr(given, name)))]
    frozen = ["--frozen"] if given.frozen else []
    for name in [*OBJECTIVES, *([TWICE] if frozen else [])]:
        command = [sys.executable, __file__, *arguments, *frozen, "--step", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{name:16} {row['step_s']:6.2f} s a step of {given.rows} clips, {row['rollout_fraction']:.0%} of it drawing and "
            f"judging; {row['taught_nothing']:.0%} of the clips teach nothing; peak {row['peak_gib']:.2f} GiB, "
            f"{row['held_gib']:.2f} before"
        )


def time_steps(model: Qwen3ASR, batches: Sequence[Batch], given: argparse.Namespace) -> dict[str, float]:
    """A step on each batch, at a learning rate that moves nothing, so that all see the same model."""
    accelerator = Accelerator(cpu=given.device == "cpu")
    model.module = apply_adaptation(
        model.module, AdaptConfig(trainable=["decoder.*"] if given.frozen else ["*"]), model.parts
    )
    config = OBJECTIVES[given.step.removesuffix("_twice")](given.hypotheses)
    learner = Learner(accelerator, model, build_objective(config, model)).drawing(config, seed=0, max_new_tokens=None)
    if given.step == TWICE:
        assert learner.rollouts is not None
        learner = replace(learner, rollouts=replace(learner.rollouts, shares_encoding=False))
    step = build_step(TrainerConfig(max_steps=1000), OptimConfig(lr=1e-12), learner, num_steps=1000)
    clock = clock_of(given.device)
    is_cuda, held = given.device.startswith("cuda"), peak_gib()
    seconds, rollouts, taught = [], [], [0.0, 0.0]
    for number, batch in enumerate(batches):
        began, wall = clock(), time.perf_counter()
        result = step([batch], number)
        if number:
            seconds.append(clock() - began)
            rollouts.append((result.rollout_s or 0.0) / (time.perf_counter() - wall))
        taught = [a + b for a, b in zip(taught, result.pooled.get("taught_nothing_fraction", (0.0, 0.0)), strict=True)]
    return {
        "step_s": statistics.median(seconds),
        "rollout_fraction": statistics.median(rollouts),
        "taught_nothing": taught[0] / max(1.0, taught[1]),
        "held_gib": held,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if is_cuda else peak_gib(),
    }


def peak_gib() -> float:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
