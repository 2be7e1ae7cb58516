"""Owns cross entropy with a pull towards the model before training, on rows of chosen sources: general speech keeps its answers.

Input: a batch that says the source of each row. Output: both losses, summed. After Yu et al. 2013, "KL-divergence regularized
deep neural network adaptation for improved large vocabulary speech recognition", who pull on all rows.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import nn

from qasr_train.batch import IGNORED, Batch
from qasr_train.config.patterns import matches_any
from qasr_train.models.base import AudioEncoder, TargetStates, Trainable
from qasr_train.models.lora_files import has_only_adapters
from qasr_train.objectives.base import LossSum
from qasr_train.objectives.chunked_head import sum_over_chunks
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.objectives.settings import KLToBaseConfig


def build(config: KLToBaseConfig, model: Trainable) -> "KLToBase":
    """What the settings say, holding to the model as it is now: before its first step, with everything trained on it."""
    return KLToBase(
        cross_entropy=CrossEntropy(label_smoothing=config.label_smoothing, chunk_rows=config.chunk_rows),
        kl_weight=config.kl_weight,
        kl_sources=config.kl_sources,
        base=keep_base(model),
    )


class KLToBase:
    """Sum over supervised tokens of cross entropy and, on chosen rows, `kl_weight` times KL(base || model); in nats.

    base: what the rows are held to, see `keep_base`.
    """

    def __init__(
        self, *, cross_entropy: CrossEntropy, kl_weight: float, kl_sources: Sequence[str], base: "Base"
    ) -> None:
        self.cross_entropy, self.kl_weight, self.kl_sources, self.base = (
            cross_entropy,
            kl_weight,
            list(kl_sources),
            base,
        )

    def __call__(self, model: Callable[..., Any], batch: Batch) -> LossSum:
        """model: a `Trainable`, possibly wrapped for several processes; batch: a training batch on its device."""
        rows = [row for row, source in enumerate(batch.sources) if self._is_held(source)]
        return model(batch, partial(self.reduce, batch=batch, rows=rows))

    def reduce(self, states: TargetStates, *, batch: Batch, rows: Sequence[int]) -> LossSum:
        """The loss from the states before the head. rows: of the batch, those held to the base, ascending."""
        held = self.base.hold(batch, rows)

        def loss_of_logits(logits: torch.Tensor, some: slice) -> tuple[torch.Tensor, torch.Tensor]:
            loss_nats, num_correct = self.cross_entropy.of_logits(logits, states.targets[some])
            kl_nats = held.kl_nats(logits, some, len(states.targets))
            return loss_nats + self.kl_weight * kl_nats, torch.stack([num_correct.float(), kl_nats.detach()])

        loss_nats, sums = sum_over_chunks(states, loss_of_logits, chunk_rows=self.cross_entropy.chunk_rows)
        metrics = {"num_correct": sums[0], "kl_nats": sums[1]}
        return LossSum(total=loss_nats, num_targets=len(states.targets), metrics=metrics)

    def _is_held(self, source: str) -> bool:
        return matches_any("objective.kl_sources", self.kl_sources, source)


@dataclass(frozen=True)
class Base:
    """A model as it was before training, for asking what it makes of some rows. model: a `Trainable`, live where LoRA alone is
    trained on it."""

    model: Trainable

    def hold(self, batch: Batch, rows: Sequence[int]) -> "HeldRows":
        """Some rows of a batch, ascending, with what the base makes of them; called inside the forward pass."""
        return HeldRows(target_places(batch.host or batch, rows), self._ask(batch, rows) if rows else None)

    @torch.no_grad()
    def _ask(self, batch: Batch, rows: Sequence[int]) -> TargetStates:
        """What the base makes of the targets of some rows; autocast is on."""
        some = batch
        if len(rows) < len(batch.ids):
            some = batch.select(rows, num_encoded=_num_encoded(self.model, batch))
        with _without_adapters(self.model.module):
            return self.model(some, _as_they_are)


def keep_base(model: Trainable) -> Base:
    """What the model says now; everything that will be trained must be on it.

    It shares the weights of a model on which LoRA alone is trained: its answer is that without the adapters. Where whole weights
    are trained it is a frozen copy, 4 bytes a parameter.
    """
    return Base(model if has_only_adapters(model.module) else _frozen_copy(model))


@dataclass(frozen=True)
class HeldRows:
    """Rows of a batch that are held to the base.

    places: int64 [n]; where their targets stand among the L of the batch, on the host. base: what it makes of them; None: there
    are no such rows.
    """

    places: torch.Tensor
    base: TargetStates | None

    def kl_nats(self, logits: torch.Tensor, some: slice, num_targets: int) -> torch.Tensor:
        """KL(base || model) summed over those of the targets `some`, of which float32 [n, V] logits are given."""
        begin, end, _ = some.indices(num_targets)
        first, last = torch.searchsorted(self.places, torch.tensor([begin, end])).tolist()
        if self.base is None or last <= first:
            return logits.new_zeros(())
        here = (self.places[first:last] - begin).to(logits.device, non_blocking=True)
        with torch.no_grad():
            base_logits = self.base.head(self.base.hidden[first:last]).float()
        return kl_divergence(base_logits, logits.index_select(0, here))


def kl_divergence(base_logits: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """KL(base || model) in nats, summed over rows; both float32 [n, V], n of the L targets."""
    return F.kl_div(logits.log_softmax(-1), base_logits.log_softmax(-1), reduction="sum", log_target=True)


def target_places(batch: Batch, rows: Sequence[int]) -> torch.Tensor:
    """int64 [n]: where the targets of some rows stand among those of all rows; the batch is on the host."""
    if batch.labels is None or not rows:
        return torch.empty(0, dtype=torch.int64)
    counts = (batch.labels != IGNORED).sum(1)
    ends = counts.cumsum(0)
    return torch.cat([torch.arange(int(ends[row] - counts[row]), int(ends[row])) for row in rows])


def _num_encoded(model: Trainable, batch: Batch) -> list[int] | None:
    """Positions of each row that a cache stands for; None where none does."""
    if batch.encoded is None:
        return None
    assert isinstance(model, AudioEncoder), "what is encoded in a batch was made by its family"
    return model.num_encoded(batch.host or batch)


def _as_they_are(states: TargetStates) -> TargetStates:
    return states


def _frozen_copy(model: Trainable) -> Trainable:
    base = copy.deepcopy(model)
    cast(nn.Module, base.module).requires_grad_(False).eval()
    return base


@contextmanager
def _without_adapters(module: Any) -> Iterator[None]:
    """The model before training, for a while: adapters off, and dropout too."""
    was_training = module.training
    module.eval()
    try:
        with module.disable_adapter() if isinstance(module, PeftModel) else nullcontext():
            yield
    finally:
        module.train(was_training)
