"""Owns the training loop: steps over the data, watched, validated and saved, from where a run stands to its end.

Input: data, what makes a step of them, what saves, shows and validates. Output: checkpoints in the run directory and figures in
the tracker. What a step is stands in step.py, what is kept in saving.py, what is seen in monitoring.py.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from qasr_train.data.training_data import TrainingData
from qasr_train.data.unreadable import UnreadableAudio
from qasr_train.data.workers import LoadedBatch
from qasr_train.errors import ConfigError, InterruptedRunError
from qasr_train.run.interrupt import Interrupt
from qasr_train.run.page import RunPage
from qasr_train.run.tracking import Tracker
from qasr_train.training.checkpoint import TrainState, new_state, read_state
from qasr_train.training.guarding.guard import make_guard
from qasr_train.training.monitoring import Monitor, StepResult, peak_tflops
from qasr_train.training.saving import Saver
from qasr_train.training.settings import TrainerConfig
from qasr_train.training.sharding import sum_everywhere
from qasr_train.training.step import OptimizerStep
from qasr_train.training.validation import Selection


@dataclass(frozen=True)
class Upcoming:
    """The microbatches of a step on this process, and the seconds it waited for them."""

    loaded: list[LoadedBatch]
    wait_s: float
    ends_epoch: bool


@dataclass(frozen=True)
class Trainer:
    """One run's loop.

    selection: what validates; None: no dev set. page: the run's own, made anew with every checkpoint. log_every: steps.
    validate_every, save_every: steps; None: once an epoch.
    """

    data: TrainingData
    step: OptimizerStep
    saver: Saver
    monitor: Monitor
    page: RunPage
    unreadable: UnreadableAudio
    selection: Selection | None
    num_steps: int
    log_every: int
    validate_every: int | None
    save_every: int | None

    def train(self, resume_from: Path | None = None) -> TrainState:
        """Train from the start, or from a checkpoint, to the last step or until patience is out or the guard stops it.

        Raises:
            TrainingError: a non-finite loss or gradient (before the update), too little memory, an interruption.
            DataError: more unreadable audio than allowed. CheckpointError: a checkpoint cannot be written.
        """
        # 1 where to begin
        state = new_state() if resume_from is None else self._resume(resume_from)
        if self.selection and resume_from is None:
            self.selection.begin(state)
        self.page.update()

        # 2 the loop
        with Interrupt() as interrupt, self.monitor.bar(state.step, self.num_steps) as bar:
            window = self.monitor.window()
            for upcoming in self._steps(state):
                result = self.step([one.batch for one in upcoming.loaded], state.step)
                self._advance(state, upcoming, result)
                window.add(result, upcoming.wait_s)
                self.monitor.show(bar, window)
                if self._is_due(self.log_every, state):
                    self.monitor.log(window, state)
                    window = self.monitor.window()
                paused_s = time.perf_counter()
                if self.selection and self._is_due(self.validate_every, state):
                    self.selection.take(state)
                    self._save(state)  # after: `best` points here where this is the best so far
                elif self._is_due(self.save_every, state):
                    self._save(state)
                window.skip_time_since(paused_s)
                if interrupt.is_set_anywhere(self.accelerator):
                    self._stop(state)

        # 3 the end
        self._save(state)
        return state

    @property
    def accelerator(self) -> Accelerator:
        """Of the processes that train together."""
        return self.step.shared.accelerator

    def _resume(self, checkpoint: Path) -> TrainState:
        """Data, weights, optimizer and generators as they were when a checkpoint was written."""
        state = read_state(checkpoint)
        self.data.load_state_dict(state.data, epoch=state.epoch, step_in_epoch=state.step_in_epoch)
        self.saver.load(checkpoint, state)
        self.monitor.tracker.forget_after(state.step)
        return state

    def _steps(self, state: TrainState) -> Iterator[Upcoming]:
        """Every step from the state's position on, which moves on between them."""
        began_s = time.perf_counter()  # planning an epoch, and ending and starting workers, are waiting for data too
        while not self._is_over(state):
            for line in self.data.begin(state.epoch):
                _above_the_bar(self.accelerator)(line)
            state.data = self.data.state_dict(state.epoch)
            num_steps = self.data.num_steps(state.epoch)
            for loaded in self.data.steps(state.epoch, state.step_in_epoch):
                wait_s = time.perf_counter() - began_s
                yield Upcoming(loaded, wait_s, ends_epoch=state.step_in_epoch + 1 == num_steps)
                if self._is_over(state):
                    return
                began_s = time.perf_counter()

    def _is_over(self, state: TrainState) -> bool:
        return state.step >= self.num_steps or (self.selection is not None and self.selection.is_over(state))

    def _advance(self, state: TrainState, done: Upcoming, result: StepResult) -> None:
        """Move the state over a finished step; list unreadable audio and stop past its share."""
        if self.data.first_epoch is not None and state.epoch == 0:
            heard = list(result.heard)
            self.data.first_epoch.note(heard if self.accelerator.num_processes == 1 else gather_object(heard))
        state.step += 1
        state.step_in_epoch += 1
        if done.ends_epoch:
            state.epoch, state.step_in_epoch = state.epoch + 1, 0
        state.audio_s += result.audio_s
        state.num_utterances += result.num_utterances
        state.num_skipped += result.is_skipped
        state.num_skipped_in_row = state.num_skipped_in_row + 1 if result.is_skipped else 0
        self.step.non_finite.refuse_row(state.num_skipped_in_row, state.step)
        failed = [one for batch in done.loaded for one in batch.failed]
        self.unreadable.append(failed)
        state.num_failed += int(sum_everywhere(self.accelerator, len(failed)))
        self.unreadable.refuse_too_many(state.num_failed, state.num_utterances + state.num_failed, failed)

    def _is_due(self, every: int | None, state: TrainState) -> bool:
        """Whether something done every so many steps (None: every epoch) is due; at the last step everything is."""
        is_epoch_end = state.step_in_epoch == 0
        return state.step == self.num_steps or (is_epoch_end if every is None else state.step % every == 0)

    def _save(self, state: TrainState) -> None:
        state.data = state.data | self.data.heard()
        self.saver.save(state)
        self.page.update()

    def _stop(self, state: TrainState) -> None:
        self._save(state)
        raise InterruptedRunError(
            f"interrupted after step {state.step} of {self.num_steps}; saved; go on with the same command and resume=true "
            f"run_dir={self.saver.run_dir}"
        )


