"""The pull towards the base: its value by hand, which rows it acts on, what the base is, and what is refused."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.batch import Batch, Recording, Rollout
from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import load_config
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.base import TargetStates, Trainable
from qasr_train.models.blocks.sampling import rows_of, with_rows
from qasr_train.models.qwen3_asr.config import Packing
from qasr_train.models.settings import AdaptConfig, LoraSettings, Recompute
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.objectives.kl_to_base import Base, KLToBase, target_places
from qasr_train.objectives.rollout_settings import MWERConfig
from qasr_train.objectives.settings import KLToBaseConfig
from qasr_train.objectives.table import build_objective
from tests.helpers import tone, utterance
from tests.helpers_trainer import tiny_learner

FULL = AdaptConfig(trainable=["*"])
LORA = AdaptConfig(lora=LoraSettings(rank=4, alpha=8, dropout=0.5, decoder=["*_proj"], encoder=["fc?"]))
BOTH = AdaptConfig(lora=LoraSettings(rank=4, alpha=8, decoder=["*_proj"]), trainable=["encoder.*"])
ADAPT = {"lora": LORA, "full": FULL, "both": BOTH}


@dataclass
class Says:
    """A model that gives these logits for the targets of each row, whatever it hears."""

    logits: dict[str, list[list[float]]]
    module: torch.nn.Module

    def __call__(self, batch: Batch, reduce: Callable[[TargetStates], Any]) -> Any:
        rows = torch.log(torch.tensor([row for name in batch.ids for row in self.logits[name]]))
        targets = batch.labels[batch.labels != -100]
        return reduce(TargetStates(rows.requires_grad_(), torch.nn.Identity(), targets, torch.zeros_like(targets)))


def bare_batch(labels: list[list[int]], sources: list[str]) -> Batch:
    tensor = torch.tensor(labels)
    ones = torch.ones_like(tensor)
    features = torch.zeros(len(labels), 1, 1)
    return Batch(
        ids=[f"u{i}" for i in range(len(labels))],
        input_ids=ones,
        attention_mask=ones,
        labels=tensor,
        input_features=features,
        input_features_mask=features[:, 0].long(),
        duration_s=torch.ones(len(labels)),
        sources=sources,
    )


@pytest.mark.parametrize("chunk_rows", [1, 2, None])
def test_value_by_hand_on_two_tokens_and_three_words(chunk_rows: int | None) -> None:
    # Row u0 is learned, u1 replayed: one token each. Cross entropy: -ln 1/2 - ln 1/4 = 3 ln 2.
    # KL of u1, base (1/2 1/4 1/4) against model (1/4 1/4 1/2): 1/2 ln 2 + 1/4 ln 1 + 1/4 ln 1/2 = 1/4 ln 2.
    batch = bare_batch([[-100, 0], [-100, 1]], ["target", "replay"])
    nothing = torch.nn.Identity()
    objective = KLToBase(
        cross_entropy=CrossEntropy(chunk_rows=chunk_rows),
        kl_weight=2.0,
        kl_sources=["replay"],
        base=Base(Says({"u1": [[0.5, 0.25, 0.25]]}, nothing)),  # type: ignore[arg-type]
    )
    model = Says({"u0": [[0.5, 0.25, 0.25]], "u1": [[0.25, 0.25, 0.5]]}, nothing)
    loss = objective(model, batch)
    assert float(loss.total.detach()) == pytest.approx(3 * math.log(2) + 2 * 0.25 * math.log(2), rel=1e-6)
    assert loss.num_targets == 2
    assert float(loss.metrics["kl_nats"]) == pytest.approx(0.25 * math.log(2), rel=1e-6)
    assert int(loss.metrics["num_correct"]) == 1


def test_places_of_a_rows_targets_among_all() -> None:
    batch = bare_batch([[-100, 5, 5], [-100, -100, 5], [-100, 5, 5]], ["", "", ""])
    assert target_places(batch, [0, 2]).tolist() == [0, 1, 3, 4]
    assert target_places(batch, []).tolist() == []


def without_dropout(adapt: AdaptConfig) -> AdaptConfig:
    return replace(adapt, lora=adapt.lora and replace(adapt.lora, dropout=0.0))


def make_model(adapt: AdaptConfig, family: str = "qwen3_asr", **settings: Any) -> tuple[Trainable, KLToBase]:
    model = tiny_learner(family, **settings)
    torch.manual_seed(0)
    model.module = apply_adaptation(model.module, adapt, model.parts)
    objective = build_objective(KLToBaseConfig(kl_weight=0.5, chunk_rows=3), model)
    assert isinstance(objective, KLToBase)
    model.module.train()
    return model, objective


def make_batch(model: Trainable, sources: list[str]) -> Batch:
    words = ["two small pills", "a day", "the quick brown fox", "takes"]
    recordings = [
        Recording(utterance(id=f"u{i}", text=words[i]), tone(0.6 + 0.3 * i, frequency_hz=200.0 + 90 * i), source=source)
        for i, source in enumerate(sources)
    ]
    return replace(model.collator.for_training(recordings), sources=sources)


def move(model: Trainable) -> None:
    """Change what is trained, as steps would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def gradients(model: Trainable, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    named = {n: p for n, p in model.module.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), found, strict=True)}


