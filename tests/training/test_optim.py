"""Optimizer groups and the course of the learning rate."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from qasr_train.errors import ConfigError
from qasr_train.models.adapt import apply_adaptation, optimizer_groups
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.settings import AdaptConfig, LoraSettings
from qasr_train.training import settings
from qasr_train.training.optim import build_optimizer, lr_factor, set_lr
from qasr_train.training.settings import OptimConfig, OptimizerName, Schedule
from qasr_train.training.state import generator_state, load_training_state, save_training_state
from tests.helpers_model import tiny_model


def test_warmup_rises_linearly_and_cosine_ends_at_the_floor():
    factor = lr_factor(OptimConfig(warmup_fraction=0.2, final_lr_fraction=0.1), num_steps=10)
    assert [factor(0), factor(1)] == [0.5, 1.0]
    # 8 steps after warm-up; halfway the cosine stands at 0.5: 0.1 + 0.9 * 0.5
    assert factor(6) == pytest.approx(0.55)
    assert factor(10) == pytest.approx(0.1)


def test_linear_and_constant_schedules_by_hand():
    linear = lr_factor(OptimConfig(schedule=Schedule.linear, warmup_fraction=0.0), num_steps=4)
    assert [linear(step) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    constant = lr_factor(OptimConfig(schedule=Schedule.constant, warmup_fraction=0.0), num_steps=4)
    assert [constant(step) for step in range(4)] == [1.0] * 4


def test_parts_have_their_own_learning_rate_and_norms_do_not_decay():
    encoder, decoder = nn.Linear(2, 2), nn.LayerNorm(2)
    config = OptimConfig(lr=1e-3, lr_encoder=5e-3, weight_decay=0.1)
    optimizer = build_optimizer({"encoder": encoder.named_parameters(), "decoder": decoder.named_parameters()}, config)
    found = {(g["part"], g["params"][0].ndim): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups}
    assert found == {("encoder", 2): (5e-3, 0.1), ("encoder", 1): (5e-3, 0.0), ("decoder", 1): (1e-3, 0.0)}
    set_lr(optimizer, 0.5)
    assert {g["lr"] for g in optimizer.param_groups} == {2.5e-3, 5e-4}


def test_adapters_of_the_encoder_may_have_a_learning_rate_of_their_own():
    model = apply_adaptation(
        tiny_model(), AdaptConfig(lora=LoraSettings(rank=2, decoder=["q_proj"], encoder=["fc?"])), PARTS
    )
    groups = optimizer_groups(model, PARTS)
    numbers = {part: len(named) for part, named in groups.items() if part.startswith("adapters")}
    assert numbers == {"adapters_encoder": 2 * 2 * 2, "adapters": 2 * 2}  # two matrices beside each layer of two blocks
    assert sum(map(len, groups.values())) == len(list(model.parameters()))
    config = OptimConfig(lr=1e-4, lr_adapters=2e-4, lr_adapters_encoder=5e-4)
    optimizer = build_optimizer(groups, config)
    assert {g["part"]: g["lr"] for g in optimizer.param_groups} == {"adapters_encoder": 5e-4, "adapters": 2e-4}
    found = {id(p) for g in optimizer.param_groups if g["part"] == "adapters_encoder" for p in g["params"]}
    assert found == {id(p) for n, p in model.named_parameters() if "audio_tower" in n and "lora_" in n}
    assert [OptimConfig(lr=1e-4, lr_adapters=lr).peak_lr("adapters_encoder") for lr in (2e-4, None)] == [2e-4, 1e-4]


def test_nothing_trainable_is_refused():
    layer = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match="no parameter is trainable"):
        build_optimizer({"decoder": layer.named_parameters()}, OptimConfig())


def test_the_step_is_adamw():
    # one step of AdamW from zero moments moves by lr * g / (|g| + eps), whatever the gradient
    layer = nn.Linear(1, 1, bias=False)
    before = layer.weight.item()
    optimizer = build_optimizer({"decoder": layer.named_parameters()}, OptimConfig(lr=0.01))
    layer.weight.grad = torch.tensor([[4.0]])
    optimizer.step()
    assert layer.weight.item() == pytest.approx(before - 0.01, abs=1e-6)


def test_the_fused_update_is_adamw_by_its_definition():
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))
    config = OptimConfig(lr=0.1, weight_decay=0.5, beta1=0.9, beta2=0.98, eps=1e-8)
    optimizer = build_optimizer({"decoder": [("w", weight)]}, config)
    assert all(group["fused"] for group in optimizer.param_groups)
    weight.grad = torch.tensor([[0.3, -0.2]])
    optimizer.step()
    # First step: both means are corrected to the gradient itself, so the update is the sign; decay is lr * 0.5 of the weight.
    torch.testing.assert_close(weight.detach(), torch.tensor([[1.0 * 0.95 - 0.1, -2.0 * 0.95 + 0.1]]))


def test_eight_bits_without_their_library_are_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match="optim.name=adamw_8bit needs bitsandbytes, which is not installed; pip install"
    ):
        OptimConfig(name=OptimizerName.adamw_8bit)


def test_eight_bits_follow_adamw_and_come_back_from_a_checkpoint(tmp_path):
    pytest.importorskip("bitsandbytes")
    finals = []
    for name, is_interrupted in (("adamw", False), ("adamw_8bit", False), ("adamw_8bit", True)):
        finals.append(_descend(OptimConfig(lr=1e-2, name=OptimizerName[name]), tmp_path if is_interrupted else None))
    straight, eight, resumed = finals
    assert torch.equal(eight, resumed)
    assert 0 < float((eight - straight).abs().max()) < 0.01  # four steps of up to 0.01 each were taken


def _descend(config: OptimConfig, folder: Path | None) -> torch.Tensor:
    """The weight after four steps; with a folder the optimizer is saved and opened anew after two."""

    def fresh_optimizer() -> torch.optim.Optimizer:
        return build_optimizer({"decoder": layer.named_parameters()}, config)

    torch.manual_seed(0)
    layer = nn.Linear(128, 64, bias=False)
    holder: Any = SimpleNamespace(module=layer)
    optimizer, inputs = fresh_optimizer(), torch.randn(4, 16, 128)
    for step in range(4):
        if folder is not None and step == 2:
            save_training_state(folder, model=holder, optimizer=optimizer, generators=[generator_state()])
            optimizer = fresh_optimizer()
            load_training_state(folder, holder, optimizer, rank=0)
        layer(inputs[step]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return layer.weight.detach()
