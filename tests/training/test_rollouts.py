"""Steps on hypotheses: drawn by seed, step and clip; one update however they are cut; nothing learned where all are alike."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.batch import Batch
from qasr_train.models.settings import AdaptConfig
from qasr_train.objectives.rollout_settings import DrawnBy, GSPOConfig, HypothesesConfig, MWERConfig, RatioLevel
from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.settings import RewardRules
from qasr_train.rewards.table import Rewards
from qasr_train.training.checkpoint import checkpoint_path
from qasr_train.training.trainer import Trainer
from tests.helpers_trainer import first_epoch_trainer, gradients_of_one_step, load, lora, make_trainer, weights

MWER = MWERConfig(num_hypotheses=3)
BEAM = MWERConfig(num_hypotheses=3, drawn_by=DrawnBy.beam)
GRPO = GSPOConfig(num_hypotheses=3, level=RatioLevel.token, clip_low=0.2, clip_high=0.2, updates_per_rollout=2)


def with_reward(trainer: Trainer, reward: Callable[[Asked, Hypothesis], float | None]) -> Trainer:
    """The trainer with a reward of the test's own."""
    rollouts = replace(trainer.step.rollouts, rewards=Rewards({"own": 1.0}, {"own": reward}))
    return replace(trainer, step=replace(trainer.step, rollouts=rollouts))


