"""One optimizer step on a random two-layer model: the sum/count rule, refusal of what is not finite or does not fit."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qasr_train.batch import IGNORED
from qasr_train.errors import TrainingError
from qasr_train.objectives.base import Objective
from qasr_train.training.settings import OnNonFinite
from qasr_train.training.step import OptimizerStep
from qasr_train.training.trainer import Trainer
from tests.helpers_model import tiny_model
from tests.helpers_trainer import gradients_of_one_step, load, make_trainer, weights


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
def test_microbatches_of_unequal_lengths_change_neither_loss_nor_gradient(tmp_path: Path, utterances, family: str):
    rows = utterances[:4]
    one, two = (make_trainer(tmp_path / name, utterances, family=family, max_grad_norm=None) for name in "ab")
    whole_loss, whole = gradients_of_one_step(one, [rows])
    split_loss, split = gradients_of_one_step(two, [rows[:1], rows[1:]])
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


def with_objective(trainer: Trainer, objective: Objective) -> OptimizerStep:
    """The trainer's step with another loss."""
    return replace(trainer.step, objective=objective)


def test_a_non_finite_loss_stops_before_the_update_and_names_the_utterances(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances)
    before = weights(trainer)
    bad = load(trainer, utterances[:2])
    bad.input_features[0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match=r"the loss of step 1 is nan; nothing was updated; .*u0, u1"):
        trainer.step([bad], 0)
    assert all(torch.equal(before[name], p) for name, p in weights(trainer).items())


def test_out_of_memory_names_the_padded_seconds(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances)

    def exhaust(model, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match=r"a microbatch of 2 clips, 1 padded seconds; lower data.batch_seconds"):
        with_objective(trainer, exhaust)([load(trainer, utterances[:2])], 0)


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


@pytest.mark.parametrize(("max_norm", "share"), [(None, 1.0), (0.5, 0.5)])
def test_the_norm_is_told_as_it_was_and_longer_gradients_are_scaled_down(tmp_path: Path, utterances, max_norm, share):
    plain = make_trainer(tmp_path / "plain", utterances, max_grad_norm=None)
    _, gradients = gradients_of_one_step(plain, [utterances[:3]])
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients.values()))
    limit = None if max_norm is None else max_norm * norm
    trainer = make_trainer(tmp_path / "clipped", utterances, max_grad_norm=limit)
    caught: list[torch.Tensor] = []
    parameters = [p for p in trainer.step.shared.model.module.parameters() if p.requires_grad]
    update = lambda: caught.extend(p.grad.clone() for p in parameters if p.grad is not None)  # noqa: E731
    trainer.step.shared.optimizer.step = update  # type: ignore[method-assign]
    assert trainer.step([load(trainer, utterances[:3])], 0).grad_norm == pytest.approx(norm, rel=1e-5)
    for gradient, expected in zip(caught, gradients.values(), strict=True):
        torch.testing.assert_close(gradient, share * expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
def test_a_step_without_any_target_updates_nothing(tmp_path: Path, utterances, family: str):
    trainer = make_trainer(tmp_path, utterances, family=family)
    before, batch = weights(trainer), load(trainer, utterances[:2])
    assert batch.labels is not None
    result = trainer.step([replace(batch, labels=torch.full_like(batch.labels, IGNORED))], 0)
    assert (result.num_targets, result.loss_nats, result.is_skipped) == (0, 0.0, False)
    assert all(torch.equal(before[name], p) for name, p in weights(trainer).items())
    assert not trainer.step.shared.optimizer.state
