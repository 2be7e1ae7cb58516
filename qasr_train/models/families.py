"""Owns the table of model families: a name, its role, its config, how one is loaded. A new family adds a line here.

Input: a model config. Output: a `Recogniser`, a `Trainable`, or a collator alone. Imports no torch.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from qasr_train.errors import ConfigError
from qasr_train.models.canary_qwen.config import CanaryQwenConfig
from qasr_train.models.parakeet_tdt.config import ParakeetTDTConfig
from qasr_train.models.qwen3_aligner.config import Qwen3AlignerConfig
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.settings import Capability, Card, ModelConfig, Role
from qasr_train.models.transformers_auto.config import TransformersAutoConfig
from qasr_train.models.whisper.config import WhisperConfig

if TYPE_CHECKING:  # both bring torch
    import torch

    from qasr_train.models.base import Aligner, Collator, Recogniser, Trainable, TrainingCollator


@dataclass(frozen=True)
class Family:
    """A family's settings, its role, what its models can do at most, what it is, and where its loaders are.

    module: has `load(config, device=..., dtype=...)` and `load_collator(config)` (no weights); imported when one is loaded.
        The `load` of a trainable family takes `makes_features` as well, as `load_trainable` has it.
    exporting: module that holds its `FamilyExport` as EXPORT, None where it cannot be exported; model_types: what config.json
        calls models of an exportable family.
    """

    config: type[ModelConfig]
    module: str
    role: Role
    capabilities: frozenset[Capability]
    card: Card
    exporting: str | None = None
    model_types: frozenset[str] = frozenset()


FAMILIES: dict[str, Family] = {
    "qwen3_asr": Family(
        Qwen3ASRConfig,
        "qasr_train.models.qwen3_asr.model",
        Role.TRAINABLE,
        frozenset(Capability) - {Capability.SLOTS},
        Card("audio transformer + Qwen3 language model", "30 languages and Chinese dialects", "Apache-2.0"),
        exporting="qasr_train.models.qwen3_asr.export",
        model_types=frozenset({"qwen3_asr"}),
    ),
    "qwen3_aligner": Family(
        Qwen3AlignerConfig,
        "qasr_train.models.qwen3_aligner.model",
        Role.ALIGNER,
        frozenset({Capability.SLOTS}),
        Card("audio transformer + Qwen3 language model over time slots", "11 languages", "Apache-2.0"),
    ),
    "whisper": Family(
        WhisperConfig,
        "qasr_train.models.whisper.model",
        Role.TRAINABLE,
        frozenset(Capability) - {Capability.SYSTEM_TURN, Capability.SAYS_LANGUAGE, Capability.SLOTS},
        Card("transformer encoder-decoder", "99 languages (100 in large-v3), or English only", "Apache-2.0"),
        exporting="qasr_train.models.whisper.export",
        model_types=frozenset({"whisper"}),
    ),
    "parakeet_tdt": Family(
        ParakeetTDTConfig,
        "qasr_train.models.parakeet_tdt.model",
        Role.RECOGNISER,
        frozenset(),
        Card("FastConformer + token-and-duration transducer", "25 European (0.6b-v3), English (1.1b)", "CC-BY-4.0"),
    ),
    "canary_qwen": Family(
        CanaryQwenConfig,
        "qasr_train.models.canary_qwen.model",
        Role.RECOGNISER,
        frozenset(),
        Card("FastConformer + Qwen3 language model with LoRA", "English", "CC-BY-4.0"),
    ),
    "transformers_auto": Family(
        TransformersAutoConfig,
        "qasr_train.models.transformers_auto.model",
        Role.RECOGNISER,
        frozenset(),
        Card("CTC or encoder-decoder, see the checkpoint", "see the checkpoint", None),
    ),
}


def load_model(
    config: ModelConfig, *, device: "torch.device | str", dtype: "torch.dtype | None" = None
) -> "Recogniser":
    """Load the model a config describes onto a device, to transcribe with.

    Args:
        config: the config dataclass of one of FAMILIES.
        device: where the weights go.
        dtype: type of the weights; float32 by default, bfloat16 for transcription on a GPU.

    Raises:
        ConfigError: the family is not one of ours.
        CheckpointError: the checkpoint cannot be loaded as it should.
    """
    import torch  # not where a config is only checked

    family = find_family(config.family)
    if family.role is Role.ALIGNER:
        raise ConfigError(
            f"model.family={config.family}: an aligner says when known words were said and transcribes nothing; use "
            "recipes/align.py, or suite=alignment to evaluate it"
        )
    module = import_module(family.module)
    model: Recogniser = module.load(config, device=device, dtype=dtype or torch.float32)
    return model


def load_trainable(config: ModelConfig, *, device: "torch.device | str", makes_features: bool = True) -> "Trainable":
    """Load the model a config describes onto a device, to train it: its weights are float32, which hold what a step adds.

    Args:
        config, device: as `load_model` has them.
        makes_features: False: training batches carry waveforms, of which the model makes its features on the device.

    Raises:
        ConfigError: the family is not one of ours, or cannot be trained. CheckpointError: as `load_model`.
    """
    import torch  # not where a config is only checked

    module = import_module(find_trainable(config.family).module)
    model: Trainable = module.load(config, device=device, dtype=torch.float32, makes_features=makes_features)
    return model


def load_aligner(config: ModelConfig, *, device: "torch.device | str", dtype: "torch.dtype | None" = None) -> "Aligner":
    """Load the aligner a config describes onto a device; raises as `load_model`, for a family that aligns nothing too."""
    import torch  # not where a config is only checked

    module = import_module(find_aligner(config.family).module)
    aligner: Aligner = module.load(config, device=device, dtype=dtype or torch.float32)
    return aligner


def load_collator(config: ModelConfig) -> "Collator":
    """Only what prepares batches for a model: tokenizer and feature settings, no weights.

    Raises:
        ConfigError, CheckpointError: as `load_model`.
    """
    collator: Collator = import_module(find_family(config.family).module).load_collator(config)
    return collator


def load_training_collator(config: ModelConfig) -> "TrainingCollator":
    """`load_collator` for what training batches are made of; raises as `load_trainable`."""
    collator: TrainingCollator = import_module(find_trainable(config.family).module).load_collator(config)
    return collator


def find_family(name: str) -> Family:
    """The entry of a family by its name; ConfigError lists those there are."""
    family = FAMILIES.get(name)
    if family is None:
        raise ConfigError(f"model.family={name!r} is not a family; choose one of {', '.join(FAMILIES)}")
    return family


def find_trainable(name: str) -> Family:
    """The entry of a family that can be trained.

    Raises:
        ConfigError: no family has this name, or it transcribes only.
    """
    family = find_family(name)
    if family.role is Role.RECOGNISER:
        raise ConfigError(
            f"model.family={name}: models of this family can be evaluated but not trained; train a Qwen3-ASR or "
            "a Whisper, such as model=qwen3_asr_0.6b or model=whisper_small"
        )
    return family


def find_aligner(name: str) -> Family:
    """The entry of a family that says when words were said.

    Raises:
        ConfigError: no family has this name, or it does not.
    """
    family = find_family(name)
    if family.role is not Role.ALIGNER:
        raise ConfigError(
            f"model.family={name}: models of this family say what was said, not when; use an aligner, such as "
            "model=qwen3_aligner"
        )
    return family
