"""Owns checkpoints on disk: written whole or not at all, verified before use, the last and the best ones kept.

A checkpoint is a complete Hugging Face directory (loads with plain `from_pretrained`), plus `adapter/` where LoRA was
trained, `state/` (optimizer, random generators, position: what a resume needs) and `checkpoint.json` (sizes and checksums).
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qasr_train.errors import CheckpointError
from qasr_train.files import parse_json

log = logging.getLogger(__name__)

CHECKPOINT_VERSION = 2  # 2: the optimizer by the names of parameters, in safetensors
RECORD = "checkpoint.json"
_STEP_NAME = re.compile(r"step_(\d+)$")


@dataclass
class TrainState:
    """Where a run stands. step: optimizer steps done. epoch, step_in_epoch: the position in the data.

    num_skipped, num_skipped_in_row: steps left out because loss or gradient was not finite; in all, and since the last good one.
    value_before: of the figure that decides on the dev sets, before the first step. best: its values at the best
    checkpoints that are kept, as [value, step], the best one first. dev_at_best: all figures of the dev sets at that one.
    dev_before, dev_last: all figures of the dev sets before the first step, and at the last validation. num_past_margin: of each
    guard figure that is past its margin, for how many validations in a row.
    max_steps_alone: where trainer.max_steps is given, it alone ends the run; runs that began without this end at max_steps or
    num_epochs, whichever comes first.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    audio_s: float = 0.0
    num_utterances: int = 0
    num_failed: int = 0
    num_skipped: int = 0
    num_skipped_in_row: int = 0
    value_before: float | None = None
    best: list[list[float]] = field(default_factory=list)
    num_validations_without_gain: int = 0
    dev_at_best: dict[str, float] = field(default_factory=dict)
    dev_before: dict[str, float] = field(default_factory=dict)
    dev_last: dict[str, float] = field(default_factory=dict)
    num_past_margin: dict[str, int] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    max_steps_alone: bool = False

    @property
    def best_value(self) -> float | None:
        """The lowest value found after a validation."""
        return self.best[0][0] if self.best else None

    @property
    def best_step(self) -> int | None:
        """Where it was found."""
        return int(self.best[0][1]) if self.best else None

    def note_value(self, value: float, *, num_kept: int) -> None:
        """Take in the value of a validation at this step; of equal ones the earlier stays the better."""
        is_gain = self.best_value is None or value < self.best_value
        self.note_gain(is_gain=is_gain)
        self.best = sorted([*self.best, [value, self.step]])[:num_kept]

    def note_gain(self, *, is_gain: bool) -> None:
        """Count validations since the last that brought a gain."""
        self.num_validations_without_gain = 0 if is_gain else self.num_validations_without_gain + 1


def write_checkpoint(
    run_dir: Path,
    state: TrainState,
    *,
    save_model: Callable[[Path | None], None],
    save_state: Callable[[Path | None], None],
    is_writer: bool = True,
    agree: Callable[[CheckpointError | None], None] | None = None,
) -> Path:
    """Write `run_dir/checkpoints/step_N`, all or nothing: a temporary directory, fsync, then one rename.

    Args:
        run_dir: the run's directory.
        state: where the run stands; its step names the checkpoint.
        save_model: writes the model files into a folder. save_state: writes optimizer and generators into a folder.
            Both are called with None on processes that do not write, to take part in gathering what is sharded.
        is_writer: whether this process writes; one does.
        agree: raises the error of any process on all of them, so that none waits for another; None: there is one process.

    Raises:
        CheckpointError: the disk is full or not writable; the checkpoints before are untouched.
    """
    folder = checkpoint_path(run_dir, state.step)
    part = folder.with_name(f".{folder.name}.part")
    phases: list[Callable[[], None]] = [lambda: save_model(None), lambda: save_state(None)]
    if is_writer:
        phases = [lambda: save_model(part), lambda: save_state(part / "state")]
    phases = [lambda: _begin(part, is_writer), *phases, lambda: _finish(part, folder, state, is_writer)]
    for phase in phases:
        error = _attempt(phase, run_dir, folder, part)
        if agree is not None:
            agree(error)
        elif error is not None:
            raise error
    return folder


