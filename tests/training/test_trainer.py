"""The training loop on a random two-layer model: exact resume, patience, what stops a run."""

import json
import math
import os
import re
import signal
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.data.training_data import TrainingData
from qasr_train.errors import ConfigError, DataError, TrainingError
from qasr_train.training.checkpoint import TrainState, latest_checkpoint
from qasr_train.training.saving import describe_result
from qasr_train.training.settings import GuardConfig, OnNonFinite, OnWorse, TrainerConfig
from qasr_train.training.trainer import Trainer
from tests.helpers_trainer import FULL, lora, losses, make_trainer, weights


@pytest.mark.parametrize(("family", "adapt"), [("qwen3_asr", "full"), ("qwen3_asr", "lora"), ("whisper", "lora")])
def test_stopping_and_resuming_equals_the_straight_run(tmp_path: Path, utterances, family: str, adapt: str):
    config = FULL if adapt == "full" else lora(dropout=0.2)  # a resume must also restore the random generators
    settings: dict[str, Any] = {"family": family, "adapt": config, "num_steps": 6}
    rows = [replace(one, language=None) if one.id == "u3" else one for one in utterances]
    straight = make_trainer(tmp_path / "straight", rows, save_every=100, **settings)
    straight.train()

    first = make_trainer(tmp_path / "resumed", rows, save_every=3, **settings)
    first.accelerator.wait_for_everyone()
    with pytest.raises(TrainingError, match="interrupted after step 4 of 6; saved; .*resume=true"):
        stop_in(first, 4).train()
    second = make_trainer(tmp_path / "resumed", rows, save_every=3, **settings)
    checkpoint = latest_checkpoint(tmp_path / "resumed")
    assert checkpoint is not None
    assert checkpoint.name == "step_000004"
    assert steps_on_page(tmp_path / "resumed") == [1, 2, 3, 4]
    second.train(checkpoint)
    assert steps_on_page(tmp_path / "resumed") == [1, 2, 3, 4, 5, 6]

    assert losses(tmp_path / "resumed") == losses(tmp_path / "straight")
    assert len(losses(tmp_path / "straight")) == 6
    for name, expected in weights(straight).items():
        assert torch.equal(weights(second)[name], expected), name


def steps_on_page(run_dir: Path) -> list[int]:
    """Whose training loss the page of the run shows."""
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    return [int(step) for step in re.findall(r"<title>training, step (\d+): ", page)]


def stop_in(trainer: Trainer, number: int) -> Trainer:
    """The trainer, which the interrupt signal reaches in this step, as Ctrl-C would."""
    lr_factor = trainer.step.lr_factor

    def factor_and_interrupt(num_done: int) -> float:
        if num_done + 1 == number:
            os.kill(os.getpid(), signal.SIGINT)
        return lr_factor(num_done)

    return replace(trainer, step=replace(trainer.step, lr_factor=factor_and_interrupt))


def test_unreadable_audio_is_listed_and_past_its_share_stops(tmp_path: Path, utterances):
    broken = replace(utterances[3], audio=str(tmp_path / "gone.wav"))
    rows = [*utterances[:3], broken, *utterances[4:]]
    tolerant = make_trainer(tmp_path / "tolerant", rows, num_steps=9, max_failed_fraction=0.5)
    state = tolerant.train()
    assert state.num_failed >= 1
    listed = [json.loads(line) for line in (tmp_path / "tolerant" / "failed_audio.jsonl").read_text().splitlines()]
    assert {row["id"] for row in listed} == {"u3"}
    assert "gone.wav" in listed[0]["reason"]
    told = describe_result(tmp_path / "tolerant", state)
    assert told.startswith(
        f"done: 9 steps, {state.audio_s / 3600:.2f} h of audio; warning: unreadable recordings were left out "
        f"({state.num_failed}, counted in each epoch), see {tmp_path / 'tolerant' / 'failed_audio*.jsonl'}; evaluate it with "
        f"model.path={tmp_path / 'tolerant' / 'checkpoints' / 'last'}"
    )
    assert "left out" not in describe_result(tmp_path, replace(state, num_failed=0))

    strict = make_trainer(tmp_path / "strict", rows, num_steps=9)
    with pytest.raises(DataError, match=r"clips could not be read, over data.max_failed_fraction=0"):
        strict.train()


def test_the_best_checkpoint_is_kept_and_patience_ends_the_run(tmp_path: Path, utterances):
    figures = iter([9.0, 5.0, 3.0, 4.0, 4.5, 1.0])
    trainer = make_trainer(
        tmp_path,
        utterances,
        num_steps=50,
        validate_every=1,
        patience=2,
        keep_last=1,
        validate=lambda step: {"dev/error_rate": next(figures), "dev/loss_nats": 0.0},
    )
    state = trainer.train()
    # 9 before the first step is the baseline; 5, 3 improve; 4 and 4.5 do not: two validations without gain
    assert (state.step, state.best_step, state.best_value) == (4, 2, 3.0)
    assert (tmp_path / "checkpoints" / "best").resolve().name == "step_000002"
    kept = sorted(p.name for p in (tmp_path / "checkpoints").glob("step_*"))
    assert kept == ["step_000002", "step_000004"]


