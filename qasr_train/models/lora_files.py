"""Owns LoRA adapters on disk and their life around a model: read strictly, attached, merged, saved as PEFT and vLLM take them.

Input: a transformers model, an adapter folder (adapter_config.json, adapter_model.safetensors). Output: PEFT or plain models.
"""

import copy
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from qasr_train.models.locations import HUB_FILES, resolve_checkpoint
from qasr_train.models.safetensors_files import (
    ADAPTER_FILE,
    LazyTensor,
    read_notes,
    read_tensors,
    require_exactly,
    require_finite,
    stored_tensors,
    whole,
    write_tensors,
)

_log = logging.getLogger(__name__)
ADAPTER_CONFIG = "adapter_config.json"
BASE_DIGEST = "base_weights"  # note in the header of the adapter's weights
ADAPTER_NAME = "default"  # PEFT's own name of the only adapter; it is not part of the names on disk
_ON_DISK = "base_model.model."  # what PEFT puts before the names of layers


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """What adapter_config.json tells PEFT to open the base with: module and name of the model's class.

    It states no task: PEFT has none whose `forward` and Auto class both suit a model that hears.
    """

    library: str
    name: str

    def describe(self, config: LoraConfig) -> None:
        """Write it into an adapter's settings."""
        config.task_type = None
        config.auto_mapping = {"base_model_class": self.name, "parent_library": self.library}


def is_adapter(folder: Path) -> bool:
    """Whether a directory holds an adapter instead of a whole model."""
    return (folder / ADAPTER_CONFIG).is_file()


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


def find_base(folder: Path, base: str | None = None, *, files: Sequence[str] = HUB_FILES) -> Path:
    """The directory of an adapter's base model; `base` where one is given, else the one it names.

    Args:
        folder: of the adapter. base: directory or hub id; None is the one the adapter names, where a relative path is looked for
            from here and from the adapter's folder. files: of a hub id, see `resolve_checkpoint`.

    Raises:
        CheckpointError: it names none, or the one it names is not there.
    """
    if base is not None:
        return resolve_checkpoint(base, files=files)
    config = read_adapter_config(folder)
    named = config.base_model_name_or_path
    if not named:
        raise CheckpointError(
            f"{folder}: {ADAPTER_CONFIG} names no base model; say which with model.base=PATH_OR_HUB_ID"
        )
    if (folder / named).is_dir():
        return folder / named
    try:
        return resolve_checkpoint(named, config.revision, files=files)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder}: the base model of this adapter is not there ({error}); say where it is with model.base=PATH"
        ) from error


def adapted_layers(folder: Path) -> list[str]:
    """The names of the layers an adapter changes, as the model has them; its weights are not read.

    Raises:
        CheckpointError: they are missing or damaged.
    """
    names = [name.removeprefix(_ON_DISK) for name in stored_tensors(folder, ADAPTER_FILE)]
    return sorted({name.partition(".lora_")[0] for name in names})


def attach_adapter(model: PreTrainedModel, folder: Path, config: LoraConfig | None = None) -> PeftModel:
    """Put a saved adapter on a model; its tensors must fit exactly, which PEFT alone only warns about.

    Args:
        model: the base; its layers are replaced in place.
        folder: of the adapter. config: as `read_adapter_config` gave it; None reads it.

    Raises:
        CheckpointError: files missing or damaged, or the adapter was made for another model.
    """
    config = copy.deepcopy(config or read_adapter_config(folder))
    # PEFT would warn that this model has another name, and wrap a model of a task in a forward of its own.
    config.base_model_name_or_path = config.task_type = None
    stored = stored_tensors(folder, ADAPTER_FILE)
    try:
        adapted = put_lora(model, config)
    except ValueError as error:  # PEFT found none of the layers the adapter is for
        raise CheckpointError(
            f"{folder}: the adapter fits no layer of the base model ({error}); name its own base with model.base"
        ) from error
    needed = {name: tensor.shape for name, tensor in _adapter_state(adapted).items()}
    require_exactly(folder, stored, needed, optional=frozenset())
    tensors = read_tensors(stored)
    require_finite(folder, tensors)
    set_peft_model_state_dict(adapted, tensors)
    return adapted.eval()


def require_base(folder: Path, base: Path, digest: str) -> None:
    """Refuse an adapter over other weights than it was trained over; one of an older run, which notes no digest, is let pass.

    Args:
        folder: of the adapter. base: where its base was found, digest: of the weights there.

    Raises:
        CheckpointError: names both places and both digests.
    """
    noted = read_notes(folder, ADAPTER_FILE).get(BASE_DIGEST)
    if noted is None:
        _log.warning(
            "%s: notes no digest of the model it was trained over, so whether %s is still that model cannot be checked",
            folder,
            base,
        )
    elif noted != digest:
        raise CheckpointError(
            f"{folder}: the adapter was trained over other weights than its base {base} holds now (digest {noted}, not "
            f"{digest}); say where the model it was trained over is with model.base=PATH, or train again"
        )


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
    refuse_weak_dora(cast(LoraConfig, model.peft_config[ADAPTER_NAME]), scale)
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


def save_adapter(
    model: PeftModel,
    folder: Path | None,
    *,
    base: str,
    revision: str | None = None,
    base_digest: str | None = None,
    kind: AdapterKind | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write adapter_config.json and adapter_model.safetensors, no head and no whole layers, as vLLM takes them.

    Args:
        model: with one adapter and no other trained weight (`has_only_adapters`).
        folder: made where missing; None takes part in gathering sharded weights and writes nothing.
        base: directory or hub id of the base model, written down for whoever opens the adapter; revision: of a hub id.
        base_digest: of the base's weights (`weights_digest`), by which other weights are refused; None where not known.
        kind: how AutoPeftModel opens the base; None: not at all. notes: kept in the header of its weights, see `read_notes`.

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
    noted = ({BASE_DIGEST: base_digest} if base_digest else {}) | dict(notes or {})
    write_tensors(_adapter_state(model), folder / ADAPTER_FILE, notes=noted)
    config = copy.deepcopy(model.peft_config[ADAPTER_NAME])
    config.base_model_name_or_path, config.revision, config.inference_mode = base, revision, True
    if kind is not None:
        kind.describe(cast(LoraConfig, config))
    config.save_pretrained(str(folder))


def has_only_adapters(model: object) -> bool:
    """Whether `save_adapter` can hold all that is trained: LoRA is on and nothing else is trainable."""
    if not isinstance(model, PeftModel):
        return False
    return all(is_adapter_name(name) for name, p in model.named_parameters() if p.requires_grad)


def is_adapter_name(name: str) -> bool:
    """Whether a parameter of a PEFT model belongs to its LoRA adapter."""
    return ".lora_" in name


def refuse_weak_dora(config: LoraConfig, scale: float) -> None:
    """Refuse a strength other than 1 of DoRA, whose magnitudes do not scale (ConfigError)."""
    if scale != 1.0 and config.use_dora:
        raise ConfigError(f"strength={scale:g}: a DoRA adapter cannot be weakened; leave strength at 1")


def _adapter_state(model: PeftModel) -> dict:
    return get_peft_model_state_dict(model, save_embedding_layers=False)