@pytest.mark.parametrize(
    ("family", "settings"),
    [("qwen3_asr", {"packing": Packing.auto}), ("qwen3_asr", {"packing": Packing.padded}), ("whisper", {})],
)
@pytest.mark.parametrize("adapt", list(ADAPT))
def test_before_the_first_step_there_is_no_divergence(adapt: str, family: str, settings: dict[str, Any]) -> None:
    model, objective = make_model(ADAPT[adapt], family, **settings)
    batch = make_batch(model, ["target", "replay", "replay_french", "target"])
    loss = objective(model, batch)
    assert abs(float(loss.metrics["kl_nats"])) < 1e-5
    assert float(loss.total.detach()) == pytest.approx(float(CrossEntropy()(model, batch).total.detach()), rel=1e-6)
    assert model.module.training


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
@pytest.mark.parametrize("adapt", list(ADAPT))
def test_the_base_stays_what_it_was_while_the_model_moves(adapt: str, family: str) -> None:
    model, objective = make_model(ADAPT[adapt], family)
    batch = make_batch(model, ["replay"] * 4)
    model.module.eval()
    with torch.no_grad():
        before = model(batch).logits
        move(model)
        assert not torch.allclose(model(batch).logits, before, atol=1e-2)
    model.module.train()  # dropout of 0.5 on the adapters must not reach the base
    asked = objective.base._ask(batch, [0, 1, 2, 3])
    torch.testing.assert_close(asked.head(asked.hidden), before, rtol=1e-4, atol=1e-5)
    trained = {id(p) for p in model.parameters()}
    base = objective.base.model
    assert (base is model) is (adapt == "lora")
    if base is not model:
        assert not any(id(p) in trained for p in base.module.parameters())


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
@pytest.mark.parametrize("adapt", ["lora", "full", "both"])
def test_gradients_are_those_of_cross_entropy_and_of_the_divergence_of_replayed_rows(adapt: str, family: str) -> None:
    model, objective = make_model(without_dropout(ADAPT[adapt]), family)
    move(model)
    batch = make_batch(model, ["target", "replay", "target", "replay"])
    found = gradients(model, objective(model, batch).total)
    learned = gradients(model, CrossEntropy()(model, batch).total)
    # The divergence by its definition, of the replayed rows by themselves.
    some = batch.select([1, 3])
    base, now = objective.base._ask(some, [0, 1]).token_logits().logits.double(), model(some).logits.double()
    log_base, log_now = base.log_softmax(-1), now.log_softmax(-1)
    pull = gradients(model, (log_base.exp() * (log_base - log_now)).sum())
    assert max(float(g.abs().max()) for g in pull.values()) > 1e-3
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, learned[name] + 0.5 * pull[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
@pytest.mark.parametrize("adapt", ["lora", "full"])
def test_transcripts_beside_hypotheses_are_held_as_they_are_by_themselves(adapt: str, family: str) -> None:
    model, plain = make_model(without_dropout(ADAPT[adapt]), family)
    objective = build_objective(
        MWERConfig(kl_weight=0.5, kl_sources=["replay*"], cross_entropy_weight=0.0, chunk_rows=3), model
    )
    move(model)
    batch = make_batch(model, ["target", "replay", "replay_french"])
    given = rows_of(batch)
    rows = [
        given[0],
        replace(given[1], target=given[0].target),
        given[1],
        given[2],
    ]  # the second a hypothesis by itself
    learned = with_rows(batch, rows, pad_id=model.pad_id)  # type: ignore[attr-defined]
    is_reference = torch.tensor([True, False, True, True])
    nothing = torch.zeros(4, dtype=torch.float64)
    learned.rollout = Rollout(torch.tensor([0, 1, 1, 2]), nothing, nothing.long() + 1, is_reference, num_clips=3)
    found, expected = objective(model, learned), plain(model, batch)
    assert float(expected.metrics["kl_nats"]) > 1e-3
    assert float(found.metrics["kl_nats"]) == pytest.approx(float(expected.metrics["kl_nats"]), rel=1e-4)
    cross_entropy = gradients(model, CrossEntropy()(model, batch).total)
    held = gradients(model, expected.total)
    for name, gradient in gradients(model, found.total).items():
        torch.testing.assert_close(gradient, held[name] - cross_entropy[name], rtol=1e-3, atol=1e-4, msg=name)


def test_activations_computed_again_give_the_same_gradients() -> None:
    found = []
    for recompute in (Recompute.none, Recompute.all):
        model, objective = make_model(without_dropout(LORA))
        model.set_gradient_checkpointing(recompute)
        move(model)
        loss = objective(model, make_batch(model, ["target", "replay"])).total
        loss.backward()
        found.append({n: p.grad for n, p in model.module.named_parameters() if p.requires_grad})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_rows_of_other_sources_are_only_learned() -> None:
    model, objective = make_model(without_dropout(LORA))
    move(model)
    for sources in (["target"] * 3, []):
        batch = replace(make_batch(model, ["target"] * 3), sources=sources)
        loss = objective(model, batch)
        assert float(loss.metrics["kl_nats"]) == 0.0
        learned = gradients(model, CrossEntropy(chunk_rows=3)(model, batch).total)
        found = gradients(model, objective(model, batch).total)
        assert all(torch.equal(found[name], gradient) for name, gradient in learned.items())


def test_in_bfloat16_the_divergence_is_small_at_the_start() -> None:
    model, objective = make_model(FULL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(model, make_batch(model, ["replay", "target"]))
    assert abs(float(loss.metrics["kl_nats"])) < 1e-3


def test_rows_are_taken_out_of_a_batch_with_all_that_belongs_to_them() -> None:
    model, _ = make_model(FULL)
    batch = make_batch(model, ["a", "b", "c"])
    model.module.eval()
    with torch.no_grad():
        whole = model(batch)
        some = batch.select([2, 0])
        assert (some.ids, some.sources) == (["u2", "u0"], ["c", "a"])
        expected = torch.cat([whole.logits[whole.row == row] for row in (2, 0)])
        torch.testing.assert_close(model(some).logits, expected, rtol=1e-4, atol=1e-5)
        cached = replace(batch, encoded=model.encode(batch), host=batch)
        from_cache = cached.select([2, 0], num_encoded=model.num_encoded(batch))
        assert from_cache.host is not None and from_cache.host.ids == ["u2", "u0"]
        torch.testing.assert_close(model(from_cache).logits, expected, rtol=1e-4, atol=1e-5)


def test_settings_that_hold_nothing_to_the_base_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["objective=kl_to_base", f"run_dir={tmp_path}", "data.train.target.path=x.jsonl"]
    with pytest.raises(
        ConfigError, match=r"'replay\*' matches no source of data.train \(target\); give general speech"
    ):
        load_config("finetune", given)
    with pytest.raises(ConfigError, match=r"objective.kl_sources=\[\] holds no row to the base"):
        load_config("finetune", [*given, "objective.kl_sources=[]"])
    config = load_config("finetune", [*given, "data.train.replay_german.path=y.jsonl", "objective.kl_weight=0.3"])
    assert isinstance(config.objective, KLToBaseConfig)
    assert config.objective.kl_weight == 0.3
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(
        ConfigError, match="objective=kl_to_base .* sharded by FSDP or DeepSpeed cannot answer; launch with DDP"
    ):
        load_config("finetune", [*given, "data.train.replay.path=y.jsonl"])
