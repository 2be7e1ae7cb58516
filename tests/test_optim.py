"""Optimizer groups and the course of the learning rate."""

import pytest
import torch
from torch import nn

from qasr_train.errors import ConfigError
from qasr_train.optim import OptimConfig, Schedule, build_optimizer, lr_factor, set_lr


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