def pooled(trainer: Trainer) -> dict[str, Any]:
    rows = [json.loads(line) for line in (trainer.saver.run_dir / "metrics.jsonl").read_text().splitlines()]
    return next(row for row in rows if "train/loss_nats" in row)


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
@pytest.mark.parametrize("objective", [MWER, GRPO, BEAM], ids=["mwer", "grpo", "beam"])
def test_microbatches_give_the_update_of_one_batch(
    tmp_path: Path, utterances: list[Any], objective: HypothesesConfig, family: str
) -> None:
    found = []
    for split in ([utterances[:4]], [utterances[3:4], utterances[:1], utterances[1:3]]):
        trainer = make_trainer(
            tmp_path, utterances, adapt=lora(), family=family, hypotheses=replace(objective), max_grad_norm=None
        )
        found.append(gradients_of_one_step(trainer, split))
    (loss, gradients), (cut_loss, cut) = found
    assert cut_loss == pytest.approx(loss, rel=1e-4, abs=1e-6)
    assert sum(float(g.abs().sum()) > 0 for g in gradients.values()) > len(gradients) // 2
    highest = max(float(one.abs().max()) for one in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(cut[name], gradient, rtol=1e-3, atol=1e-5 * highest, msg=name)


def test_stopped_and_resumed_equals_straight_through(tmp_path: Path, utterances: list[Any]) -> None:
    settings: dict[str, Any] = {"adapt": lora(dropout=0.1), "hypotheses": GRPO, "num_steps": 2, "save_every": 1}
    straight = make_trainer(tmp_path / "straight", utterances[:4], **settings)
    straight.train()
    replace(make_trainer(tmp_path / "resumed", utterances[:4], **settings), num_steps=1).train()
    resumed = make_trainer(tmp_path / "resumed", utterances[:4], **settings)
    resumed.train(checkpoint_path(tmp_path / "resumed", 1))
    assert all(torch.equal(weights(resumed)[name], tensor) for name, tensor in weights(straight).items())


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
def test_a_frozen_encoder_hears_every_clip_once_a_step_and_the_update_is_the_same(
    tmp_path: Path, utterances: list[Any], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = AdaptConfig(trainable=["decoder.*"])
    found, num_heard = [], []
    for shares in (True, False):
        trainer = make_trainer(
            tmp_path, utterances, adapt=frozen, family=family, hypotheses=replace(MWER), max_grad_norm=None
        )
        rollouts = trainer.step.rollouts
        assert rollouts.shares_encoding
        trainer = replace(trainer, step=replace(trainer.step, rollouts=replace(rollouts, shares_encoding=shares)))
        core: Any = trainer.step.shared.model.core.model  # type: ignore[attr-defined]
        convolution = core.audio_tower.conv_out if family == "qwen3_asr" else core.encoder.conv1
        calls: list[int] = []
        convolution.register_forward_hook(lambda *given, calls=calls: calls.append(1))
        found.append(gradients_of_one_step(trainer, [utterances[:2], utterances[2:4]]))
        num_heard.append(len(calls))
    assert num_heard[0] and num_heard[1] == 2 * num_heard[0]  # there also where the hypotheses are learned
    (loss, gradients), (other_loss, others) = found
    assert loss == pytest.approx(other_loss, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-4, atol=1e-7, msg=name)


def test_an_encoder_that_is_trained_is_heard_anew(tmp_path: Path, utterances: list[Any]) -> None:
    assert not make_trainer(tmp_path, utterances, adapt=lora(), hypotheses=MWER).step.rollouts.shares_encoding


def test_terms_of_a_row_are_those_that_its_context_offers(tmp_path: Path, utterances: list[Any]) -> None:
    given = replace(MWER, rewards={"term_precision": 1.0}, reward_rules=RewardRules(row_terms=True))
    trainer = make_trainer(tmp_path, utterances, hypotheses=given)
    batch = load(trainer, utterances[:2])
    batch.references[0] = replace(batch.references[0], context="small pills, fox; a day")
    asked = [trainer.step.rollouts._asked(batch, clip).terms for clip in range(2)]
    assert asked == [("small pills", "fox", "a day"), ()]
    _, figures = trainer.step.rollouts([batch], 0)
    assert figures.pooled["reward/term_precision"][1] == 3  # the three hypotheses of the clip that has terms


def test_later_epochs_are_drawn_by_what_the_first_has_heard_also_after_a_stop_within_it(
    tmp_path: Path, utterances: list[Any]
) -> None:
    straight = first_epoch_trainer(tmp_path / "straight", utterances, 5)
    steps_an_epoch = straight.data.num_steps(0)
    assert 1 < steps_an_epoch < 4
    straight.train()
    percents = straight.data.pools["main"].draws.percents
    assert straight.data.pools["main"].draws.begins == 1 and len(set(percents.tolist())) > 1
    for stop in (1, steps_an_epoch, steps_an_epoch + 1):
        folder = tmp_path / f"stopped{stop}"
        replace(first_epoch_trainer(folder, utterances, 5), num_steps=stop).train()
        resumed = first_epoch_trainer(folder, utterances, 5)
        resumed.train(checkpoint_path(folder, stop))
        assert resumed.data.pools["main"].draws.percents.tolist() == percents.tolist()
        assert all(torch.equal(weights(resumed)[name], tensor) for name, tensor in weights(straight).items())


def test_an_ear_tells_the_mean_error_rate_of_a_clips_hypotheses(tmp_path: Path, utterances: list[Any]) -> None:
    trainer = first_epoch_trainer(tmp_path, utterances, 5)
    batch = load(trainer, utterances[:1])
    (drawn,) = trainer.step.rollouts._draw(batch, 0)
    texts = ["the quick", "the", "a quick day"]  # of "the quick": 0, 1 and 2 errors, of two words
    drawn = replace(
        drawn,
        draws=[replace(one, said=replace(one.said, text=text)) for one, text in zip(drawn.draws, texts, strict=True)],
    )
    batch.references[0] = replace(batch.references[0], text="the quick")
    asked = trainer.step.rollouts._asked(batch, 0)
    heard = trainer.step.rollouts.ear(batch, 0, asked, drawn)
    assert (heard.id, heard.percent) == ("u0", pytest.approx((0 + 50 + 100) / 3))
    silent = trainer.step.rollouts.ear(batch, 0, replace(asked, reference=""), drawn)
    assert silent.percent == pytest.approx((200 + 100 + 300) / 3)


def test_draws_belong_to_seed_step_and_clip(tmp_path: Path, utterances: list[Any]) -> None:
    trainer = make_trainer(tmp_path, utterances, hypotheses=MWER)
    rollouts, batch = trainer.step.rollouts, load(trainer, utterances[:3])

    def said(rollouts: Any, batch: Batch, number: int) -> dict[str, list[tuple[int, ...]]]:
        drawn = rollouts._draw(batch, number)
        return {name: [draw.ids for draw in one.draws] for name, one in zip(batch.ids, drawn, strict=True)}

    first = said(rollouts, batch, 7)
    assert said(rollouts, load(trainer, utterances[2:0:-1]), 7) == {name: first[name] for name in ("u2", "u1")}
    for other in (said(rollouts, batch, 8), said(replace(rollouts, seed=1), batch, 7)):
        assert all(other[name][0] == ids[0] for name, ids in first.items())  # the greedy one
        assert all(other[name][1:] != ids[1:] for name, ids in first.items())


def test_equal_rewards_change_nothing(tmp_path: Path, utterances: list[Any]) -> None:
    objective = replace(GRPO, cross_entropy_weight=0.0)
    trainer = with_reward(make_trainer(tmp_path, utterances, hypotheses=objective), lambda asked, said: 0.5)
    before = weights(trainer)
    result = trainer.step([load(trainer, utterances[:3])], 0)
    assert all(torch.equal(weights(trainer)[name], tensor) for name, tensor in before.items())
    assert (result.loss_nats, result.pooled["taught_nothing_fraction"]) == (0.0, (3.0, 3.0))


def test_a_reward_makes_what_it_likes_likelier(tmp_path: Path, utterances: list[Any]) -> None:
    settings = MWERConfig(num_hypotheses=4, cross_entropy_weight=0.0, temperature=2.0)
    trainer = make_trainer(tmp_path, utterances, hypotheses=settings)
    trainer = with_reward(trainer, lambda asked, said: float(len(set(said.text))))
    batch = load(trainer, utterances[:4])
    learned, _ = trainer.step.rollouts([batch], 0)
    model, objective = trainer.step.shared.model, trainer.step.objective
    before = float(objective(model, learned[0]).total.detach())
    trainer.step([batch], 0)  # on the same hypotheses
    assert float(objective(model, learned[0]).total.detach()) < before - 1e-3


def test_a_clip_that_cannot_be_judged_is_in_no_mean(tmp_path: Path, utterances: list[Any]) -> None:
    trainer = make_trainer(tmp_path, utterances, hypotheses=MWER, num_steps=1)
    reference = utterances[0].text
    trainer = with_reward(trainer, lambda asked, said: float(said.num_tokens) if asked.reference == reference else None)
    learned, figures = trainer.step.rollouts([load(trainer, utterances[:3])], 0)
    assert (figures.pooled["reward"][1], figures.pooled["reward/own"][1]) == (1, 3)  # a clip, its three hypotheses
    assert set(learned[0].rollout.clip[~learned[0].rollout.is_reference].tolist()) <= {0}
    assert learned[0].rollout.num_clips == 3


def test_hypotheses_are_drawn_once_for_several_updates(tmp_path: Path, utterances: list[Any]) -> None:
    trainer = make_trainer(
        tmp_path, utterances, hypotheses=replace(GRPO, updates_per_rollout=3, clip_low=1e-6, clip_high=1e-6)
    )
    seen: list[Batch] = []
    objective, updates = trainer.step.objective, []

    def watched(model: Any, batch: Batch) -> Any:
        seen.append(batch)
        return objective(model, batch)

    optimizer_step = trainer.step.shared.optimizer.step
    trainer.step.shared.optimizer.step = lambda: updates.append(optimizer_step())  # type: ignore[method-assign]
    replace(trainer.step, objective=watched)([load(trainer, utterances[:3])], 0)
    assert (len(seen), len(updates)) == (3, 3)
    assert all(torch.equal(batch.input_ids, seen[0].input_ids) for batch in seen)
    assert seen[0].rollout.log_probs is None and torch.equal(seen[1].rollout.log_probs, seen[2].rollout.log_probs)


def test_a_batch_of_which_nothing_could_be_read_is_a_step_all_the_same(tmp_path: Path, utterances: list[Any]) -> None:
    trainer = make_trainer(tmp_path, utterances, hypotheses=replace(MWER, cross_entropy_weight=0.0))
    batch = load(trainer, utterances[:1])
    nothing = replace(batch, ids=[], labels=torch.full_like(batch.labels, -100), references=[])
    result = trainer.step([nothing, load(trainer, utterances[1:3])], 0)
    assert (result.num_targets, result.num_utterances) == (2, 2)


def test_a_run_logs_its_rewards(tmp_path: Path, utterances: list[Any]) -> None:
    trainer = make_trainer(tmp_path, utterances[:4], hypotheses=MWER, num_steps=1)
    trainer.train()
    row = pooled(trainer)
    for name in ("reward", "reward_spread", "greedy_reward", "taught_nothing_fraction", "reward/error_count"):
        assert isinstance(row[f"train/{name}"], float), name
    assert 0 < row["train/rollout_fraction"] < 1 and "train/token_accuracy" not in row