def _attempt(phase: Callable[[], None], run_dir: Path, folder: Path, part: Path) -> CheckpointError | None:
    """Run a part of the writing; a disk that fails becomes a sentence, and what was written of it is removed."""
    try:
        phase()
    except Exception as error:
        shutil.rmtree(part, ignore_errors=True)
        if (reason := _disk_reason(error)) is None:
            raise
        kept = latest_checkpoint(run_dir)
        left = f"{kept} is intact" if kept else "no earlier checkpoint exists"
        return CheckpointError(f"{folder}: could not be saved, {reason}; {left}; free space, then resume=true")
    return None


def _begin(part: Path, is_writer: bool) -> None:
    if is_writer:
        shutil.rmtree(part, ignore_errors=True)
        (part / "state").mkdir(parents=True)


def _finish(part: Path, folder: Path, state: TrainState, is_writer: bool) -> None:
    if not is_writer:
        return
    (part / "state" / "train_state.json").write_text(json.dumps(asdict(state), indent=1))
    record = {"version": CHECKPOINT_VERSION, "step": state.step, "files": _inventory(part)}
    (part / RECORD).write_text(json.dumps(record, indent=1))
    _sync_tree(part)
    if folder.exists():  # a damaged one, which a resume went back behind
        shutil.rmtree(folder)
    part.rename(folder)
    _sync_directory(folder.parent)


def checkpoint_path(run_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step stands."""
    return run_dir / "checkpoints" / f"step_{step:06d}"


def list_checkpoints(run_dir: Path) -> list[Path]:
    """All step checkpoints of a run, oldest first, verified or not."""
    folders = [p for p in (run_dir / "checkpoints").glob("step_*") if _STEP_NAME.fullmatch(p.name)]
    return sorted(folders, key=lambda p: int(p.name.removeprefix("step_")))


def latest_checkpoint(run_dir: Path) -> Path | None:
    """The newest checkpoint that verifies; torn ones are skipped with a warning. None where there is none."""
    for folder in reversed(list_checkpoints(run_dir)):
        if (fault := find_fault(folder)) is None:
            return folder
        log.warning("%s is damaged (%s); the one before it is used", folder, fault)
    return None


def find_fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint (missing file, size, checksum), or None where it is whole."""
    try:
        record = parse_json((folder / RECORD).read_text())
    except (OSError, ValueError):
        return f"{RECORD} is missing or unreadable"
    if record.get("version") != CHECKPOINT_VERSION:
        return f"version {record.get('version')}, this code reads {CHECKPOINT_VERSION}"
    for name, expected in record["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected["num_bytes"]:
            return f"{name} has {path.stat().st_size} bytes, {expected['num_bytes']} were written"
        if _sha256(path) != expected["sha256"]:
            return f"{name} has another checksum than was written"
    return None


def new_state() -> TrainState:
    """Where a run that has not begun stands."""
    return TrainState(max_steps_alone=True)


def read_state(folder: Path) -> TrainState:
    """The train state of a verified checkpoint."""
    return TrainState(**parse_json((folder / "state" / "train_state.json").read_text()))


def set_link(run_dir: Path, name: str, folder: Path) -> None:
    """Point `checkpoints/NAME` ("best", "last") at a checkpoint, in one step; relative, so that a moved run keeps it."""
    link = run_dir / "checkpoints" / name
    part = link.with_name(f".{name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(folder.name)
    part.replace(link)


def apply_retention(run_dir: Path, *, keep_last: int, best_steps: Collection[int]) -> None:
    """Remove all but the last `keep_last` checkpoints and the best ones, and what a killed process left half written."""
    kept = {checkpoint_path(run_dir, step).name for step in best_steps}
    for folder in list_checkpoints(run_dir)[:-keep_last]:
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    for part in (run_dir / "checkpoints").glob(".step_*.part"):
        shutil.rmtree(part, ignore_errors=True)


def _inventory(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): {"num_bytes": p.stat().st_size, "sha256": _sha256(p)} for p in files}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        else:
            _sync_directory(path)
    _sync_directory(folder)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_reason(error: Exception) -> str | None:
    """Why a write failed, in words, where the disk is to blame. safetensors and torch wrap the system's error in text."""
    text = str(error)
    if (
        getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        or "No space left" in text
        or "os error 28" in text
    ):
        return "the disk is full"
    if "PytorchStreamWriter failed" in text or "unexpected pos" in text:
        return "the disk is full or went away"
    if isinstance(error, PermissionError):
        return "the folder is not writable"
    return f"the disk failed ({error})" if isinstance(error, OSError) else None
