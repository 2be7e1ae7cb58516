"""Owns what an objective returns and is: `(model, batch) -> LossSum`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from qasr_train.batch import Batch


@dataclass(frozen=True, slots=True)
class LossSum:
    """total: scalar tensor, the loss summed over `num_targets` things (`Batch.num_targets`); metrics: sums, divided alike.

    The same metrics for every batch: `num_correct`, the tokens that are the likeliest, becomes train/token_accuracy, any other
    is written down as train/NAME, per target. They may be scalar tensors on the device, so that nothing waits for them before
    the backward pass is under way.
    log_probs: float32 [L]; of hypotheses, every token's, where another update on them will be compared with this one; else None.
    """

    total: torch.Tensor
    num_targets: int
    metrics: Mapping[str, float | torch.Tensor] = field(default_factory=dict)
    log_probs: torch.Tensor | None = None


class Objective(Protocol):
    """A loss; `objectives/table.py` says what it needs of a model."""

    def __call__(self, model: Callable[..., Any], batch: Batch) -> LossSum:
        """The loss of one microbatch, as a sum and a count; model: a `Trainable`, possibly wrapped for several processes."""
