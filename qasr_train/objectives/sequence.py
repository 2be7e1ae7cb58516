"""Owns how a loss over whole hypotheses reaches the model: log-probabilities of their tokens, the loss, its slope at each token.

Input: a batch of hypotheses and transcripts (`Batch.rollout`). Output: a `LossSum` whose gradient is the loss's. The head is
passed twice: once for the log-probabilities, of which the loss is no sum, and once for the gradient, as the sum of each token's
log-probability times its slope; so no more logits are held than those of `chunk_rows` tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from qasr_train.batch import Batch, Rollout
from qasr_train.config.patterns import matches_any
from qasr_train.models.base import TargetStates, Trainable
from qasr_train.objectives.base import LossSum
from qasr_train.objectives.chunked_head import sum_over_chunks
from qasr_train.objectives.hypotheses import Scored
from qasr_train.objectives.kl_to_base import Base, keep_base
from qasr_train.objectives.rollout_settings import HypothesesConfig


def sequence_loss(
    config: HypothesesConfig,
    model: Trainable,
    loss_of: Callable[[Scored], torch.Tensor],
    *,
    counts_repeats: bool = False,
) -> "SequenceLoss":
    """The objective by the settings that all of its kind have; see `SequenceLoss`."""
    return SequenceLoss(
        loss_of,
        cross_entropy_weight=config.cross_entropy_weight,
        kl_weight=config.kl_weight,
        kl_sources=config.kl_sources,
        chunk_rows=config.chunk_rows,
        counts_repeats=counts_repeats,
        base=keep_base(model) if config.kl_weight > 0 else None,
    )


@dataclass(frozen=True)
class SequenceLoss:
    """Sum over clips of a loss of their hypotheses and, by weights, of cross entropy and KL(base || model) of their transcripts.

    loss_of: the hypotheses -> their loss, summed over clips. counts_repeats: whether one counts as often as it was drawn.
    base: the model before training; None without a pull to it.
    """

    loss_of: Callable[[Scored], torch.Tensor]
    cross_entropy_weight: float
    kl_weight: float
    kl_sources: Sequence[str]
    chunk_rows: int | None
    counts_repeats: bool
    base: Base | None

    def __call__(self, model: Callable[..., Any], batch: Batch) -> LossSum:
        """model: a `Trainable`, possibly wrapped for several processes; batch: of hypotheses, on its device."""
        return model(batch, partial(self.reduce, batch=batch))

    def reduce(self, states: TargetStates, *, batch: Batch) -> LossSum:
        """The loss from the states before the head."""
        rollout = batch.rollout
        assert rollout is not None, "this objective learns from hypotheses: training/rollout/ draws them"
        log_probs, row = token_log_probs(states, chunk_rows=self.chunk_rows).cpu(), states.row.cpu()
        reward_loss, slopes = self._slopes(log_probs.double(), row, rollout)
        is_taught = rollout.is_reference[row]
        cross_entropy = -log_probs.double()[is_taught].sum()
        slopes[is_taught] = -self.cross_entropy_weight
        value = reward_loss + self.cross_entropy_weight * cross_entropy
        held = None
        if self.base is not None:
            held = self.base.hold(
                batch, [number for number in range(len(batch)) if self._is_held(batch, rollout, number)]
            )
        on_device = slopes.to(states.hidden.device, torch.float32)

        def loss_of_logits(logits: torch.Tensor, some: slice) -> tuple[torch.Tensor, torch.Tensor]:
            losses = F.cross_entropy(logits, states.targets[some], reduction="none")
            kl_nats = logits.new_zeros(()) if held is None else held.kl_nats(logits, some, len(states.targets))
            return self.kl_weight * kl_nats - (losses * on_device[some]).sum(), kl_nats.detach()

        surrogate, kl_nats = sum_over_chunks(states, loss_of_logits, chunk_rows=self.chunk_rows)
        total = surrogate + (float(value) + self.kl_weight * kl_nats - surrogate).detach()
        metrics: dict[str, float | torch.Tensor] = {
            "hypotheses_loss": float(reward_loss),
            "reference_nats": float(cross_entropy),
            "kl_nats": kl_nats,
        }
        return LossSum(total, rollout.num_clips, metrics, log_probs)

    def _slopes(
        self, log_probs: torch.Tensor, row: torch.Tensor, rollout: Rollout
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss of the hypotheses, float64 [L], its derivative by every log-probability; 0 at those of transcripts)."""
        hypotheses = (~rollout.is_reference).nonzero()[:, 0]
        slopes = torch.zeros_like(log_probs)
        if not len(hypotheses):
            return log_probs.new_zeros(()), slopes
        place = torch.full((len(rollout.reward),), -1).index_put((hypotheses,), torch.arange(len(hypotheses)))
        tokens = (place[row] >= 0).nonzero()[:, 0]
        own = log_probs[tokens].requires_grad_()
        drawn = own.detach() if rollout.log_probs is None else rollout.log_probs.double()[tokens]
        num_drawn = rollout.num_drawn[hypotheses].double()
        scored = Scored(
            log_probs=own,
            drawn=drawn,
            row=place[row[tokens]],
            clip=rollout.clip[hypotheses],
            reward=rollout.reward[hypotheses],
            weight=num_drawn if self.counts_repeats else torch.ones_like(num_drawn),
        )
        with torch.enable_grad():
            loss = self.loss_of(scored)
            (slopes[tokens],) = torch.autograd.grad(loss, own)
        return loss.detach(), slopes

    def _is_held(self, batch: Batch, rollout: Rollout, number: int) -> bool:
        source = batch.sources[number] if batch.sources else ""
        is_chosen = matches_any("objective.kl_sources", self.kl_sources, source)
        return bool(rollout.is_reference[number]) and is_chosen


@torch.no_grad()
def token_log_probs(states: TargetStates, *, chunk_rows: int | None) -> torch.Tensor:
    """float32 [L]: natural logarithm of the probability of each target, without gradient."""
    step = chunk_rows or max(1, len(states.targets))
    pieces = [
        -F.cross_entropy(
            states.head(states.hidden[begin : begin + step]).float(),
            states.targets[begin : begin + step],
            reduction="none",
        )
        for begin in range(0, len(states.targets), step)
    ]
    return torch.cat(pieces) if pieces else states.hidden.new_zeros(0, dtype=torch.float32)
