"""Owns the token cross entropy: a SUM over supervised tokens and their COUNT; only the trainer divides."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F

from qasr_train.batch import Batch
from qasr_train.models.base import Capability, TokenLogits
from qasr_train.objectives.base import LossSum
from qasr_train.settings import check_settings, setting


@dataclass
class CrossEntropyConfig:
    """Next-token cross entropy on the target."""

    name: str = setting("cross_entropy", help="name; the objective, see `qasr_train/objectives/__init__.py`")
    label_smoothing: float = setting(0.0, ge=0, lt=1, help="share of probability spread over the vocabulary; 0: off")

    def __post_init__(self) -> None:
        check_settings(self, "objective")


class CrossEntropy:
    """Sum of the cross entropy, in nats, over the supervised tokens of a batch."""

    needs = frozenset({Capability.TOKEN_LOSS})

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, model: Callable[[Batch], TokenLogits], batch: Batch) -> LossSum:
        """model: a family's model, possibly wrapped for several processes; batch: a training batch on its device."""
        out = model(batch)
        loss_nats = F.cross_entropy(
            out.logits.float(), out.targets, reduction="sum", label_smoothing=self.label_smoothing
        )
        num_correct = int((out.logits.detach().argmax(dim=-1) == out.targets).sum())
        return LossSum(total=loss_nats, num_targets=len(out.targets), metrics={"num_correct": num_correct})
