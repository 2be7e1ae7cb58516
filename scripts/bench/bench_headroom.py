"""Whether hypotheses of a model hold anything to learn from: the error rate of the best of them against the greedy one.

    python scripts/bench/bench_headroom.py --model runs/medical/checkpoints/best --manifest manifest.jsonl
        [--splits train test] [--clips 100] [--rows 10] [--device cuda]

For each split and way of finding hypotheses: error rate of the greedy (of a beam: its likeliest), of all on average and of the
best of each clip, pooled over clips; the share of clips whose hypotheses all have as many errors, from which MWER and GSPO learn
nothing; how many of a clip's are distinct. Where the best is no better than the greedy one on the clips that train, there is
nothing for them to pick. Clips are spread evenly over the split. Nothing is trained.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.batch import Batch, Reference
from qasr_train.data.workers import load_recording
from qasr_train.models.base import DrawnClip, Sampler
from qasr_train.models.blocks.beam import Beam
from qasr_train.models.blocks.greedy import token_limit
from qasr_train.models.blocks.sampling import Drawing, Samples
from qasr_train.models.families import load_trainable
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.judge import Judge
from qasr_train.rewards.settings import RewardRules
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances

WAYS = {
    "4 samples": (4, 1.0),
    "8 samples": (8, 1.0),
    "8 samples, T 1.5": (8, 1.5),
    "beam of 4": (4, None),
    "beam of 8": (8, None),
}


def main() -> None:
    """Draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory or hub id of a Qwen3-ASR")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--splits", nargs="+", default=["train"])
    parser.add_argument("--clips", type=int, default=100, help="of each split")
    parser.add_argument("--rows", type=int, default=10, help="clips of a batch")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    model = load_trainable(Qwen3ASRConfig(path=given.model), device=given.device)
    assert isinstance(model, Sampler)
    print("| split | hypotheses | greedy, WER % | mean | best | clips that teach nothing, % | distinct |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for split in given.splits:
        batches = load_batches(model, given, split)
        for name in WAYS:
            print(row(model, batches, split, name, given.device), flush=True)


def load_batches(model: Sampler, given: argparse.Namespace, split: str) -> list[Batch]:
    """Training batches of clips spread over a split."""
    utterances = [one for one in load_utterances(SourceConfig(path=given.manifest, split=split), "bench") if one.text]
    chosen = utterances[:: max(1, len(utterances) // given.clips)][: given.clips]
    batches = []
    for begin in range(0, len(chosen), given.rows):
        some = chosen[begin : begin + given.rows]
        references = [Reference(one.text or "", one.language) for one in some]
        batch = model.collator.for_training([load_recording(one) for one in some])
        batches.append(replace(batch, references=references))
    return batches


def row(model: Sampler, batches: Sequence[Batch], split: str, name: str, device: str) -> str:
    """One row of the table."""
    judge = Judge(RewardRules())
    generator = torch.Generator().manual_seed(0)
    greedy = best = mean = words = 0.0
    alike, distinct, num_clips = 0, 0.0, 0
    for batch in batches:
        limits = [token_limit(duration_s) for duration_s in batch.duration_s.tolist()]
        for reference, one in zip(
            batch.references, model.draw(batch, way(name, batch, limits, generator, device), limits=limits), strict=True
        ):
            errors, length = errors_of(judge, reference, one)
            greedy, best, mean, words = (
                greedy + errors[0],
                best + min(errors),
                mean + sum(errors) / len(errors),
                words + length,
            )
            alike, num_clips = alike + (len(set(errors)) == 1), num_clips + 1
            distinct += len({draw.ids for draw in one.draws})
    rates = [f"{100 * number / words:.2f}" for number in (greedy, mean, best)]
    return f"| {split} | {name} | {' | '.join(rates)} | {100 * alike / num_clips:.0f} | {distinct / num_clips:.1f} |"


def way(name: str, batch: Batch, limits: Sequence[int], generator: torch.Generator, device: str) -> Drawing:
    """How the hypotheses of a batch are found."""
    number, temperature = WAYS[name]
    if temperature is None:
        return Beam(number)
    uniforms = torch.rand(len(batch), number - 1, max(limits), generator=generator, dtype=torch.float64)
    return Samples(uniforms.to(device), temperature)


def errors_of(judge: Judge, reference: Reference, drawn: DrawnClip) -> tuple[list[int], int]:
    """(errors of each hypothesis, tokens of the reference)."""
    asked = Asked(reference.text, reference.language, (), 0.0)
    compared = [judge.compared(asked, Hypothesis(draw.said.text, None, 0, True)) for draw in drawn.draws]
    return [one.num_errors for one in compared], compared[0].num_expected


if __name__ == "__main__":
    main()
