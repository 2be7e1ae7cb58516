"""Owns the token cross entropy: a SUM over supervised tokens and their COUNT; only the trainer divides."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from qasr_train.batch import Batch
from qasr_train.models.base import TargetStates, Trainable
from qasr_train.objectives.base import LossSum
from qasr_train.objectives.chunked_head import sum_over_chunks
from qasr_train.objectives.settings import CrossEntropyConfig


def build(config: CrossEntropyConfig, model: Trainable) -> "CrossEntropy":
    """What the settings say; nothing of the model is needed."""
    return CrossEntropy(label_smoothing=config.label_smoothing, chunk_rows=config.chunk_rows)


class CrossEntropy:
    """Sum of the cross entropy, in nats, over the supervised tokens of a batch."""

    def __init__(self, *, label_smoothing: float = 0.0, chunk_rows: int | None = 256) -> None:
        self.label_smoothing = label_smoothing
        self.chunk_rows = chunk_rows

    def __call__(self, model: Callable[..., Any], batch: Batch) -> LossSum:
        """model: a `Trainable`, possibly wrapped for several processes; batch: a training batch on its device."""
        return model(batch, self.reduce)

    def reduce(self, states: TargetStates) -> LossSum:
        """The loss from the states before the head."""

        def loss_of_logits(logits: torch.Tensor, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
            return self.of_logits(logits, states.targets[rows])

        loss_nats, num_correct = sum_over_chunks(states, loss_of_logits, chunk_rows=self.chunk_rows)
        return LossSum(total=loss_nats, num_targets=len(states.targets), metrics={"num_correct": num_correct})

    def of_logits(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(summed loss in nats, how many targets are the likeliest token), of float32 [n, V] logits and int64 [n] targets."""
        loss_nats, num_correct = _SummedCrossEntropy.apply(logits, targets, self.label_smoothing)
        return loss_nats, num_correct


class _SummedCrossEntropy(torch.autograd.Function):
    """torch's cross entropy, summed, and the number of targets that are the likeliest token.

    The probabilities become the gradient in place, where torch's own keeps logarithms of them and makes two more tensors as
    large (docs/benchmarks.md, A training step). Differentiable once.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        best, at = logits.argmax(-1, keepdim=True), targets[:, None]
        probabilities = logits.softmax(-1)
        # The logarithm of the sum of exponentials; the likeliest token is at least 1 / V, so nothing underflows.
        log_sums = logits.gather(-1, best) - probabilities.gather(-1, best).log()
        expected = logits.gather(-1, at)
        if label_smoothing:
            expected = (1 - label_smoothing) * expected + label_smoothing * logits.mean(-1, keepdim=True)
        ctx.save_for_backward(probabilities, at)
        ctx.label_smoothing = label_smoothing
        num_correct = (best == at).sum()
        ctx.mark_non_differentiable(num_correct)
        return (log_sums - expected).sum(), num_correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: torch.Tensor, _: Any) -> tuple[torch.Tensor, None, None]:
        gradient, at = ctx.saved_tensors  # changed in place: torch refuses a second backward pass
        gradient.scatter_add_(-1, at, torch.full_like(at, ctx.label_smoothing - 1, dtype=gradient.dtype))
        if ctx.label_smoothing:
            gradient -= ctx.label_smoothing / gradient.shape[-1]
        return gradient.mul_(grad_loss), None, None
