"""Owns LoRA adapters on disk and their life around a model: read strictly, attached, merged, saved as PEFT and vLLM take them.

Input: a transformers model, an adapter folder (adapter_config.json, adapter_model.safetensors). Output: PEFT or plain models.
"""

import copy
import warnings
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel

from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.files import parse_json
from qasr_train.models.safetensors_files import (
    ADAPTER_FILE,
    LazyTensor,
    read_tensors,
    require_exactly,
    stored_tensors,
    whole,
    write_tensors,
)

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_NAME = "default"  # PEFT's own name of the only adapter; it is not part of the names on disk


def read_adapter_config(folder: Path) -> LoraConfig:
    """The adapter's settings.

    Raises:
        CheckpointError: no adapter_config.json, a damaged one, or an adapter that is not LoRA.
    """
    file = folder / ADAPTER_CONFIG
    if not file.is_file():
        raise CheckpointError(
            f"{folder}: no {ADAPTER_CONFIG}, so this is not an adapter; give the folder that holds it"
        )
    try:
        kind = parse_json(file.read_text(encoding="utf-8")).get("peft_type")
        config = PeftConfig.from_pretrained(str(folder)) if kind == "LORA" else None
    except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
        raise CheckpointError(f"{file}: not readable ({error}); copy the adapter again") from error
    if not isinstance(config, LoraConfig):
        raise CheckpointError(f"{file}: peft_type is {kind!r}, and only LORA adapters are supported")
    return config


def attach_adapter(model: PreTrainedModel, folder: Path, config: LoraConfig | None = None) -> PeftModel:
    """Put a saved adapter on a model; its tensors must fit exactly, which PEFT alone only warns about.

    Args:
        model: the base; its layers are replaced in place.
        folder: of the adapter. config: as `read_adapter_config` gave it; None reads it.

    Raises:
        CheckpointError: files missing or damaged, or the adapter was made for another model.
    """
    config = copy.deepcopy(config or read_adapter_config(folder))
    config.base_model_name_or_path = None  # PEFT would warn that this model has another name
    stored = stored_tensors(folder, ADAPTER_FILE)
    try:
        adapted = put_lora(model, config)
    except ValueError as error:  # PEFT found none of the layers the adapter is for
        raise CheckpointError(
            f"{folder}: the adapter fits no layer of the base model ({error}); name its own base with model.base"
        ) from error
    needed = {name: tensor.shape for name, tensor in _adapter_state(adapted).items()}
    require_exactly(folder, stored, needed, optional=frozenset())
    set_peft_model_state_dict(adapted, read_tensors(stored))
    return adapted.eval()


