"""Owns one optimizer step: microbatches -> count of targets -> gradients -> clip -> update, or none where a number is not finite.

Input: this process's microbatches. Output: the figures of the step, over all processes. The objective gives sums and counts;
only here they are divided, by the count over all microbatches and processes, so that accumulation and data parallelism leave the
gradient as it is.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from qasr_train.batch import Batch
from qasr_train.errors import TrainingError
from qasr_train.models.adapt import optimizer_groups
from qasr_train.models.safetensors_files import whole
from qasr_train.objectives.base import LossSum, Objective
from qasr_train.training.batch_search import is_out_of_memory
from qasr_train.training.learner import Learner
from qasr_train.training.monitoring import StepResult, Stopwatch
from qasr_train.training.optim import build_optimizer, lr_factor, set_lr
from qasr_train.training.rollout.judging import RolloutFigures
from qasr_train.training.rollout.rollouts import Rollouts
from qasr_train.training.settings import OnNonFinite, OptimConfig, TrainerConfig
from qasr_train.training.sharding import SharedModel, share_model, sum_everywhere, sums_everywhere

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """What of a step is not finite. what: loss or gradient. suspects: this process's batches that may have caused it."""

    what: str
    value: float
    suspects: Sequence[Batch]


@dataclass(frozen=True)
class NonFinitePolicy:
    """What a loss or gradient that is not finite leads to. max_in_row: so many steps may be left out one after the other."""

    accelerator: Accelerator
    action: OnNonFinite
    max_in_row: int

    def meet(self, fault: Fault, number: int) -> None:
        """Stop, or warn that step `number` is skipped, naming the utterances of all processes that may have caused it.

        Raises:
            TrainingError: the settings say stop.
        """
        ids = [utterance_id for batch in fault.suspects for utterance_id in batch.ids]
        all_ids = ", ".join(ids if self.accelerator.num_processes == 1 else gather_object(ids))
        if self.action is OnNonFinite.stop:
            raise TrainingError(
                f"the {fault.what} of step {number + 1} is {fault.value}; nothing was updated; look at its utterances "
                f"({all_ids}), lower optim.lr, use trainer.precision=fp32, or set trainer.on_non_finite=skip"
            )
        if self.accelerator.is_main_process:
            log.warning(
                "step %d is skipped, its %s is %s; utterances: %s", number + 1, fault.what, fault.value, all_ids
            )

    def refuse_row(self, num_in_row: int, num_steps: int) -> None:
        """Stop a run in which only skipped steps come.

        Raises:
            TrainingError: the last of the `num_steps` done were skipped, more of them than may be.
        """
        if num_in_row > self.max_in_row:
            raise TrainingError(
                f"loss or gradient was not finite in {num_in_row} steps in a row, up to step {num_steps}, over "
                f"trainer.max_skipped_in_row={self.max_in_row}; none of them changed the weights; lower optim.lr, use "
                "trainer.precision=fp32, or look at the utterances named above"
            )


@dataclass(frozen=True)
class Update:
    """What came of one update.

    means: the loss in nats and the objective's metrics, over all processes, by target. grad_norm: before it was clipped.
    is_skipped: whether nothing was updated. log_probs: of each microbatch, see `LossSum`.
    """

    num_targets: int
    means: Mapping[str, float]
    grad_norm: float
    is_skipped: bool
    log_probs: Sequence[torch.Tensor | None]

    def followed_by(self, later: "Update") -> "Update":
        """Of a step of several updates: the first one's figures, which are those of the hypotheses as they were drawn."""
        is_skipped = self.is_skipped or later.is_skipped
        return replace(self, is_skipped=is_skipped, grad_norm=max(self.grad_norm, later.grad_norm))


