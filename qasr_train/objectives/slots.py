"""Owns the loss of an aligner: cross entropy over time slots at the slots alone, and how far off the likeliest slot is.

Labels are not shifted: a slot names its own number (Qwen3-ASR technical report, arXiv 2601.18220).
"""

from collections.abc import Callable
from typing import Any

from torch.nn.functional import cross_entropy

from qasr_train.batch import Batch
from qasr_train.models.base import TargetStates, Trainable
from qasr_train.objectives.base import LossSum
from qasr_train.objectives.settings import SlotsConfig


def build(config: SlotsConfig, model: Trainable) -> "Slots":
    """The loss; which words have slots is drawn with the batches."""
    return Slots()


class Slots:
    """Sum of the cross entropy, in nats, over the slots of a batch whose times are known."""

    def __call__(self, model: Callable[..., Any], batch: Batch) -> LossSum:
        """model: an aligner, possibly wrapped for several processes; batch: a training batch on its device."""
        return model(batch, self.reduce)

    def reduce(self, states: TargetStates) -> LossSum:
        """The loss from the states at the slots.

        Metrics: slots_off, distances of the likeliest slot from the right one; far_fraction, where that is more than one.
        """
        logits = states.head(states.hidden).float()
        off = (logits.detach().argmax(-1) - states.targets).abs()
        return LossSum(
            total=cross_entropy(logits, states.targets, reduction="sum"),
            num_targets=len(states.targets),
            metrics={"num_correct": (off == 0).sum(), "slots_off": off.sum(), "far_fraction": (off > 1).sum()},
        )
