"""Owns the token cross entropy: a SUM over supervised tokens and their COUNT; only the trainer divides."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from qasr_train.batch import Batch
from qasr_train.models.base import Capability, TargetStates
from qasr_train.objectives.base import LossSum
from qasr_train.objectives.chunked_head import sum_over_chunks
from qasr_train.settings import check_settings, setting


@dataclass
class CrossEntropyConfig:
    """Next-token cross entropy on the target."""

    name: str = setting("cross_entropy", help="name; the objective, see `qasr_train/objectives/__init__.py`")
    label_smoothing: float = setting(0.0, ge=0, lt=1, help="share of probability spread over the vocabulary; 0: off")

    chunk_rows: int | None = setting(
        256, ge=1, help="tokens whose logits are held at a time, gradient included. null: all of them at once"
    )

    def __post_init__(self) -> None:
        check_settings(self, "objective")


class CrossEntropy:
    """Sum of the cross entropy, in nats, over the supervised tokens of a batch."""

    needs = frozenset({Capability.TOKEN_LOSS})

    def __init__(self, *, label_smoothing: float = 0.0, chunk_rows: int | None = 256) -> None:
        self.label_smoothing = label_smoothing
        self.chunk_rows = chunk_rows

    def __call__(self, model: Callable[..., Any], batch: Batch) -> LossSum:
        """model: an `ASRModel`, possibly wrapped for several processes; batch: a training batch on its device."""
        return model(batch, self.reduce)

    def reduce(self, states: TargetStates) -> LossSum:
        """The loss from the states before the head."""

        def loss_of_logits(logits: torch.Tensor, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
            return self.of_logits(logits, states.targets[rows])

        loss_nats, num_correct = sum_over_chunks(states, loss_of_logits, chunk_rows=self.chunk_rows)
        return LossSum(total=loss_nats, num_targets=len(states.targets), metrics={"num_correct": num_correct})

    def of_logits(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(summed loss in nats, how many targets are the likeliest token), of float32 [n, V] logits and int64 [n] targets."""
        loss_nats = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=self.label_smoothing)
        return loss_nats, (logits.detach().argmax(dim=-1) == targets).sum()
