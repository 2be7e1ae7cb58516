"""Owns the table of model families: a name, its config, and how one is loaded. A new family adds one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from qasr_train.errors import ConfigError
from qasr_train.models.base import ASRModel
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig


@dataclass(frozen=True)
class Family:
    """A family's settings and its loader: `load(config, device=..., dtype=...) -> ASRModel`."""

    config: type
    load: Callable[..., ASRModel]


def _load_qwen3_asr(config: Qwen3ASRConfig, **kwargs: Any) -> ASRModel:
    from qasr_train.models.qwen3_asr import model

    return model.load(config, **kwargs)


FAMILIES: dict[str, Family] = {
    "qwen3_asr": Family(Qwen3ASRConfig, _load_qwen3_asr),
}


def load_model(config: Any, *, device: torch.device | str, dtype: torch.dtype = torch.float32) -> ASRModel:
    """Load the model a config describes onto a device.

    Args:
        config: the config dataclass of one of FAMILIES.
        device: where the weights go.
        dtype: type of the weights; float32 for training (master weights), bfloat16 for transcription on a GPU.

    Raises:
        ConfigError: the family is not one of ours.
        CheckpointError: the checkpoint cannot be loaded as it should.
    """
    family = FAMILIES.get(config.family)
    if family is None:
        raise ConfigError(f"model.family={config.family!r} is not a family; choose one of {', '.join(FAMILIES)}")
    return family.load(config, device=device, dtype=dtype)
