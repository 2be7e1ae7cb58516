"""Owns the table of model families: a name, its config, and how one is loaded. A new family adds one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from qasr_train.errors import ConfigError
from qasr_train.models.base import ASRModel, Collator
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig


@dataclass(frozen=True)
class Family:
    """A family's settings and its loaders: `load(config, device=..., dtype=...)`, `load_collator(config)` (no weights)."""

    config: type
    load: Callable[..., ASRModel]
    load_collator: Callable[[Any], Collator]


def _load_qwen3_asr(config: Qwen3ASRConfig, **kwargs: Any) -> ASRModel:
    from qasr_train.models.qwen3_asr import model

    return model.load(config, **kwargs)


def _load_qwen3_asr_collator(config: Qwen3ASRConfig) -> Collator:
    from qasr_train.models.qwen3_asr import model

    return model.load_collator(config)


FAMILIES: dict[str, Family] = {
    "qwen3_asr": Family(Qwen3ASRConfig, _load_qwen3_asr, _load_qwen3_asr_collator),
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
    return _family(config.family).load(config, device=device, dtype=dtype)


def load_collator(config: Any) -> Collator:
    """Only what prepares batches for a model: tokenizer and feature settings, no weights.

    Raises:
        ConfigError, CheckpointError: as `load_model`.
    """
    return _family(config.family).load_collator(config)


def _family(name: str) -> Family:
    family = FAMILIES.get(name)
    if family is None:
        raise ConfigError(f"model.family={name!r} is not a family; choose one of {', '.join(FAMILIES)}")
    return family
