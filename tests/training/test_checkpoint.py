"""Checkpoints: whole or not there, verified, retained."""

import errno
import json
from pathlib import Path

import pytest

from qasr_train.errors import CheckpointError
from qasr_train.training.checkpoint import (
    TrainState,
    apply_retention,
    find_fault,
    latest_checkpoint,
    list_checkpoints,
    read_state,
    set_link,
    write_checkpoint,
)


def save(run_dir: Path, step: int, *, fails: Exception | None = None) -> Path:
    def save_model(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"weights of step %d" % step)
        if fails:
            raise fails

    return write_checkpoint(
        run_dir,
        TrainState(step=step, epoch=1, audio_s=2.5),
        save_model=save_model,
        save_state=lambda folder: (folder / "optimizer.pt").write_bytes(b"moments") and None,
    )


def test_a_checkpoint_is_read_back_and_verifies(tmp_path: Path):
    folder = save(tmp_path, 7)
    assert find_fault(folder) is None
    assert read_state(folder) == TrainState(step=7, epoch=1, audio_s=2.5)
    assert latest_checkpoint(tmp_path) == folder


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"short"), "has 5 bytes"),
        (lambda f: (f / "model.safetensors").write_bytes(b"Weights of step 2"), "another checksum"),
        (lambda f: (f / "state" / "optimizer.pt").unlink(), "optimizer.pt is missing"),
        (lambda f: (f / "checkpoint.json").write_text("{"), "missing or unreadable"),
    ],
)
def test_a_torn_newest_checkpoint_is_skipped(tmp_path: Path, damage, words: str, caplog):
    first, second = save(tmp_path, 1), save(tmp_path, 2)
    damage(second)
    assert words in (find_fault(second) or "")
    assert latest_checkpoint(tmp_path) == first
    assert "the one before it is used" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, error: Exception):
    before = save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="the disk is full; .*step_000001 is intact"):
        save(tmp_path, 2, fails=error)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_000001"]
    assert find_fault(before) is None


def test_a_damaged_checkpoint_is_replaced_when_its_step_comes_again(tmp_path: Path):
    folder = save(tmp_path, 1)
    (folder / "model.safetensors").write_bytes(b"torn")
    assert save(tmp_path, 1) == folder
    assert find_fault(folder) is None


def test_a_bug_while_saving_is_not_called_a_full_disk(tmp_path: Path):
    with pytest.raises(KeyError):
        save(tmp_path, 1, fails=KeyError("x"))
    assert list_checkpoints(tmp_path) == []


def test_retention_keeps_the_last_and_the_best(tmp_path: Path):
    for step in (1, 2, 3, 4, 5):
        save(tmp_path, step)
    apply_retention(tmp_path, keep_last=2, best_steps=[2])
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_000002", "step_000004", "step_000005"]


def test_links_move_with_the_run(tmp_path: Path):
    run_dir = tmp_path / "run"
    set_link(run_dir, "best", save(run_dir, 1))
    set_link(run_dir, "best", save(run_dir, 2))
    moved = run_dir.rename(tmp_path / "moved")
    state = json.loads((moved / "checkpoints" / "best" / "state" / "train_state.json").read_text())
    assert state["step"] == 2
