"""What a run keeps of itself: checkpoints, links, the best and the last of them, and what it says at its end."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

from qasr_train.errors import ConfigError
from qasr_train.training.checkpoint import TrainState
from qasr_train.training.saving import claim_run, describe_result
from tests.helpers_trainer import launch, make_trainer


def test_a_checkpoint_loads_with_plain_transformers(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances, num_steps=1)
    trainer.train()
    folder = tmp_path / "checkpoints" / "last"
    model = Qwen3ASRForConditionalGeneration.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor).__name__ == "Qwen3ASRProcessor"
    for name, expected in trainer.step.shared.model.core.state_dict().items():
        assert torch.equal(model.state_dict()[name], expected), name


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (4.0, "done: 7 steps, 1.00 h of audio; best"),
        (3.0, "of audio; warning: no checkpoint is better on the dev sets than the model was before training; best"),
        (None, "of audio; best"),
    ],
)
def test_the_result_says_whether_it_is_better_than_the_model_before(before: float | None, said: str):
    state = TrainState(step=7, audio_s=3600.0, value_before=before, best=[[3.0, 5]])
    told = describe_result(Path("runs/x"), state)
    assert said in told and told.endswith("; best at step 5; evaluate it with model.path=runs/x/checkpoints/best")
    assert ("warning" in told) is (before == 3.0)


def test_the_best_k_are_kept_beside_the_last(tmp_path: Path, utterances):
    figures = iter([9.0, 5.0, 3.0, 4.0, 8.0, 7.0])
    trainer = make_trainer(
        tmp_path,
        utterances,
        num_steps=5,
        validate_every=1,
        keep_last=1,
        keep_best=3,
        validate=lambda step: {"dev/error_rate": next(figures), "dev/loss_nats": 0.0},
    )
    state = trainer.train()
    assert state.best == [[3.0, 2], [4.0, 3], [5.0, 1]]
    kept = sorted(p.name for p in (tmp_path / "checkpoints").glob("step_*"))
    assert kept == ["step_000001", "step_000002", "step_000003", "step_000005"]
    assert (tmp_path / "checkpoints" / "best").resolve().name == "step_000002"


def test_links_that_a_kill_left_behind_are_set_when_the_run_goes_on(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances, num_steps=3, save_every=1)
    trainer.train()
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / "last").unlink()
    (checkpoints / "last").symlink_to("step_000002")
    make_trainer(tmp_path, utterances, num_steps=3, save_every=1).train(checkpoints / "step_000003")
    assert (checkpoints / "last").resolve().name == "step_000003"


def test_a_step_is_saved_once(tmp_path: Path, utterances):
    saver = make_trainer(tmp_path, utterances).saver
    folder = saver.save(TrainState(step=1))
    written_ns = (folder / "checkpoint.json").stat().st_mtime_ns
    assert saver.save(TrainState(step=1)) == folder
    assert (folder / "checkpoint.json").stat().st_mtime_ns == written_ns
    assert saver.save(TrainState(step=2)).name == "step_000002"


@dataclass
class Settings:
    """Of a run, as far as its record needs one."""

    speed: float = 1.0


def test_a_run_is_claimed_once_and_found_again_with_its_newest_checkpoint(tmp_path: Path, utterances):
    run_dir, accelerator = tmp_path / "run", launch(tmp_path)

    def claimed(settings: Settings, *, resume: bool) -> Path | None:
        with claim_run(str(run_dir), settings, accelerator, resume=resume, may_change=()) as (folder, checkpoint):
            assert folder == run_dir
            return checkpoint

    assert claimed(Settings(), resume=True) is None, "a run that was never started is started"
    with pytest.raises(ConfigError, match="exists and is not empty; choose another run_dir, or set resume=true"):
        claimed(Settings(), resume=False)
    make_trainer(run_dir, utterances).saver.save(TrainState(step=3))
    assert claimed(Settings(), resume=True) == run_dir / "checkpoints" / "step_000003"
    with pytest.raises(ConfigError, match="speed"):
        claimed(Settings(speed=2.0), resume=True)
