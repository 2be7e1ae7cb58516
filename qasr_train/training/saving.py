"""Owns a run's own folder: claimed or found again, checkpoints saved by all processes, the links `last` and `best`, which stay.

Input: where the run stands. Output: folders in `run_dir/checkpoints` (checkpoint.py says what is in one), a model and optimizer
as one of them has them, and what came out in a sentence.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from qasr_train.errors import ConfigError, UserError
from qasr_train.evaluation.settings import MAX_BROKEN_PERCENT, NOTHING_LEARNED, NOTHING_LEARNED_PERCENT
from qasr_train.models.base import KnowsOrigin, Trainable
from qasr_train.models.digest import checkpoint_digest
from qasr_train.models.settings import ModelConfig
from qasr_train.run.directory import RUN_FILE, check_same_config, read_run, record_in_run, run_directory
from qasr_train.training.checkpoint import (
    TrainState,
    apply_retention,
    checkpoint_path,
    latest_checkpoint,
    set_link,
    write_checkpoint,
)
from qasr_train.training.sharding import SharedModel, raise_everywhere
from qasr_train.training.state import generator_state, load_training_state, save_training_state


@contextmanager
def claim_run(
    run_dir: str,
    config: Any,
    accelerator: Accelerator,
    *,
    model: ModelConfig,
    resume: bool,
    may_change: Sequence[str],
) -> Iterator[tuple[Path, Path | None]]:
    """Claim the run directory meanwhile, or find where to resume; the first process decides for all.

    Args:
        config: of the job, for the record. model: where the base lies; a local one must still hold what it held.
        resume: go on in a directory that holds a run; where it holds none, start.
        may_change: settings that may differ from those the run began with.

    Yields:
        The run directory, and the checkpoint to resume from (None: start at step 0).

    Raises:
        UserError: the directory is taken or cannot be written, or the run in it had other settings.
    """
    with ExitStack() as stack:
        found: list[Any] = [None, None, None]
        if accelerator.is_main_process:
            try:
                record = Path(run_dir) / RUN_FILE
                # A run that was never started is started: after a preemption a cluster repeats one and the same command.
                is_resumed = resume and record.is_file()
                weights = checkpoint_digest(model)
                if is_resumed and record.stat().st_size:  # empty: killed right after it had claimed the folder
                    check_same_config(Path(run_dir), config, ignore=may_change)
                    _refuse_other_base(Path(run_dir), weights)
                found[0] = stack.enter_context(run_directory(run_dir, config, "finetune", resume=is_resumed))
                if weights is not None:
                    record_in_run(found[0], base_files=weights)
                found[1] = latest_checkpoint(found[0]) if is_resumed else None
            except UserError as error:
                found[2] = error
        broadcast_object_list(found)
        if found[2] is not None:
            raise found[2]
        if resume and found[1] is None:
            accelerator.print(f"resume=true, but {found[0]} holds no checkpoint; starting at step 0")
        yield found[0], found[1]


def _refuse_other_base(run_dir: Path, weights: str | None) -> None:
    """Refuse to go on over another base: what was not trained would be of one model, what was trained of another."""
    before = read_run(run_dir).get("base_files")
    if None not in (before, weights) and before != weights:
        raise ConfigError(
            f"resume: the files of model.path are not those {run_dir} was begun with (digest {before}, not {weights}); put "
            "them back, or give another run_dir"
        )


def record_model(run_dir: Path, model: Trainable, accelerator: Accelerator) -> None:
    """Put into run.json which weights were loaded: a hub id's commit, which its branch does not tell later, and their digest."""
    if accelerator.is_main_process and isinstance(model, KnowsOrigin):
        record_in_run(run_dir, model=model.origin.record())


def record_plan(run_dir: Path, accelerator: Accelerator, num_steps: int) -> None:
    """Note in run.json how many optimizer steps the whole run is planned to have; the first process does."""
    if accelerator.is_main_process:
        record_in_run(run_dir, num_steps=num_steps)


