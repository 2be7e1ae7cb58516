"""What a run keeps of itself: checkpoints, links, the best and the last of them, and what it says at its end."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

from qasr_train.errors import ConfigError
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.run.directory import read_run
from qasr_train.training.checkpoint import TrainState, read_state
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


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"dev/a/error_rate": 40.0, "dev/a/broken_percent": 30.0}, None),
        (
            {"dev/a/error_rate": 90.0},
            "on dev set a the error rate stays at 90.0 %: nothing was learned; try another rate",
        ),
        (
            {"dev/b/error_rate": 55.0, "dev/b/broken_percent": 30.5},
            "on dev set b 30.5 % of the outputs are broken: nothing was learned; try another rate",
        ),
        (
            {"dev/error_rate": 60.0, "dev/a/error_rate": 100.0, "dev/a/broken_percent": 88.0, "dev/b/error_rate": 5.0},
            "on dev set a the error rate stays at 100.0 % and 88.0 % of the outputs are broken: nothing was learned; try",
        ),
    ],
)
def test_the_result_says_that_nothing_was_learned(figures: dict[str, float], said: str | None):
    told = describe_result(Path("runs/x"), TrainState(step=7, best=[[60.0, 5]], dev_at_best=figures))
    assert (said is not None and said in told) or (said is None and "nothing was learned" not in told)
    assert told.count("warning") == (said is not None)


def test_the_figures_at_the_best_step_are_kept(tmp_path: Path, utterances):
    rates = iter([95.0, 91.0, 93.0])
    trainer = make_trainer(
        tmp_path,
        utterances,
        num_steps=3,
        validate_every=1,
        keep_best=1,
        validate=lambda step: {"dev/error_rate": (rate := next(rates)), "dev/s/error_rate": rate, "dev/loss_nats": 0.0},
        validate_at_start=False,
    )
    state = trainer.train()
    assert (state.best_step, state.dev_at_best["dev/s/error_rate"]) == (2, 91.0)
    assert read_state(tmp_path / "checkpoints" / "last").dev_at_best == state.dev_at_best
    assert "on dev set s the error rate stays at 91.0 %" in describe_result(tmp_path, state)


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
    run_dir, accelerator, base = tmp_path / "run", launch(tmp_path), Qwen3ASRConfig(path=str(tmp_path / "base"))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(b"weights")

    def claimed(settings: Settings, *, resume: bool) -> Path | None:
        with claim_run(str(run_dir), settings, accelerator, model=base, resume=resume, may_change=()) as (
            folder,
            checkpoint,
        ):
            assert folder == run_dir
            return checkpoint

    assert claimed(Settings(), resume=True) is None, "a run that was never started is started"
    with pytest.raises(ConfigError, match="exists and is not empty; choose another run_dir, or set resume=true"):
        claimed(Settings(), resume=False)
    make_trainer(run_dir, utterances).saver.save(TrainState(step=3))
    assert claimed(Settings(), resume=True) == run_dir / "checkpoints" / "step_000003"
    with pytest.raises(ConfigError, match="speed"):
        claimed(Settings(speed=2.0), resume=True)
    (tmp_path / "base" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ConfigError, match="resume: the files of model.path are not those .* was begun with"):
        claimed(Settings(), resume=True)
    assert "base_files" in read_run(run_dir)
