"""Owns what an objective returns and is: `(model, batch) -> LossSum`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

from qasr_train.batch import Batch
from qasr_train.models.base import Capability, TokenLogits


@dataclass(frozen=True, slots=True)
class LossSum:
    """total: scalar tensor, the loss summed over `num_targets` things; metrics: sums, added up and divided alike."""

    total: torch.Tensor
    num_targets: int
    metrics: Mapping[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """A loss. `needs`: the capabilities a family must have, checked when the config is loaded."""

    needs: frozenset[Capability]

    def __call__(self, model: Callable[[Batch], TokenLogits], batch: Batch) -> LossSum:
        """The loss of one microbatch, as a sum and a count."""
