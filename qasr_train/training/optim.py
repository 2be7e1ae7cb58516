"""Owns the optimizer, its parameter groups and the learning-rate schedule.

Input: named parameters by part (models/adapt.py). Output: AdamW with one group a part and decay class, and the factor by
which a schedule scales every group's peak learning rate at a step.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError


class OptimizerName(str, Enum):
    """How AdamW keeps its two means of every weight."""

    adamw = "adamw"  # float32: 8 bytes a weight
    adamw_8bit = "adamw_8bit"  # block-wise 8 bits, by bitsandbytes: 2 bytes a weight (Dettmers et al. 2022)


class Schedule(str, Enum):
    """How the learning rate goes on after the warm-up."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


@dataclass
class OptimConfig:
    """AdamW and its schedule. A part's own learning rate wins over `lr`."""

    name: OptimizerName = setting(
        OptimizerName.adamw, help="optimizer; adamw_8bit takes 2 bytes a weight instead of 8 and needs bitsandbytes"
    )
    lr: float = setting(1e-4, gt=0, help="peak learning rate of every part that has none of its own")
    lr_encoder: float | None = setting(None, gt=0, help="peak learning rate; audio encoder. null: lr")
    lr_projector: float | None = setting(None, gt=0, help="peak learning rate; projector. null: lr")
    lr_decoder: float | None = setting(None, gt=0, help="peak learning rate; language model and head. null: lr")
    lr_adapters: float | None = setting(None, gt=0, help="peak learning rate; LoRA weights. null: lr")
    lr_adapters_encoder: float | None = setting(
        None, gt=0, help="peak learning rate; LoRA weights in the audio encoder. null: lr_adapters"
    )
    weight_decay: float = setting(
        0.0, ge=0, help="decoupled decay per unit of learning rate; never on biases and norms"
    )
    beta1: float = setting(0.9, ge=0, lt=1, help="decay of AdamW's mean of gradients")
    beta2: float = setting(0.98, ge=0, lt=1, help="decay of AdamW's mean of squared gradients")
    eps: float = setting(1e-8, gt=0, help="AdamW's term against division by zero")
    schedule: Schedule = setting(Schedule.cosine, help="course of the learning rate after warm-up")
    warmup_fraction: float = setting(0.05, ge=0, lt=1, help="share of all steps; linear warm-up from 0")
    final_lr_fraction: float = setting(0.0, ge=0, le=1, help="share of the peak that is left at the last step")

    def __post_init__(self) -> None:
        check_settings(self, "optim")
        if self.name is OptimizerName.adamw_8bit and find_spec("bitsandbytes") is None:
            raise ConfigError(
                "optim.name=adamw_8bit needs bitsandbytes, which is not installed; pip install bitsandbytes, or set "
                "optim.name=adamw"
            )

    def peak_lr(self, part: str) -> float:
        """The peak learning rate of a part: encoder, projector, decoder, adapters or adapters_encoder."""
        own = getattr(self, f"lr_{part}", None)
        if own is None and part == "adapters_encoder":
            own = self.lr_adapters
        return self.lr if own is None else own


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


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's learning rate to `factor` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