def put_lora(model: PreTrainedModel, config: LoraConfig) -> PeftModel:
    """Put a fresh adapter on a model, in place; its weights are float32 whatever the base's are, the base is frozen.

    Raises:
        ValueError: the config's layers are not in the model.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT reads a property that transformers renames in version 6
        return cast(PeftModel, get_peft_model(model, config))


def merge_adapter(model: PeftModel, scale: float = 1.0) -> PreTrainedModel:
    """Fold the adapter into the weights; the PEFT model is used up.

    Args:
        model: with one LoRA adapter.
        scale: strength of the adapter; 1 as trained, 0 the base, between them a blend that forgets less of the base
            (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", interpolates whole weights the same way).

    Raises:
        ConfigError: a scale other than 1 for DoRA, whose magnitudes do not scale.
        CheckpointError: the adapter holds numbers that are not finite.
    """
    _refuse_weak_dora(cast(LoraConfig, model.peft_config[ADAPTER_NAME]), scale)
    for module in model.modules():
        if isinstance(module, LoraLayer) and scale != 1.0:
            module.scale_layer(scale)
    try:
        return model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise CheckpointError(
            f"the adapter holds NaN or infinite numbers ({error}); use an earlier checkpoint"
        ) from error


def merged_state(model: PeftModel) -> dict[str, torch.Tensor | LazyTensor]:
    """The weights of the transformers model with the adapter folded in, under its own names; the model is untouched.

    A layer is merged when it is read, so that saving never holds a second model.
    """
    base = model.get_base_model()
    layers = {name: module for name, module in base.named_modules() if isinstance(module, LoraLayer)}
    state: dict[str, torch.Tensor | LazyTensor] = {}
    for name, tensor in base.state_dict().items():
        layer = layers.get(name.removesuffix(".base_layer.weight"))
        if layer is not None:
            state[name.replace(".base_layer.", ".")] = LazyTensor(
                tensor.shape, tensor.dtype, partial(_merged_weight, name, layer)
            )
        elif not is_adapter_name(name):
            state[name.replace(".base_layer.", ".")] = tensor
    return state


def _merged_weight(name: str, layer: LoraLayer) -> torch.Tensor:
    """The weight of one layer with its update, by PEFT's own rule, on a copy of that layer alone."""
    module = cast(Any, layer)
    # deepcopy takes these for the copies it would make: whole where the layer's own are sharded, and shared where not.
    copies = {id(p): nn.Parameter(whole(p.detach()), requires_grad=False) for p in module.parameters()}
    single = copy.deepcopy(module, copies)
    try:
        single.merge(safe_merge=True)
    except ValueError as error:
        raise CheckpointError(
            f"the adapter holds NaN or infinite numbers ({name}: {error}); use an earlier checkpoint"
        ) from error
    return single.get_base_layer().weight


def save_adapter(model: PeftModel, folder: Path | None, *, base: str) -> None:
    """Write adapter_config.json and adapter_model.safetensors, no head and no whole layers, as vLLM takes them.

    Args:
        model: with one adapter and no other trained weight (`has_only_adapters`).
        folder: made where missing; None takes part in gathering sharded weights and writes nothing.
        base: directory or hub id of the base model, written down for whoever opens the adapter.

    Raises:
        CheckpointError: other weights were trained too, which an adapter cannot hold.
        OSError: disk full or no permission.
    """
    others = [name for name, p in model.named_parameters() if p.requires_grad and not is_adapter_name(name)]
    if others:
        raise CheckpointError(
            f"{folder}: {len(others)} weights outside the adapter are trained too ({others[0]}, ...), and an adapter cannot "
            "hold them; save the merged model"
        )
    if folder is None:
        write_tensors(_adapter_state(model), None)
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(_adapter_state(model), folder / ADAPTER_FILE)
    config = copy.deepcopy(model.peft_config[ADAPTER_NAME])
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(str(folder))


def export_adapter(folder: Path, out: Path, *, scale: float, dtype: torch.dtype, base: str | None) -> None:
    """Write a saved adapter again, at another strength, in another number format or for a base at another place.

    Args:
        folder: holds the adapter. out: where it goes.
        scale: factor on the update, see `merge_adapter`.
        dtype: of the weights on disk. base: the base model to name; None keeps the name it has.

    Raises:
        CheckpointError, ConfigError: as for `attach_adapter` and `merge_adapter`, except that the base is not opened.
        OSError: disk full or no permission.
    """
    config = read_adapter_config(folder)
    _refuse_weak_dora(config, scale)
    tensors = read_tensors(stored_tensors(folder, ADAPTER_FILE))
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{folder}: {name} holds NaN or infinite numbers; use an earlier checkpoint")
        if ".lora_B" in name or ".lora_embedding_B" in name:  # the update is B times A, so one of the two carries it
            tensors[name] = tensor * scale
    out.mkdir(parents=True, exist_ok=True)
    write_tensors(tensors, out / ADAPTER_FILE, dtype=dtype)
    named = config.base_model_name_or_path
    if base is None and named and (folder / named).is_dir():  # a path relative to where the adapter lay
        base = str((folder / named).resolve())
    config.base_model_name_or_path = base or named
    config.save_pretrained(str(out))


def has_only_adapters(model: object) -> bool:
    """Whether `save_adapter` can hold all that is trained: LoRA is on and nothing else is trainable."""
    if not isinstance(model, PeftModel):
        return False
    return all(is_adapter_name(name) for name, p in model.named_parameters() if p.requires_grad)


def is_adapter_name(name: str) -> bool:
    """Whether a parameter of a PEFT model belongs to its LoRA adapter."""
    return ".lora_" in name


def _refuse_weak_dora(config: LoraConfig, scale: float) -> None:
    if scale != 1.0 and config.use_dora:
        raise ConfigError(f"strength={scale:g}: a DoRA adapter cannot be weakened; leave strength at 1")


def _adapter_state(model: PeftModel) -> dict:
    return get_peft_model_state_dict(model, save_embedding_layers=False)
