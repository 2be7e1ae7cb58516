"""The training loop on a random two-layer Qwen3-ASR: the sum/count rule, exact resume, refusal of non-finite steps."""

import json
import math
import os
import signal
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

from qasr_train.data.training_data import TrainingData
from qasr_train.errors import ConfigError, DataError, TrainingError
from qasr_train.manifest import Utterance
from qasr_train.objectives.base import Objective
from qasr_train.training.checkpoint import TrainState, latest_checkpoint
from qasr_train.training.saving import describe_result
from qasr_train.training.settings import OnNonFinite, TrainerConfig
from qasr_train.training.step import OptimizerStep
from qasr_train.training.trainer import Trainer
from tests.helpers_model import tiny_model
from tests.helpers_trainer import FULL, gradients_of_one_step, load, lora, losses, make_clips, make_trainer, weights


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Twelve clips of 0.4 to 2.6 s, each its own tone and words."""
    return make_clips(tmp_path_factory.mktemp("clips"))


def test_microbatches_of_unequal_lengths_change_neither_loss_nor_gradient(tmp_path: Path, utterances):
    rows = utterances[:4]
    whole_loss, whole = gradients_of_one_step(make_trainer(tmp_path / "a", utterances, max_grad_norm=None), [rows])
    split_loss, split = gradients_of_one_step(
        make_trainer(tmp_path / "b", utterances, max_grad_norm=None), [rows[:1], rows[1:]]
    )
    assert split_loss == pytest.approx(whole_loss, rel=1e-6)
    assert whole.keys() == split.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(split[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_models_own_over_the_target(tmp_path: Path, utterances):
    """Against transformers' loss on the same labels: full logits, its own shift and mean."""
    rows = utterances[2:5]
    ours, _ = gradients_of_one_step(make_trainer(tmp_path / "a", utterances), [rows])
    model, trainer = tiny_model(), make_trainer(tmp_path, utterances)
    batch = load(trainer, rows)
    theirs = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        input_features=batch.input_features,
        input_features_mask=batch.input_features_mask,
        labels=batch.labels,
    ).loss.detach()
    assert ours == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("adapt", ["full", "lora"])
def test_stopping_and_resuming_equals_the_straight_run(tmp_path: Path, utterances, adapt: str):
    config = FULL if adapt == "full" else lora(dropout=0.2)  # a resume must also restore the random generators
    straight = make_trainer(tmp_path / "straight", utterances, adapt=config, num_steps=6, save_every=100)
    straight.train()

    first = make_trainer(tmp_path / "resumed", utterances, adapt=config, num_steps=6, save_every=3)
    first.accelerator.wait_for_everyone()
    with pytest.raises(TrainingError, match="interrupted after step 4 of 6; saved; .*resume=true"):
        stop_in(first, 4).train()
    second = make_trainer(tmp_path / "resumed", utterances, adapt=config, num_steps=6, save_every=3)
    checkpoint = latest_checkpoint(tmp_path / "resumed")
    assert checkpoint is not None
    assert checkpoint.name == "step_000004"
    second.train(checkpoint)

    assert losses(tmp_path / "resumed") == losses(tmp_path / "straight")
    assert len(losses(tmp_path / "straight")) == 6
    for name, expected in weights(straight).items():
        assert torch.equal(weights(second)[name], expected), name


def stop_in(trainer: Trainer, number: int) -> Trainer:
    """The trainer, which the interrupt signal reaches in this step, as Ctrl-C would."""
    lr_factor = trainer.step.lr_factor

    def factor_and_interrupt(num_done: int) -> float:
        if num_done + 1 == number:
            os.kill(os.getpid(), signal.SIGINT)
        return lr_factor(num_done)

    return replace(trainer, step=replace(trainer.step, lr_factor=factor_and_interrupt))


def with_objective(trainer: Trainer, objective: Objective) -> OptimizerStep:
    """The trainer's step with another loss."""
    return replace(trainer.step, objective=objective)