def test_a_guard_ends_the_run_saved_and_a_wider_margin_goes_on_with_what_was_counted(
    tmp_path: Path, utterances, capsys: pytest.CaptureFixture
):
    def guarded(margin: float) -> Trainer:
        watch = GuardConfig(action=OnWorse.stop, patience=2, deletion_points=margin)
        # Deletions by step; the error rate falls all the time.
        figures = {"dev/error_rate": 0.0, "dev/loss_nats": 1.0}
        deletions = [2.0, 2.5, 5.0, 5.0, 2.0]
        return make_trainer(
            tmp_path,
            utterances,
            num_steps=4,
            validate_every=1,
            guard=watch,
            validate=lambda step: figures | {"dev/error_rate": 9.0 - step, "dev/a/deletion_percent": deletions[step]},
        )

    state = guarded(1.0).train()
    assert (state.step, state.best_step) == (3, 1)
    assert "guard, step 3: dev/a/deletion_percent 2.00 before training, now 5.00" in capsys.readouterr().out
    checkpoint = latest_checkpoint(tmp_path)
    assert guarded(1.0).train(checkpoint).step == 3, "it stays stopped"
    state = guarded(4.0).train(checkpoint)
    assert (state.step, state.best_step, state.num_past_margin) == (4, 4, {})


def test_the_page_of_the_run_is_current_at_every_validation_and_what_comes_in_its_way_stops_nothing(
    tmp_path: Path, utterances, caplog
):
    page, seen = tmp_path / "report.html", []

    def validate(step: int) -> dict[str, float]:
        seen.append(re.search(r"Step \d|No line", page.read_text())[0] if page.is_file() else None)
        if step == 2:
            page.unlink()
            (page / "in the way").mkdir(parents=True)
        return {"dev/error_rate": 1.0, "dev/loss_nats": 1.0, "dev/main/error_rate": 1.0}

    state = make_trainer(tmp_path, utterances, num_steps=3, validate_every=1, validate=validate).train()
    assert state.step == 3
    # Before each validation stands what was known after the one before.
    assert seen == [None, "Step 0", "Step 1", None]
    assert caplog.text.count("report.html: cannot be written") == 1


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
def test_training_learns(tmp_path: Path, utterances, family: str):
    trainer = make_trainer(tmp_path, utterances, family=family, num_steps=40)
    trainer.train()
    history = losses(tmp_path)
    assert sum(history[-5:]) < 0.6 * sum(history[:5])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_epochs": None}, "would never end"),
        ({"max_steps": 5, "precision": "fp16"}, "overflows"),
    ],
)
def test_contradicting_settings_are_refused(settings: dict, words: str):
    from qasr_train.run.settings import Precision

    if "precision" in settings:
        settings = settings | {"precision": Precision(settings["precision"])}
    with pytest.raises(ConfigError, match=words):
        TrainerConfig(**settings)


def test_planning_an_epoch_counts_as_waiting_for_data(tmp_path: Path, utterances, monkeypatch: pytest.MonkeyPatch):
    trainer = make_trainer(tmp_path, utterances)
    plan = TrainingData.num_steps
    monkeypatch.setattr(TrainingData, "num_steps", lambda data, epoch: time.sleep(0.3) or plan(data, epoch))
    assert next(iter(trainer._steps(TrainState()))).wait_s >= 0.3


def test_too_many_skipped_steps_in_a_row_stop_the_run_and_a_good_one_between_starts_the_count_anew(
    tmp_path: Path, utterances, caplog
):
    def run(name: str, bad_steps: set[int]) -> Trainer:
        trainer = make_trainer(
            tmp_path / name, utterances, num_steps=8, on_non_finite=OnNonFinite.skip, max_skipped_in_row=2
        )
        whole_objective, numbers = trainer.step.objective, count()

        def objective(model, batch):
            if next(numbers) in bad_steps:
                batch.input_features[0, 0, 0] = math.nan
            return whole_objective(model, batch)

        return replace(trainer, step=replace(trainer.step, objective=objective))

    state = run("apart", {1, 2, 4, 5}).train()
    assert (state.step, state.num_skipped, state.num_skipped_in_row) == (8, 4, 0)
    assert len(losses(tmp_path / "apart")) == 4
    assert "NaN" not in (tmp_path / "apart" / "metrics.jsonl").read_text()
    assert caplog.text.count("is skipped, its loss is nan; utterances: u") == 4
    with pytest.raises(TrainingError, match=r"3 steps in a row, up to step 4, over trainer.max_skipped_in_row=2"):
        run("in_row", {1, 2, 3}).train()
