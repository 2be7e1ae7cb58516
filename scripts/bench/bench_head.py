"""Time and memory of the head with its loss, forward and backward, on a GPU: chunked, and over all logits at once.

    python scripts/bench/bench_head.py [--targets 4096] [--repeats 10]

In bf16 over a float32 matrix of 151,936 rows, as in training of whole weights, for the widths of the 0.6B and the 1.7B.
Memory is what stands beside states, matrix and the gradients of both. The losses are printed too; ways take turns.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.models.base import TargetStates
from qasr_train.objectives.cross_entropy import CrossEntropy
from scripts.bench.random_model import SHAPES, VOCABULARY


def main() -> None:
    """Measure and print a line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("torch sees no GPU, and memory is measured on a GPU alone")
    for name, shape in SHAPES.items():
        measure(name, shape.decoder_width, arguments)


def measure(name: str, width: int, arguments: argparse.Namespace) -> None:
    """Steps of all ways in turns, the first of each not timed; a line a way."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        head = nn.Linear(width, VOCABULARY, bias=False)
        hidden = torch.randn(arguments.targets, width, requires_grad=True)
        targets = torch.randint(VOCABULARY, (arguments.targets,))
    found: dict[int | None, list[tuple[float, int, float]]] = {chunk: [] for chunk in (128, 192, 256, 512, None)}
    for _ in range(arguments.repeats + 1):
        for chunk, steps in found.items():
            steps.append(step(head, hidden, targets, chunk))
    for chunk, (_, *steps) in found.items():
        way = f"{chunk} targets at a time" if chunk else "all at once"
        median_ms = 1000 * statistics.median(took_s for took_s, _, _ in steps)
        _, peak, loss = steps[-1]
        print(
            f"{name} {arguments.targets} targets, {way}: {median_ms:.2f} ms, {peak / 1e9:.3f} GB, {loss:.6f}",
            flush=True,
        )


def step(head: nn.Linear, hidden: torch.Tensor, targets: torch.Tensor, chunk: int | None) -> tuple[float, int, float]:
    """(seconds, bytes at the most beside inputs and their gradients, loss a target) of one forward and backward pass."""
    states = TargetStates(hidden, head, targets=targets, row=torch.zeros_like(targets))
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    began_s = time.perf_counter()
    with torch.autocast("cuda", torch.bfloat16):
        loss = CrossEntropy(chunk_rows=chunk).reduce(states).total
    (loss / len(targets)).backward()
    torch.cuda.synchronize()
    took_s = time.perf_counter() - began_s
    gradients = sum(one.nbytes for one in (head.weight, hidden))
    peak = torch.cuda.max_memory_allocated() - before - gradients
    head.weight.grad = hidden.grad = None
    return took_s, peak, float(loss.detach()) / len(targets)


if __name__ == "__main__":
    main()
