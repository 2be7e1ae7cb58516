"""Owns the published layout of Canary-Qwen (a NeMo SALM): config.json, the names of its tensors, the module they fill.

Input: a folder, and the folder of the language model's sizes and tokenizer. Output: encoder, projection and language model.
NeMo's names follow its source (nemo/collections/speechlm2); nothing was tried on the published weights (docs/systems.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig
from torch import nn
from transformers import ParakeetEncoder, ParakeetEncoderConfig, Qwen3Config, Qwen3ForCausalLM

from qasr_train.errors import CheckpointError
from qasr_train.models.blocks.fastconformer import encoder_name, encoder_settings, is_frontend_constant
from qasr_train.models.locations import read_config
from qasr_train.models.lora_files import put_lora
from qasr_train.models.safetensors_files import read_tensors, require_exactly, stored_tensors

EMBEDDINGS = "llm.base_model.model.model.embed_tokens.weight"
TIED_HEAD = "llm.base_model.model.lm_head.weight"  # the same tensor as the embeddings
_POSITIONS = "perception.encoder.pos_enc.pe"  # computed


@dataclass(frozen=True, slots=True)
class Sizes:
    """What config.json says: the encoder, the language model, its LoRA, and the token that stands for audio."""

    encoder: ParakeetEncoderConfig
    llm: Qwen3Config
    lora: LoraConfig
    audio_token: str


class SpeechLanguageModel(nn.Module):
    """Encoder, projection to the width of the language model, language model with LoRA in its layers."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.encoder = ParakeetEncoder(sizes.encoder)
        self.projection = nn.Linear(sizes.encoder.hidden_size, sizes.llm.hidden_size)
        self.llm = put_lora(Qwen3ForCausalLM(sizes.llm), sizes.lora)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.projection.weight.dtype

    def encode(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """float [B, M, F] features and [B, F] mask -> float [A, D], the frames of all rows, one row after another."""
        encoded = self.encoder(features.transpose(1, 2).to(self.dtype), attention_mask=mask.bool())
        return self.projection(encoded.last_hidden_state[encoded.attention_mask.bool()])


def read_sizes(folder: Path, llm_folder: Path) -> Sizes:
    """The sizes of a checkpoint.

    Raises:
        CheckpointError: config.json is of another model, or lacks a section.
    """
    config = read_config(folder)
    missing = [name for name in ("perception", "lora", "audio_locator_tag") if name not in config]
    if missing or "encoder" not in config["perception"]:
        raise CheckpointError(
            f"{folder}: config.json has no {', '.join(missing) or 'perception.encoder'}, so it is not of Canary-Qwen; "
            "model.family=canary_qwen opens nvidia/canary-qwen-2.5b and what NeMo's SALM writes"
        )
    lora = config["lora"]
    llm = read_config(llm_folder)
    if llm.get("model_type") != "qwen3":
        raise CheckpointError(f"{llm_folder}: model_type is {llm.get('model_type')!r}, and Canary-Qwen wants a qwen3")
    return Sizes(
        encoder=ParakeetEncoderConfig(**encoder_settings(config["perception"]["encoder"])),
        llm=Qwen3Config(
            **{key: value for key, value in llm.items() if key not in ("architectures", "dtype", "torch_dtype")}
        ),
        lora=LoraConfig(
            r=lora["r"],
            lora_alpha=lora["lora_alpha"],
            target_modules=list(lora["target_modules"]),
            task_type="CAUSAL_LM",
        ),
        audio_token=config["audio_locator_tag"],
    )


def our_name(published_name: str) -> str | None:
    """The name of a published tensor in SpeechLanguageModel; None for what is computed instead of loaded.

    The language model's own names are PEFT's in both; NeMo keeps its embeddings beside it.
    """
    if is_frontend_constant(published_name) or published_name == _POSITIONS:
        return None
    if published_name.startswith("perception.encoder."):
        return "encoder." + encoder_name(published_name.removeprefix("perception.encoder."))
    if published_name.startswith("perception.proj."):
        return "projection." + published_name.removeprefix("perception.proj.")
    return EMBEDDINGS if published_name == "embed_tokens.weight" else published_name


def load_module(folder: Path, sizes: Sizes, *, dtype: torch.dtype) -> tuple[SpeechLanguageModel, dict[str, str]]:
    """The module with a folder's weights, and the published name of each of its tensors.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape.
    """
    stored = stored_tensors(folder)
    names = {ours: theirs for theirs in stored if (ours := our_name(theirs)) is not None}
    with torch.device("meta"):
        module = SpeechLanguageModel(sizes)
    needed = {name: tensor.shape for name, tensor in module.state_dict().items()}
    counters = frozenset(name for name in needed if name.endswith("num_batches_tracked"))  # of training alone
    by_our_name = {ours: stored[theirs] for ours, theirs in names.items()}
    require_exactly(folder, by_our_name, needed, optional=counters | {TIED_HEAD})
    tensors = {
        name: tensor if name in counters else tensor.to(dtype) for name, tensor in read_tensors(by_our_name).items()
    }
    _fill(module, tensors, counters)
    return module.eval(), names


def _fill(module: SpeechLanguageModel, tensors: Mapping[str, torch.Tensor], counters: frozenset[str]) -> None:
    """Put tensors into a module on the meta device, tie its head, and compute what no checkpoint holds."""
    zeros = {name: torch.zeros((), dtype=torch.int64) for name in counters}
    head = {TIED_HEAD: tensors[EMBEDDINGS]}
    module.load_state_dict({**zeros, **head, **tensors}, strict=True, assign=True)
    cast(Any, module.llm.get_base_model()).tie_weights()
    for child in module.modules():
        if any(buffer.is_meta for buffer in child.buffers(recurse=False)):  # frequencies of positions
            for name, buffer in cast(Any, type(child))(child.config).named_buffers(recurse=False):
                setattr(child, name, buffer)