def build_trainer(
    config: TrainerConfig,
    data: TrainingData,
    step: OptimizerStep,
    *,
    tracker: Tracker,
    validate: Callable[[int], Mapping[str, float]] | None,
    max_failed_fraction: float,
    run_dir: Path,
    num_steps: int,
) -> Trainer:
    """The loop a config describes. validate: step -> figures, among them the one of `best_by` (None: no dev set)."""
    shared = step.shared
    selection = None
    if validate is not None:
        selection = Selection(
            validate,
            tracker,
            figure=config.best_by.figure,
            num_kept=config.keep_best,
            patience=config.patience,
            measures_start=config.validate_at_start,
            guard=make_guard(config.guard, _above_the_bar(shared.accelerator)),
        )
    return Trainer(
        data=data,
        step=step,
        saver=Saver(shared, run_dir, config.keep_last),
        monitor=Monitor(
            shared.accelerator,
            shared.optimizer,
            tracker,
            peak_tflops=peak_tflops(shared.accelerator, config.peak_tflops),
            counts_graphs=config.compile,
        ),
        page=RunPage(run_dir, is_writer=shared.accelerator.is_main_process),
        unreadable=UnreadableAudio(run_dir, max_failed_fraction, shared.accelerator.process_index),
        selection=selection,
        num_steps=num_steps,
        log_every=config.log_every,
        validate_every=config.validate_every,
        save_every=config.save_every,
    )


def _above_the_bar(accelerator: Accelerator) -> Callable[[str], None]:
    """What says a line while a progress bar is open: the first process does."""
    return tqdm.write if accelerator.is_main_process else lambda line: None


def count_steps(
    num_epochs: float | None,
    max_steps: int | None,
    data: TrainingData,
    resume_from: Path | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Optimizer steps of the whole run: `max_steps` where it is given, else those of its epochs.

    Of a resumed one, those done and those that the rest of its epochs makes now; by the rule it began under, see `TrainState`.

    say: called with a line where both are given and `num_epochs` means another end.

    Raises:
        ConfigError: epochs are asked of a streamed source, which has none; a run that is to draw by its first epoch ends with it.
    """
    state = new_state() if resume_from is None else read_state(resume_from)
    if max_steps is not None and (num_epochs is None or state.max_steps_alone):
        if num_epochs is not None and resume_from is None and not data.is_streamed:
            _tell_the_end(num_epochs, max_steps, data.num_steps(0), say)
        if data.first_epoch is not None and resume_from is None and max_steps <= data.num_steps(0):
            raise ConfigError(
                f"trainer.max_steps={max_steps} ends the run with its first epoch ({data.num_steps(0)} steps), and "
                "data.sample_by_error.first_epoch=true draws those after it; raise it, or set that to false"
            )
        return max_steps
    assert num_epochs is not None
    if data.is_streamed:
        raise ConfigError(
            f"trainer.num_epochs={num_epochs:g}: a streamed source has no known end; set trainer.max_steps"
        )
    whole, rest = divmod(num_epochs, 1.0)
    data.load_state_dict(state.data, epoch=state.epoch, step_in_epoch=state.step_in_epoch)
    num_steps = state.step - state.step_in_epoch  # of the epochs that are done
    num_steps += sum(data.num_steps(epoch) for epoch in range(state.epoch, int(whole)))
    num_steps += round(rest * data.num_steps(int(whole))) if rest else 0
    return max(1, min(num_steps, max_steps or num_steps))


def _tell_the_end(num_epochs: float, max_steps: int, steps_an_epoch: int, say: Callable[[str], None]) -> None:
    num_steps = max(1, round(num_epochs * steps_an_epoch))
    if num_steps != max_steps:
        say(
            f"note: trainer.max_steps={max_steps} ends this run, after {max_steps / steps_an_epoch:.1f} epochs; "
            f"trainer.num_epochs={num_epochs:g} (about {num_steps} steps) does not count beside it"
        )
