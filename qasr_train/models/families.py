"""Owns the table of model families: a name, its config, how one is loaded. A new family adds a line here. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qasr_train.errors import ConfigError
from qasr_train.models.canary_qwen.config import CanaryQwenConfig
from qasr_train.models.parakeet_tdt.config import ParakeetTDTConfig
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.settings import Capability, Card
from qasr_train.models.transformers_auto.config import TransformersAutoConfig
from qasr_train.models.whisper.config import WhisperConfig

if TYPE_CHECKING:  # both bring torch
    import torch

    from qasr_train.batch import Batch
    from qasr_train.models.base import ASRModel, Collator


@dataclass(frozen=True)
class Family:
    """A family's settings, what its models can do at most, what it is, and where its loaders are.

    module: has `load(config, device=..., dtype=...)` and `load_collator(config)` (no weights); imported when one is loaded.
    """

    config: type
    module: str
    capabilities: frozenset[Capability]
    card: Card

    def load(self, config: Any, **kwargs: Any) -> "ASRModel":
        """The model of a config; see `load_model`."""
        return import_module(self.module).load(config, **kwargs)

    def load_collator(self, config: Any) -> "Collator":
        """The collator of a config; see `load_collator`."""
        return import_module(self.module).load_collator(config)


FAMILIES: dict[str, Family] = {
    "qwen3_asr": Family(
        Qwen3ASRConfig,
        "qasr_train.models.qwen3_asr.model",
        frozenset(Capability),
        Card("audio transformer + Qwen3 language model", "30 languages and Chinese dialects", "Apache-2.0"),
    ),
    "whisper": Family(
        WhisperConfig,
        "qasr_train.models.whisper.model",
        frozenset({Capability.LANGUAGE}),
        Card("transformer encoder-decoder", "99 languages (100 in large-v3), or English only", "Apache-2.0"),
    ),
    "parakeet_tdt": Family(
        ParakeetTDTConfig,
        "qasr_train.models.parakeet_tdt.model",
        frozenset(),
        Card("FastConformer + token-and-duration transducer", "25 European (0.6b-v3), English (1.1b)", "CC-BY-4.0"),
    ),
    "canary_qwen": Family(
        CanaryQwenConfig,
        "qasr_train.models.canary_qwen.model",
        frozenset(),
        Card("FastConformer + Qwen3 language model with LoRA", "English", "CC-BY-4.0"),
    ),
    "transformers_auto": Family(
        TransformersAutoConfig,
        "qasr_train.models.transformers_auto.model",
        frozenset(),
        Card("CTC or encoder-decoder, see the checkpoint", "see the checkpoint", None),
    ),
}


def load_model(config: Any, *, device: "torch.device | str", dtype: "torch.dtype | None" = None) -> "ASRModel":
    """Load the model a config describes onto a device.

    Args:
        config: the config dataclass of one of FAMILIES.
        device: where the weights go.
        dtype: type of the weights; float32 (the default) for training (master weights), bfloat16 for transcription on a GPU.

    Raises:
        ConfigError: the family is not one of ours.
        CheckpointError: the checkpoint cannot be loaded as it should.
    """
    import torch  # not where a config is only checked

    return find_family(config.family).load(config, device=device, dtype=dtype or torch.float32)


def load_collator(config: Any) -> "Collator":
    """Only what prepares batches for a model: tokenizer and feature settings, no weights.

    Raises:
        ConfigError, CheckpointError: as `load_model`.
    """
    return find_family(config.family).load_collator(config)


def find_family(name: str) -> Family:
    """The entry of a family by its name; ConfigError lists those there are."""
    family = FAMILIES.get(name)
    if family is None:
        raise ConfigError(f"model.family={name!r} is not a family; choose one of {', '.join(FAMILIES)}")
    return family


def flop_counter(model: "ASRModel") -> "Callable[[Batch], float] | None":
    """What counts the operations of a training batch, forward and backward; None where a family's are not worked out."""
    if model.family != "qwen3_asr":
        return None
    flops = import_module("qasr_train.models.qwen3_asr.flops")
    return flops.flop_counter(model.module, model.module.config)