@dataclass(frozen=True)
class OptimizerStep:
    """Called with microbatches and the number of steps done before; see the module's docstring.

    lr_factor: number of the step -> factor on every peak learning rate. max_grad_norm: 2-norm; None: no clipping.
    count_flops: operations of the model, forward and backward, for a batch (None: not counted).
    rollouts: draws what is learned from in the place of transcripts, and says how many updates are made on it (None: these).
    """

    shared: SharedModel
    objective: Objective
    lr_factor: Callable[[int], float]
    max_grad_norm: float | None
    non_finite: NonFinitePolicy
    count_flops: Callable[[Batch], float] | None = None
    rollouts: Rollouts | None = None

    def __call__(self, batches: Sequence[Batch], number: int) -> StepResult:
        """One step over this process's microbatches; see `StepResult`.

        Raises:
            TrainingError: the memory does not hold the batch; or loss or gradient is not finite and the settings say stop.
                Nothing is updated then.
        """
        optimizer, watch = self.shared.optimizer, Stopwatch(self.shared.accelerator.device)
        set_lr(optimizer, self.lr_factor(number))
        learned, drawn = list(batches), None
        if self.rollouts is not None:
            learned, drawn = self._draw(self.rollouts, batches, number)
        update = self._update(learned, number, watch)
        for _ in range(1, 1 if self.rollouts is None else self.rollouts.num_updates):
            if update.is_skipped:
                break
            learned = [_compared_with(batch, kept) for batch, kept in zip(learned, update.log_probs, strict=True)]
            update = update.followed_by(self._update(learned, number, watch))
        means, pooled = dict(update.means), {} if drawn is None else drawn.pooled
        return StepResult(
            loss_nats=means.pop("loss_nats"),
            token_accuracy=means.pop("num_correct", None),
            grad_norm=update.grad_norm,
            num_targets=update.num_targets,
            audio_s=self._sum(sum(batch.audio_s for batch in batches)),
            num_utterances=int(self._sum(sum(len(batch.ids) for batch in batches))),
            padded_fraction=sum(batch.padded_fraction for batch in learned) / len(learned),
            num_flops=self._sum(sum(map(self.count_flops, learned))) if self.count_flops else None,
            is_skipped=update.is_skipped,
            own_s=watch.read_s() + (0.0 if drawn is None else drawn.seconds),
            others=means,
            pooled=self._sum_pairs(pooled),
            rollout_s=None if drawn is None else drawn.seconds,
            heard=() if drawn is None else drawn.heard,
        )

    def _draw(self, rollouts: Rollouts, batches: Sequence[Batch], number: int) -> tuple[list[Batch], RolloutFigures]:
        try:
            return rollouts(batches, number)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"out of memory while {rollouts.num_hypotheses} hypotheses of each clip were drawn, in microbatches of up to "
                f"{max(map(len, batches))} clips; lower data.batch_seconds or objective.num_hypotheses"
            ) from None

    def _update(self, batches: Sequence[Batch], number: int, watch: Stopwatch) -> "Update":
        """Gradients of all microbatches, and an update by them where all is finite."""
        optimizer = self.shared.optimizer
        self.shared.model.module.train()  # a validation may have come between
        num_targets = int(self._sum(sum(batch.num_targets for batch in batches)))
        losses = self._accumulate(batches, num_targets, watch)
        # Read only now: each reading waits for the device, which has the next microbatch to begin with meanwhile.
        own = [{"loss_nats": float(one.total.detach()), **_floats(one.metrics)} for one in losses]
        means = {name: self._sum(sum(sums[name] for sums in own)) / max(1, num_targets) for name in own[0]}
        fault, grad_norm = None, 0.0
        if math.isfinite(means["loss_nats"]):
            grad_norm = self._clip()
            fault = None if math.isfinite(grad_norm) else Fault("gradient", grad_norm, batches)
        else:
            is_bad = [not math.isfinite(sums["loss_nats"]) for sums in own]
            suspects = [batch for batch, bad in zip(batches, is_bad, strict=True) if bad]
            fault = Fault("loss", means["loss_nats"], suspects)
        if fault is not None:
            self.non_finite.meet(fault, number)
        elif num_targets:
            optimizer.step()
        optimizer.zero_grad()
        return Update(num_targets, means, grad_norm, fault is not None, [one.log_probs for one in losses])

    def _accumulate(self, batches: Sequence[Batch], num_targets: int, watch: Stopwatch) -> list[LossSum]:
        """Add up the gradients of all microbatches; their losses."""
        losses: list[LossSum] = []
        for i, batch in enumerate(batches):
            is_last = i == len(batches) - 1
            with nullcontext() if is_last else self.shared.accelerator.no_sync(self.shared.wrapped):
                losses.append(self._backward(batch, num_targets, watch))
        return losses

    def _backward(self, batch: Batch, num_targets: int, watch: Stopwatch) -> LossSum:
        """Add a microbatch's gradient, as its share of the mean over all targets; its loss, without what led to it."""
        accelerator = self.shared.accelerator
        try:
            with watch:
                loss = self.objective(self.shared.wrapped, batch.to(accelerator.device))
            # Data parallelism averages gradients over processes, and the share is of the sum: hence the factor.
            accelerator.backward(loss.total * (accelerator.num_processes / max(1, num_targets)))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            num_clips = len(batch.duration_s)
            padded_s = float(batch.duration_s.max()) * num_clips
            rows = f" in {len(batch)} rows" if batch.rollout is not None else ""
            raise TrainingError(
                f"out of memory on a microbatch of {num_clips} clips{rows}, {padded_s:.0f} padded seconds; lower "
                "data.batch_seconds, or set trainer.gradient_checkpointing=all"
            ) from None
        return replace(loss, total=loss.total.detach())

    def _clip(self) -> float:
        """The norm of all gradients together, before they are scaled down to the longest allowed."""
        trained = [p for p in self.shared.wrapped.parameters() if p.requires_grad]
        norm = self.shared.accelerator.clip_grad_norm_(trained, self.max_grad_norm or math.inf)
        return 0.0 if norm is None else float(whole(norm))

    def _sum(self, value: float) -> float:
        return sum_everywhere(self.shared.accelerator, value)

    def _sum_pairs(self, pairs: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        numbers = [number for pair in pairs.values() for number in pair]
        sums = sums_everywhere(self.shared.accelerator, numbers) if numbers else []
        return dict(zip(pairs, zip(sums[::2], sums[1::2], strict=True), strict=True))


def _compared_with(batch: Batch, log_probs: torch.Tensor | None) -> Batch:
    """A batch of hypotheses that remembers how probable they were when they were drawn."""
    assert batch.rollout is not None and log_probs is not None, "only hypotheses are learned from several times"
    if batch.rollout.log_probs is not None:
        return batch
    return replace(batch, rollout=replace(batch.rollout, log_probs=log_probs))


def _floats(metrics: Mapping[str, float | torch.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def build_step(
    config: TrainerConfig,
    optim: OptimConfig,
    learner: Learner,
    *,
    num_steps: int,
) -> OptimizerStep:
    """The step that the settings describe: optimizer and schedule over `num_steps`, the model shared among the processes.

    Raises:
        ConfigError: no parameter is trainable, or DeepSpeed cannot shard the optimizer.
    """
    accelerator, model = learner.accelerator, learner.model
    optimizer = build_optimizer(optimizer_groups(model.module, model.parts), optim)
    count_flops = model.flop_counter()  # before: it counts weights, of which a process may then hold a part
    return OptimizerStep(
        share_model(accelerator, model, optimizer),
        learner.objective,
        lr_factor=lr_factor(optim, num_steps),
        max_grad_norm=config.max_grad_norm,
        non_finite=NonFinitePolicy(accelerator, config.on_non_finite, config.max_skipped_in_row),
        count_flops=count_flops,
        rollouts=learner.rollouts,
    )
