"""Owns the training loop: optimizer steps over microbatches, divided by the targets of all of them, watched and saved.

Input: a model, an objective, data, an optimizer. Output: checkpoints in the run directory and figures in the tracker.
The objective gives sums and counts; only `Trainer.step` divides, by the count over all microbatches and processes, so
that accumulation and data parallelism leave the gradient as it is.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NoReturn

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from qasr_train.batch import Batch
from qasr_train.checkpoint import (
    TrainState,
    apply_retention,
    checkpoint_path,
    read_state,
    set_link,
    write_checkpoint,
)
from qasr_train.data import TrainingData
from qasr_train.device import Device, Precision, refuse_fp16
from qasr_train.errors import ConfigError, DataError, TrainingError
from qasr_train.interrupt import Interrupt
from qasr_train.loading import LoadedBatch, append_failed_audio
from qasr_train.models.base import ASRModel
from qasr_train.objectives import Objective
from qasr_train.optim import set_lr
from qasr_train.settings import check_settings, setting
from qasr_train.tracking import Tracker
from qasr_train.training_state import generator_state, load_training_state, save_training_state

log = logging.getLogger(__name__)


class BestBy(str, Enum):
    """Which figure of the dev sets decides the best checkpoint and early stopping."""

    error_rate = "error_rate"
    loss = "loss"

    @property
    def figure(self) -> str:
        """Its name among the figures of a validation."""
        return "dev/error_rate" if self is BestBy.error_rate else "dev/loss_nats"


@dataclass
class TrainerConfig:
    """How long and how to train, what to watch, what to keep."""

    num_epochs: float | None = setting(
        3.0, gt=0, help="epochs; training ends here or at max_steps. null: no such limit"
    )
    max_steps: int | None = setting(None, ge=1, help="optimizer steps; see num_epochs. null: no such limit")
    num_microbatches: int = setting(1, ge=1, help="microbatches of one optimizer step on each process (accumulation)")
    max_grad_norm: float | None = setting(1.0, gt=0, help="2-norm; longer gradients are scaled down to it. null: off")
    precision: Precision = setting(Precision.auto, help="format of the forward pass. auto: bf16 on a GPU, else fp32")
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    gradient_checkpointing: bool = setting(False, help="recompute activations in the backward pass to save memory")
    log_every: int = setting(10, ge=1, help="steps between lines in metrics.jsonl")
    validate_every: int | None = setting(None, ge=1, help="steps between validations. null: at the end of each epoch")
    validate_at_start: bool = setting(True, help="whether to validate before the first step, for a baseline")
    save_every: int | None = setting(None, ge=1, help="steps between checkpoints. null: when validating")
    keep_last: int = setting(2, ge=1, help="checkpoints; how many of the newest are kept, beside the best one")
    best_by: BestBy = setting(BestBy.error_rate, help="dev figure that decides: mean WER (CER by language), or loss")
    patience: int | None = setting(None, ge=1, help="validations without gain after which training stops. null: off")
    max_dev_utterances: int | None = setting(200, ge=1, help="utterances of each dev source. null: all of them")
    num_samples: int = setting(0, ge=0, help="dev transcripts written to samples.jsonl at each validation. 0: none")

    def __post_init__(self) -> None:
        check_settings(self, "trainer")
        if self.max_steps is None and self.num_epochs is None:
            raise ConfigError(
                "trainer.num_epochs and trainer.max_steps are both null: training would never end; set one"
            )
        refuse_fp16(self.precision, "trainer.precision")


@dataclass(frozen=True, slots=True)
class StepResult:
    """Figures of one optimizer step, over all processes. loss_nats: per supervised token."""

    loss_nats: float
    token_accuracy: float
    grad_norm: float
    num_targets: int
    audio_s: float
    num_utterances: int
    padded_fraction: float


@dataclass
class Window:
    """Figures since the last line of the log; time spent validating is left out."""

    results: list[StepResult] = field(default_factory=list)
    wait_s: float = 0.0
    began_s: float = field(default_factory=time.perf_counter)

    def add(self, result: StepResult, wait_s: float) -> None:
        """Count a step and the seconds it waited for data."""
        self.results.append(result)
        self.wait_s += wait_s

    def skip_time_since(self, paused_s: float) -> None:
        """Leave out the time since a reading of the clock: it was spent validating, not training."""
        self.began_s += time.perf_counter() - paused_s

    def figures(self) -> dict[str, float]:
        """Means over the window; rates in seconds of audio, and in tokens, per second of wall-clock."""
        if not self.results:
            return {}
        elapsed_s = max(time.perf_counter() - self.began_s, 1e-9)
        num_targets = max(1, sum(r.num_targets for r in self.results))
        return {
            "train/loss_nats": sum(r.loss_nats * r.num_targets for r in self.results) / num_targets,
            "train/token_accuracy": sum(r.token_accuracy * r.num_targets for r in self.results) / num_targets,
            "train/grad_norm": sum(r.grad_norm for r in self.results) / len(self.results),
            "train/audio_s_per_s": sum(r.audio_s for r in self.results) / elapsed_s,
            "train/targets_per_s": num_targets / elapsed_s,
            "train/padded_fraction": sum(r.padded_fraction for r in self.results) / len(self.results),
            "train/data_wait_fraction": self.wait_s / elapsed_s,
        }


@dataclass
class Trainer:
    """One run's loop. validate: step -> figures, among them `dev/error_rate` and `dev/loss_nats` (None: no dev set)."""

    accelerator: Accelerator
    model: ASRModel
    objective: Objective
    data: TrainingData
    optimizer: torch.optim.Optimizer
    lr_factor: Callable[[int], float]
    num_steps: int
    config: TrainerConfig
    run_dir: Path
    tracker: Tracker
    max_failed_fraction: float
    validate: Callable[[int], Mapping[str, float]] | None = None
    _saved_step: int | None = field(default=None, init=False, repr=False)

    def train(self, resume_from: Path | None = None) -> TrainState:
        """Train from the start, or from a checkpoint, to the last step or until patience is out.

        Raises:
            TrainingError: a non-finite loss or gradient (before the update), too little memory, an interruption.
            DataError: more unreadable audio than allowed. CheckpointError: a checkpoint cannot be written.
        """
        # 1 the model as the processes share it
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)

        # 2 where to begin
        state = TrainState()
        if resume_from is not None:
            state = read_state(resume_from)
            self.data.load_state_dict(state.data)
            load_training_state(resume_from / "state", self.model, self.optimizer, rank=self.accelerator.process_index)
            self.tracker.forget_after(state.step)
            self._saved_step = state.step
        elif self.validate and self.config.validate_at_start:
            figures = self.validate(0)
            self.tracker.log(figures, step=0)
            state.value_before = figures[self.config.best_by.figure]

        # 3 the loop
        with ExitStack() as stack:
            interrupt = stack.enter_context(Interrupt())
            bar = stack.enter_context(self._progress_bar(state))
            window = Window()
            for loaded, wait_s in self._steps(state):
                self.model.module.train()
                result = self.step(loaded, state.step)
                self._advance(state, result, loaded)
                window.add(result, wait_s)
                self._show(bar, window)
                if self._is_due(self.config.log_every, state):
                    self._log(window, state)
                    window = Window()
                paused_s = time.perf_counter()
                if self.validate and self._is_due(self.config.validate_every, state):
                    self._validate(state, self.validate)
                elif self._is_due(self.config.save_every, state):
                    self.save(state)
                window.skip_time_since(paused_s)
                if interrupt.is_set_anywhere(self.accelerator):
                    self._stop(state)

        # 4 the end
        self.save(state)
        return state

    def step(self, loaded: list[LoadedBatch], number: int) -> StepResult:
        """One optimizer step over this process's microbatches; see `StepResult`.

        Raises:
            TrainingError: loss or gradient is not finite, or the memory does not hold the batch; nothing is updated.
        """
        set_lr(self.optimizer, self.lr_factor(number))
        batches = [one.batch for one in loaded]
        num_targets = int(self._sum(sum(batch.num_targets for batch in batches)))
        totals = torch.zeros(2, dtype=torch.float64)
        for i, batch in enumerate(batches):
            is_last = i == len(batches) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.wrapped):
                totals += self._backward(batch, num_targets)
        loss_nats, token_accuracy = (self._sum(float(total)) / max(1, num_targets) for total in totals)
        self._refuse_non_finite("loss", loss_nats, batches, number)
        norm = self.accelerator.clip_grad_norm_(self._trained(), self.config.max_grad_norm or math.inf)
        grad_norm = 0.0 if norm is None else float(norm)
        self._refuse_non_finite("gradient", grad_norm, batches, number)
        if num_targets:
            self.optimizer.step()
        self.optimizer.zero_grad()
        return StepResult(
            loss_nats=loss_nats,
            token_accuracy=token_accuracy,
            grad_norm=grad_norm,
            num_targets=num_targets,
            audio_s=self._sum(sum(batch.audio_s for batch in batches)),
            num_utterances=int(self._sum(sum(len(batch.ids) for batch in batches))),
            padded_fraction=sum(batch.padded_fraction for batch in batches) / len(batches),
        )

    def save(self, state: TrainState) -> Path:
        """Write the checkpoint of this step, unless that is done; all processes take part."""
        folder = checkpoint_path(self.run_dir, state.step)
        if state.step == self._saved_step:
            return folder
        generators = gather_object([generator_state()])
        if self.accelerator.is_main_process:
            write_checkpoint(
                self.run_dir,
                state,
                save_model=self.model.save,
                save_state=lambda path: save_training_state(path, self.model, self.optimizer, generators),
            )
            set_link(self.run_dir, "last", folder)
            if state.best_step == state.step:
                set_link(self.run_dir, "best", folder)
            apply_retention(self.run_dir, keep_last=self.config.keep_last, best_step=state.best_step)
        self.accelerator.wait_for_everyone()
        self._saved_step = state.step
        return folder

    def _steps(self, state: TrainState) -> Iterator[tuple[list[LoadedBatch], float]]:
        """(microbatches, seconds waited for them) of every step from the state's position on; moves the epoch on."""
        while state.step < self.num_steps and not self._is_out_of_patience(state):
            state.data = self.data.state_dict(state.epoch)
            self._num_steps_of_epoch = self.data.num_steps(state.epoch)
            steps = self.data.steps(state.epoch, state.step_in_epoch)
            began_s = time.perf_counter()
            for loaded in steps:
                yield loaded, time.perf_counter() - began_s
                if state.step >= self.num_steps or self._is_out_of_patience(state):
                    return
                began_s = time.perf_counter()

    def _backward(self, batch: Batch, num_targets: int) -> torch.Tensor:
        """Add a microbatch's gradient, as its share of the mean over all targets; float64 [2]: loss sum, correct tokens."""
        try:
            loss = self.objective(self.wrapped, batch.to(self.accelerator.device))
            # Data parallelism averages gradients over processes, and the share is of the sum: hence the factor.
            self.accelerator.backward(loss.total * (self.accelerator.num_processes / max(1, num_targets)))
        except torch.OutOfMemoryError:
            padded_s = float(batch.duration_s.max()) * len(batch)
            raise TrainingError(
                f"out of memory on a microbatch of {len(batch)} clips, {padded_s:.0f} padded seconds; lower "
                "data.batch_seconds, or set trainer.gradient_checkpointing=true"
            ) from None
        return torch.tensor([float(loss.total.detach()), loss.metrics.get("num_correct", 0.0)], dtype=torch.float64)

    def _refuse_non_finite(self, what: str, value: float, batches: list[Batch], number: int) -> None:
        if math.isfinite(value):
            return
        ids = ", ".join(utterance_id for batch in batches for utterance_id in batch.ids)
        raise TrainingError(
            f"the {what} of step {number + 1} is {value}; nothing was updated; look at its utterances ({ids}), lower "
            "optim.lr or use trainer.precision=fp32"
        )

    def _trained(self) -> list[torch.nn.Parameter]:
        return [p for p in self.wrapped.parameters() if p.requires_grad]

    def _sum(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.accelerator.num_processes == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.accelerator.device)
        return float(self.accelerator.reduce(total, reduction="sum"))

    def _advance(self, state: TrainState, result: StepResult, loaded: list[LoadedBatch]) -> None:
        """Move the state over a finished step; list unreadable audio and stop past its share."""
        state.step += 1
        state.step_in_epoch += 1
        if state.step_in_epoch == self._num_steps_of_epoch:
            state.epoch, state.step_in_epoch = state.epoch + 1, 0
        state.audio_s += result.audio_s
        state.num_utterances += result.num_utterances
        failed = [one for batch in loaded for one in batch.failed]
        append_failed_audio(self.run_dir, failed, rank=self.accelerator.process_index)
        state.num_failed += int(self._sum(len(failed)))
        num_read = state.num_utterances + state.num_failed
        # A share of few is no share: the first hundred clips may hold one that fails.
        if state.num_failed > max(self.max_failed_fraction * num_read, self.max_failed_fraction * 100):
            raise DataError(
                f"{state.num_failed} of {num_read} clips could not be read, over data.max_failed_fraction="
                f"{self.max_failed_fraction:g}{f', the last: {failed[-1].reason}' if failed else ''}; see "
                f"{self.run_dir / 'failed_audio.jsonl'}"
            )

    def _is_due(self, every: int | None, state: TrainState) -> bool:
        """Whether something done every so many steps (None: every epoch) is due; at the last step everything is."""
        is_epoch_end = state.step_in_epoch == 0
        return state.step == self.num_steps or (is_epoch_end if every is None else state.step % every == 0)

    def _is_out_of_patience(self, state: TrainState) -> bool:
        return self.config.patience is not None and state.num_validations_without_gain >= self.config.patience

    def _validate(self, state: TrainState, validate: Callable[[int], Mapping[str, float]]) -> None:
        """Validate, and save with `best` pointing here where this is the best so far."""
        figures = validate(state.step)
        self.tracker.log(figures, step=state.step)
        value = figures[self.config.best_by.figure]
        if state.best_value is None or value < state.best_value:
            state.best_value, state.best_step, state.num_validations_without_gain = value, state.step, 0
        else:
            state.num_validations_without_gain += 1
        self.save(state)

    def _stop(self, state: TrainState) -> None:
        self.save(state)
        raise TrainingError(
            f"interrupted after step {state.step} of {self.num_steps}; saved; go on with the same command and resume=true "
            f"run_dir={self.run_dir}"
        )

    def _progress_bar(self, state: TrainState) -> "tqdm[NoReturn]":
        is_shown = self.accelerator.is_main_process
        return tqdm(total=self.num_steps, initial=state.step, unit="step", disable=not is_shown, mininterval=0.5)

    def _show(self, bar: "tqdm[NoReturn]", window: Window) -> None:
        figures = window.figures()
        bar.set_postfix_str(
            f"loss {figures['train/loss_nats']:.3f}, lr {self.lr:.1e}, {figures['train/audio_s_per_s']:.0f} audio-s/s",
            refresh=False,
        )
        bar.update()

    @property
    def lr(self) -> float:
        """The highest learning rate of the groups at the step just done."""
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def _log(self, window: Window, state: TrainState) -> None:
        figures = window.figures() | {"train/lr": self.lr, "train/epoch": state.epoch, "train/audio_s": state.audio_s}
        if self.accelerator.device.type == "cuda":
            figures["train/peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self.tracker.log(figures, step=state.step)