def test_a_checkpoint_loads_with_plain_transformers(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances, num_steps=1)
    trainer.train()
    folder = tmp_path / "checkpoints" / "last"
    model = Qwen3ASRForConditionalGeneration.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor).__name__ == "Qwen3ASRProcessor"
    for name, expected in trainer.step.shared.model.core.state_dict().items():
        assert torch.equal(model.state_dict()[name], expected), name


def test_a_non_finite_loss_stops_before_the_update_and_names_the_utterances(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances)
    before = weights(trainer)
    bad = load(trainer, utterances[:2])
    bad.input_features[0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match=r"the loss of step 1 is nan; nothing was updated; .*u0, u1"):
        trainer.step([bad], 0)
    assert all(torch.equal(before[name], p) for name, p in weights(trainer).items())


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


def test_training_learns(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances, num_steps=40)
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


def test_out_of_memory_names_the_padded_seconds(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances)

    def exhaust(model, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match=r"a microbatch of 2 clips, 1 padded seconds; lower data.batch_seconds"):
        with_objective(trainer, exhaust)([load(trainer, utterances[:2])], 0)


def test_planning_an_epoch_counts_as_waiting_for_data(tmp_path: Path, utterances, monkeypatch: pytest.MonkeyPatch):
    trainer = make_trainer(tmp_path, utterances)
    plan = TrainingData.num_steps
    monkeypatch.setattr(TrainingData, "num_steps", lambda data, epoch: time.sleep(0.3) or plan(data, epoch))
    assert next(iter(trainer._steps(TrainState()))).wait_s >= 0.3


def test_an_allocation_that_fails_on_a_cpu_is_told_the_same_way(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances)

    class Greedy(torch.autograd.Function):
        """Asks for more than any machine has, in the backward pass."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return torch.empty(2**50) * gradient

    whole_objective = trainer.step.objective

    def objective(model, batch):
        loss = whole_objective(model, batch)
        return replace(loss, total=Greedy.apply(loss.total))

    with pytest.raises(TrainingError, match=r"out of memory on a microbatch of 2 clips, 1 padded seconds"):
        with_objective(trainer, objective)([load(trainer, utterances[:2])], 0)


def test_another_error_of_torch_is_not_called_out_of_memory(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances)

    def break_down(model, batch):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        with_objective(trainer, break_down)([load(trainer, utterances[:2])], 0)


def test_a_non_finite_gradient_is_skipped_as_a_loss_is_and_training_goes_on(tmp_path: Path, utterances):
    """A loss may be finite and its gradient not: the square root at zero."""
    trainer = make_trainer(tmp_path, utterances, on_non_finite=OnNonFinite.skip)
    whole_objective, before = trainer.step.objective, weights(trainer)

    def objective(model, batch):
        loss = whole_objective(model, batch)
        return replace(loss, total=loss.total + (loss.total - loss.total).sqrt())

    result = with_objective(trainer, objective)([load(trainer, utterances[:2])], 0)
    assert result.is_skipped and math.isfinite(result.loss_nats)
    assert all(torch.equal(before[name], p) for name, p in weights(trainer).items())
    assert not any(trainer.step.shared.optimizer.state.values())
    assert not trainer.step([load(trainer, utterances[:2])], 1).is_skipped
    assert all(bool(p.isfinite().all()) for p in weights(trainer).values())


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

        return replace(trainer, step=with_objective(trainer, objective))

    state = run("apart", {1, 2, 4, 5}).train()
    assert (state.step, state.num_skipped, state.num_skipped_in_row) == (8, 4, 0)
    assert len(losses(tmp_path / "apart")) == 4
    assert "NaN" not in (tmp_path / "apart" / "metrics.jsonl").read_text()
    assert caplog.text.count("is skipped, its loss is nan; utterances: u") == 4
    with pytest.raises(TrainingError, match=r"3 steps in a row, up to step 4, over trainer.max_skipped_in_row=2"):
        run("in_row", {1, 2, 3}).train()


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