@dataclass
class Saver:
    """Writes a run's checkpoints and reads one back. keep_last: of the newest, so many stay beside the best ones."""

    shared: SharedModel
    run_dir: Path
    keep_last: int
    _saved_step: int | None = field(default=None, init=False, repr=False)

    def save(self, state: TrainState) -> Path:
        """Write the checkpoint of this step, unless that is done; all processes take part.

        Raises:
            CheckpointError: it cannot be written; those before it are untouched.
        """
        folder = checkpoint_path(self.run_dir, state.step)
        if state.step == self._saved_step:
            return folder
        accelerator, model = self.shared.accelerator, self.shared.model
        generators = gather_object([generator_state()])
        save_state = partial(save_training_state, model=model, optimizer=self.shared.optimizer, generators=generators)
        takes_part = accelerator.is_main_process or self.shared.is_sharded  # else its weights are the writer's
        with self.shared.readable_weights():
            write_checkpoint(
                self.run_dir,
                state,
                save_model=model.save if takes_part else _nothing,
                save_state=save_state if takes_part else _nothing,
                is_writer=accelerator.is_main_process,
                agree=partial(raise_everywhere, accelerator),
            )
        self._link(state, folder)
        accelerator.wait_for_everyone()
        self._saved_step = state.step
        return folder

    def load(self, folder: Path, state: TrainState) -> None:
        """Take weights, optimizer and random generators of a checkpoint, whose state this is.

        Raises:
            CheckpointError: it trained other parameters than this run would.
        """
        rank = self.shared.accelerator.process_index
        load_training_state(folder / "state", self.shared.model, self.shared.optimizer, rank=rank)
        self._saved_step = state.step
        self._link(state, folder)  # a kill may have come between a checkpoint and its links

    def _link(self, state: TrainState, folder: Path) -> None:
        """Point `last` and `best` at their checkpoints and remove those that are neither."""
        if not self.shared.accelerator.is_main_process:
            return
        set_link(self.run_dir, "last", folder)
        best_steps = [int(step) for _, step in state.best]
        if best_steps and checkpoint_path(self.run_dir, best_steps[0]).exists():
            set_link(self.run_dir, "best", checkpoint_path(self.run_dir, best_steps[0]))
        apply_retention(self.run_dir, keep_last=self.keep_last, best_steps=best_steps)


def describe_result(run_dir: Path, state: TrainState) -> str:
    """How far it came, whether the dev sets say that it is worth it, what was left out, where it lies, how to evaluate it."""
    parts = [f"done: {state.step} steps, {state.audio_s / 3600:.2f} h of audio"]
    best, before = state.best_value, state.value_before
    if best is not None and before is not None and best >= before:
        parts.append("warning: no checkpoint is better on the dev sets than the model was before training")
    parts += _collapsed(state.dev_at_best) + _past_margins(state)
    if state.num_failed:
        listed = run_dir / "failed_audio*.jsonl"  # one for each process that met any
        parts.append(
            f"warning: unreadable recordings were left out ({state.num_failed}, counted in each epoch), see {listed}"
        )
    if best is not None:
        parts.append(f"best at step {state.best_step}")
    folder = run_dir / "checkpoints" / ("last" if best is None else "best")
    return "; ".join([*parts, f"evaluate it with model.path={folder}"])


def _collapsed(figures: Mapping[str, float]) -> list[str]:
    """What says of the best checkpoint that nothing was learned, a sentence for each dev set that says so."""
    found = []
    for name in (key.split("/")[1] for key in figures if key.endswith("/error_rate") and key.count("/") == 2):
        rate, broken = figures[f"dev/{name}/error_rate"], figures.get(f"dev/{name}/broken_percent", 0.0)
        said = [f"the error rate stays at {rate:.1f} %"] if rate >= NOTHING_LEARNED_PERCENT else []
        said += [f"{broken:.1f} % of the outputs are broken"] if broken > MAX_BROKEN_PERCENT else []
        if said:
            found.append(f"warning: on dev set {name} {' and '.join(said)}: {NOTHING_LEARNED}")
    return found


def _past_margins(state: TrainState) -> list[str]:
    """What the guard had to say at the last validation."""
    if not state.num_past_margin:
        return []
    figures = [f"{name} {state.dev_before[name]:.2f} -> {state.dev_last[name]:.2f}" for name in state.num_past_margin]
    none_kept = "" if state.best else ", as at every validation, so that none is the best"
    return [f"warning: past the margins of trainer.guard at the last validation{none_kept}: {', '.join(figures)}"]


def _nothing(folder: Path | None) -> None:
    """A process that neither writes nor gathers."""
