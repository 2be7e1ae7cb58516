"""The convolutions in front of the encoder, forward and backward: ours, and with torch's own first convolution.

    python scripts/bench/bench_convolutions.py [--chunks 64] [--repeats 5] [--device cuda]

Widths of the 0.6B, seconds ("chunks") of noise. Ways take turns; medians are printed, in milliseconds of the core that the
process had; on a GPU of the wall, in bf16 autocast.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.models.qwen3_asr.encoder import CHUNKS_AT_ONCE, convolve_patches
from scripts.bench.random_model import random_model
from scripts.bench.train_step import Clock

WAYS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "patches (ours)": convolve_patches,
    "torch's own": lambda convolution, chunks: convolution(chunks[:, None]),
    "torch's own, then channels last": lambda convolution, chunks: convolution(chunks[:, None]).contiguous(
        memory_format=torch.channels_last
    ),
}


def main() -> None:
    """Parse the command line, measure, print a line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5, help="after one that is not timed")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    torch.set_num_threads(1)
    model = random_model("0.6b", encoder_layers=1, decoder_layers=1, vocabulary=2000, device=arguments.device)
    chunks = torch.randn(arguments.chunks, 128, 100, device=arguments.device)
    clock = Clock(chunks.device, is_wall=chunks.is_cuda)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(arguments.repeats + 1):
        for name, way in WAYS.items():
            began_s = clock()
            step(model.core.model.audio_tower, chunks, partial(way, model.core.model.audio_tower.conv2d1))
            seconds[name].append(clock() - began_s)
    for name, (_, *timed) in seconds.items():
        print(
            f"{name:34}{1000 * statistics.median(timed):9.1f} ms ({1000 * min(timed):.1f} to {1000 * max(timed):.1f})"
        )


def step(tower: Any, chunks: torch.Tensor, first: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Forward and backward."""
    with torch.autocast(chunks.device.type, torch.bfloat16, enabled=chunks.is_cuda):
        parts = []
        for some in chunks.split(CHUNKS_AT_ONCE[chunks.device.type]):
            hidden = F.gelu(first(some))
            for convolution in (tower.conv2d2, tower.conv2d3):
                hidden = F.gelu(convolution(hidden))
            parts.append(tower.conv_out(hidden.permute(0, 3, 1, 2).flatten(2)))
    torch.cat(parts).float().square().sum().backward()
    for parameter in tower.parameters():
        parameter.grad = None


if __name__ == "__main__":
    main()
