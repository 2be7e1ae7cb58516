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
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from qasr_train.batch import Batch
from qasr_train.data.training_data import TrainingData
from qasr_train.data.workers import LoadedBatch, append_failed_audio
from qasr_train.errors import DataError, InterruptedRunError, TrainingError
from qasr_train.models.base import Trainable
from qasr_train.models.compiled import num_compilations
from qasr_train.models.safetensors_files import whole
from qasr_train.objectives.base import Objective
from qasr_train.run.interrupt import Interrupt
from qasr_train.run.tracking import Tracker
from qasr_train.training.batch_search import is_out_of_memory
from qasr_train.training.checkpoint import (
    TrainState,
    apply_retention,
    checkpoint_path,
    read_state,
    set_link,
    write_checkpoint,
)
from qasr_train.training.launch import is_sharded, raise_everywhere, readable_weights, share_model
from qasr_train.training.monitoring import StepResult, Stopwatch, Window, drift_figures, peak_memory_gib, peak_tflops
from qasr_train.training.optim import set_lr
from qasr_train.training.settings import OnNonFinite, TrainerConfig
from qasr_train.training.state import generator_state, load_training_state, save_training_state

log = logging.getLogger(__name__)


@dataclass
class Trainer:
    """One run's loop. validate: step -> figures, among them `dev/error_rate` and `dev/loss_nats` (None: no dev set).

    count_flops: operations of the model, forward and backward, for a batch (None: not counted).
    """

    accelerator: Accelerator
    model: Trainable
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
    count_flops: Callable[[Batch], float] | None = None
    _saved_step: int | None = field(default=None, init=False, repr=False)

    def train(self, resume_from: Path | None = None) -> TrainState:
        """Train from the start, or from a checkpoint, to the last step or until patience is out.

        Raises:
            TrainingError: a non-finite loss or gradient (before the update), too little memory, an interruption.
            DataError: more unreadable audio than allowed. CheckpointError: a checkpoint cannot be written.
        """
        # 1 the model as the processes share it
        self.wrapped, self.optimizer = share_model(self.accelerator, self.model, self.optimizer)
        self._peak_tflops = peak_tflops(self.accelerator, self.config.peak_tflops)

        # 2 where to begin
        state = TrainState()
        if resume_from is not None:
            state = read_state(resume_from)
            self.data.load_state_dict(state.data, epoch=state.epoch, step_in_epoch=state.step_in_epoch)
            load_training_state(resume_from / "state", self.model, self.optimizer, rank=self.accelerator.process_index)
            self.tracker.forget_after(state.step)
            self._saved_step = state.step
            self._link(state, resume_from)  # a kill may have come between a checkpoint and its links
        elif self.validate and self.config.validate_at_start:
            figures = self.validate(0)
            self.tracker.log(figures, step=0)
            state.value_before = figures[self.config.best_by.figure]

        # 3 the loop
        with ExitStack() as stack:
            interrupt = stack.enter_context(Interrupt())
            bar = stack.enter_context(self._progress_bar(state))
            window = Window(self._peak_tflops)
            for loaded, wait_s in self._steps(state):
                self.model.module.train()
                result = self.step(loaded, state.step)
                self._advance(state, result, loaded)
                window.add(result, wait_s)
                self._show(bar, window)
                if self._is_due(self.config.log_every, state):
                    self._log(window, state)
                    window = Window(self._peak_tflops)
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
            TrainingError: the memory does not hold the batch; or loss or gradient is not finite and the settings say stop.
                Nothing is updated then.
        """
        set_lr(self.optimizer, self.lr_factor(number))
        batches = [one.batch for one in loaded]
        watch = Stopwatch(self.accelerator.device)
        num_targets = int(self._sum(sum(batch.num_targets for batch in batches)))
        sums_of: list[dict[str, float | torch.Tensor]] = []  # of each microbatch, the objective's sums
        for i, batch in enumerate(batches):
            is_last = i == len(batches) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.wrapped):
                sums_of.append(self._backward(batch, num_targets, watch))
        # Read only now: each reading waits for the device, which has the next microbatch to begin with meanwhile.
        own = [{name: float(value) for name, value in sums.items()} for sums in sums_of]
        means = {name: self._sum(sum(sums[name] for sums in own)) / max(1, num_targets) for name in own[0]}
        loss_nats, token_accuracy = means.pop("loss_nats"), means.pop("num_correct", 0.0)
        fault, grad_norm = None if math.isfinite(loss_nats) else "loss", 0.0
        if fault is None:
            norm = self.accelerator.clip_grad_norm_(self._trained(), self.config.max_grad_norm or math.inf)
            grad_norm = 0.0 if norm is None else float(whole(norm))
            fault = None if math.isfinite(grad_norm) else "gradient"
        if fault is not None:
            is_bad = [fault != "loss" or not math.isfinite(sums["loss_nats"]) for sums in own]
            suspects = [batch for batch, bad in zip(batches, is_bad, strict=True) if bad]
            self._report_non_finite(fault, suspects, number, value=loss_nats if fault == "loss" else grad_norm)
        elif num_targets:
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
            num_flops=self._sum(sum(map(self.count_flops, batches))) if self.count_flops else None,
            is_skipped=fault is not None,
            own_s=watch.read_s(),
            others=means,
        )

    def save(self, state: TrainState) -> Path:
        """Write the checkpoint of this step, unless that is done; all processes take part."""
        folder = checkpoint_path(self.run_dir, state.step)
        if state.step == self._saved_step:
            return folder
        generators = gather_object([generator_state()])
        is_writer = self.accelerator.is_main_process
        save_state = partial(save_training_state, model=self.model, optimizer=self.optimizer, generators=generators)
        takes_part = is_writer or is_sharded(self.accelerator)  # else its weights are the writer's
        with readable_weights(self.accelerator):
            write_checkpoint(
                self.run_dir,
                state,
                save_model=self.model.save if takes_part else _nothing,
                save_state=save_state if takes_part else _nothing,
                is_writer=is_writer,
                agree=partial(raise_everywhere, self.accelerator),
            )
        self._link(state, folder)
        self.accelerator.wait_for_everyone()
        self._saved_step = state.step
        return folder

    def _link(self, state: TrainState, folder: Path) -> None:
        """Point `last` and `best` at their checkpoints and remove those that are neither."""
        if not self.accelerator.is_main_process:
            return
        set_link(self.run_dir, "last", folder)
        best_steps = [int(step) for _, step in state.best]
        if best_steps and checkpoint_path(self.run_dir, best_steps[0]).exists():
            set_link(self.run_dir, "best", checkpoint_path(self.run_dir, best_steps[0]))
        apply_retention(self.run_dir, keep_last=self.config.keep_last, best_steps=best_steps)

    def _steps(self, state: TrainState) -> Iterator[tuple[list[LoadedBatch], float]]:
        """(microbatches, seconds waited for them) of every step from the state's position on; moves the epoch on."""
        began_s = time.perf_counter()  # planning an epoch, and ending and starting workers, are waiting for data too
        while state.step < self.num_steps and not self._is_out_of_patience(state):
            state.data = self.data.state_dict(state.epoch)
            self._num_steps_of_epoch = self.data.num_steps(state.epoch)
            for loaded in self.data.steps(state.epoch, state.step_in_epoch):
                yield loaded, time.perf_counter() - began_s
                if state.step >= self.num_steps or self._is_out_of_patience(state):
                    return
                began_s = time.perf_counter()

    def _backward(self, batch: Batch, num_targets: int, watch: Stopwatch) -> dict[str, float | torch.Tensor]:
        """Add a microbatch's gradient, as its share of the mean over all targets; its loss and the objective's metrics."""
        try:
            with watch:
                loss = self.objective(self.wrapped, batch.to(self.accelerator.device))
            # Data parallelism averages gradients over processes, and the share is of the sum: hence the factor.
            self.accelerator.backward(loss.total * (self.accelerator.num_processes / max(1, num_targets)))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            padded_s = float(batch.duration_s.max()) * len(batch)
            raise TrainingError(
                f"out of memory on a microbatch of {len(batch)} clips, {padded_s:.0f} padded seconds; lower "
                "data.batch_seconds, or set trainer.gradient_checkpointing=all"
            ) from None
        return {"loss_nats": loss.total.detach(), **loss.metrics}

    def _report_non_finite(self, what: str, suspects: list[Batch], number: int, *, value: float) -> None:
        """Stop, or warn that the step is skipped, naming the utterances of all processes that may have caused it."""
        ids = [utterance_id for batch in suspects for utterance_id in batch.ids]
        all_ids = ", ".join(ids if self.accelerator.num_processes == 1 else gather_object(ids))
        if self.config.on_non_finite is OnNonFinite.stop:
            raise TrainingError(
                f"the {what} of step {number + 1} is {value}; nothing was updated; look at its utterances ({all_ids}), "
                "lower optim.lr, use trainer.precision=fp32, or set trainer.on_non_finite=skip"
            )
        if self.accelerator.is_main_process:
            log.warning("step %d is skipped, its %s is %s; utterances: %s", number + 1, what, value, all_ids)

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
        state.num_skipped += result.is_skipped
        state.num_skipped_in_row = state.num_skipped_in_row + 1 if result.is_skipped else 0
        if state.num_skipped_in_row > self.config.max_skipped_in_row:
            raise TrainingError(
                f"loss or gradient was not finite in {state.num_skipped_in_row} steps in a row, up to step {state.step}, "
                f"over trainer.max_skipped_in_row={self.config.max_skipped_in_row}; none of them changed the weights; lower "
                "optim.lr, use trainer.precision=fp32, or look at the utterances named above"
            )
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
        state.note_value(figures[self.config.best_by.figure], num_kept=self.config.keep_best)
        self.save(state)

    def _stop(self, state: TrainState) -> None:
        self.save(state)
        raise InterruptedRunError(
            f"interrupted after step {state.step} of {self.num_steps}; saved; go on with the same command and resume=true "
            f"run_dir={self.run_dir}"
        )

    def _progress_bar(self, state: TrainState) -> "tqdm[NoReturn]":
        is_shown = self.accelerator.is_main_process
        return tqdm(total=self.num_steps, initial=state.step, unit="step", disable=not is_shown, mininterval=0.5)

    def _show(self, bar: "tqdm[NoReturn]", window: Window) -> None:
        figures = window.figures()
        if window.results:
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
        figures = window.figures() | drift_figures(self.accelerator, window)
        figures |= {"train/lr": self.lr, "train/epoch": state.epoch, "train/audio_s": state.audio_s}
        if (peak_gib := peak_memory_gib(self.accelerator)) is not None:
            figures["train/peak_memory_gib"] = peak_gib
        if self.config.compile:
            figures["train/num_compiled_graphs"] = num_compilations()
        self.tracker.log(figures, step=state.step)


def _nothing(folder: Path | None) -> None:
    """A process that neither writes nor gathers."""
