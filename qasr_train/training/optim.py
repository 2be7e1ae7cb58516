"""Owns the optimizer, its parameter groups and the learning-rate schedule.

Input: named parameters by part (models/adapt.py). Output: AdamW with one group a part and decay class, and the factor by
which a schedule scales every group's peak learning rate at a step.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from qasr_train.errors import ConfigError
from qasr_train.training.deepspeed_zero import ZeroOptimizer
from qasr_train.training.settings import OptimConfig, OptimizerName, Schedule


def build_optimizer(
    groups: Mapping[str, Iterable[tuple[str, nn.Parameter]]], config: OptimConfig
) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters, a group for each part and each of decayed / not decayed.

    Args:
        groups: part -> (name, parameter); parameters without gradient are left out.
        config: learning rates, decay, AdamW's constants.

    Raises:
        ConfigError: no parameter is trainable.
    """
    param_groups: list[dict[str, Any]] = []
    for part, named in groups.items():
        trained = [(name, p) for name, p in named if p.requires_grad]
        for is_decayed in (True, False):
            # Biases and norm gains have one dimension; decaying them only shifts activations (as in GPT-2 and after).
            params = [p for _, p in trained if (p.ndim >= 2) is is_decayed]
            if params:
                decay = config.weight_decay if is_decayed else 0.0
                peak = config.peak_lr(part)
                param_groups.append(
                    {"params": params, "part": part, "lr": peak, "peak_lr": peak, "weight_decay": decay}
                )
    if not param_groups:
        raise ConfigError("adapt: no parameter is trainable; choose adapt=lora or adapt=full, or widen adapt.trainable")
    # Fused also on a CPU: there the update took an eighth to a fifth of the time of torch's default.
    constants: dict[str, Any] = {"betas": (config.beta1, config.beta2), "eps": config.eps}
    if config.name is OptimizerName.adamw:
        return torch.optim.AdamW(param_groups, fused=True, **constants)
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(param_groups, **constants)


def lr_factor(config: OptimConfig, num_steps: int) -> Callable[[int], float]:
    """The factor on every peak learning rate at step 0, 1, ... num_steps - 1: linear warm-up, then the schedule."""
    num_warmup = round(config.warmup_fraction * num_steps)

    def factor(step: int) -> float:
        if step < num_warmup:
            return (step + 1) / num_warmup
        progress = (step - num_warmup) / max(1, num_steps - num_warmup)
        if config.schedule is Schedule.constant:
            return 1.0
        left = 1.0 - progress if config.schedule is Schedule.linear else 0.5 * (1.0 + math.cos(math.pi * progress))
        return config.final_lr_fraction + (1.0 - config.final_lr_fraction) * left

    return factor


def set_lr(optimizer: torch.optim.Optimizer | ZeroOptimizer, factor: float) -> None:
    """Scale every group's learning rate to `factor` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
