"""Owns what a run keeps of itself: checkpoints saved by all processes, the links `last` and `best`, which of them stay.

Input: where the run stands. Output: folders in `run_dir/checkpoints` (checkpoint.py says what is in one), and a model and
optimizer as one of them has them.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from accelerate.utils import gather_object

from qasr_train.training.checkpoint import TrainState, apply_retention, checkpoint_path, set_link, write_checkpoint
from qasr_train.training.sharding import SharedModel, raise_everywhere
from qasr_train.training.state import generator_state, load_training_state, save_training_state


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


def _nothing(folder: Path | None) -> None:
    """A process that neither writes nor gathers."""
