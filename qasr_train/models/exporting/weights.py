"""Owns which weights an export is made of: a checkpoint's own, an adapter folded into its base, averages, blends with the base.

Input: an `Export` and the folder of its checkpoint. Output: a whole model, or the adapter to write again; or a sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from qasr_train.errors import ConfigError
from qasr_train.models.exporting.blending import average_into, interpolate_into
from qasr_train.models.exporting.family import FamilyExport, Opened
from qasr_train.models.exporting.model_card import NOTHING_STATED, Statements
from qasr_train.models.exporting.origin import run_folder, started_from
from qasr_train.models.locations import resolve_checkpoint
from qasr_train.models.lora_files import ADAPTER_CONFIG, is_adapter
from qasr_train.models.settings import ExportDtype, ExportLayout, ExportTarget


@dataclass(frozen=True)
class Export:
    """What is written for others to load.

    layout: None is the one that `target`, the program that is to load it, takes; native where none is named.
    checkpoint: directory or hub id; revision: of a hub id. average: checkpoints of the same run, averaged with it.
    base: the model training started from; None: the one the adapter or the run names. strength: factor on what training
    changed. stated: for the model card. max_shard_bytes: of a weight file, None is one file.
    """

    checkpoint: str
    layout: ExportLayout | None
    dtype: ExportDtype
    average: Sequence[str]
    strength: float
    base: str | None
    revision: str | None
    stated: Statements = NOTHING_STATED
    max_shard_bytes: int | None = None
    target: ExportTarget | None = None


def find_adapter(folder: Path, export: Export, family: FamilyExport) -> Path | None:
    """The adapter the export is made with, or None where the checkpoint's own, whole weights are what is wanted.

    A LoRA checkpoint of ours holds both: the merged weights, and the adapter in `adapter/`.

    Raises:
        ConfigError: an adapter is asked for or needed and there is none, or one where whole weights are averaged.
    """
    others = (ExportLayout.adapter, *family.converters)
    whole_layouts = " or ".join(one.value for one in family.card.layouts if one not in others)
    if export.average:
        if export.layout is ExportLayout.adapter:
            raise ConfigError(f"average: gives whole weights, which no adapter holds; export layout={whole_layouts}")
        if is_adapter(folder):
            raise ConfigError(
                f"average: {export.checkpoint} is an adapter alone; name the checkpoints of the run, which hold whole weights"
            )
    if is_adapter(folder):
        return folder
    inner = folder / "adapter"
    has_adapter = (inner / ADAPTER_CONFIG).is_file() and not export.average
    if has_adapter and (export.layout is ExportLayout.adapter or export.strength != 1.0):
        return inner
    if export.layout is ExportLayout.adapter:
        raise ConfigError(
            f"layout=adapter: {export.checkpoint} holds no LoRA adapter, whole weights were trained in it; "
            f"export layout={whole_layouts}"
        )
    if export.base is not None and export.strength == 1.0:
        raise ConfigError(f"base={export.base}: {export.checkpoint} is a whole model and needs none; leave base out")
    return None


def load_whole(
    folder: Path, adapter: Path | None, export: Export, family: FamilyExport, *, dtype: torch.dtype
) -> Opened:
    """The model without adapters; one with LoRA in it is merged in float32, before rounding to the export's format.

    Args:
        folder: of the checkpoint. adapter: see `find_adapter`.
        dtype: of the export's weights.

    Raises:
        ConfigError, CheckpointError: as `write_export`.
    """
    if adapter is not None:
        return family.open_merged(adapter, export.base, export.strength)
    if not export.average and export.strength == 1.0:
        # To float16 only when it is written, so that what leaves its range is seen instead of read as infinity.
        return family.open_whole(folder, torch.float32 if dtype is torch.float16 else dtype)
    return _load_blended(folder, export, family)


def find_start(folder: Path, base: str | None) -> Path:
    """The directory of the model that a checkpoint's training started from: `base`, or what its run names.

    Raises:
        ConfigError: no base is given, and the checkpoint lies in no run that names one.
    """
    named = base or started_from(folder)
    if named is None:
        raise ConfigError(
            f"{folder}: lies in no run of recipes/finetune.py, so the model it started from is not known; give it with "
            "base=PATH_OR_HUB_ID"
        )
    return resolve_checkpoint(named)


def _load_blended(folder: Path, export: Export, family: FamilyExport) -> Opened:
    """Whole weights: the average of all checkpoints, then the way from the base to it; in float32."""
    others = [resolve_checkpoint(path) for path in export.average]
    for path, other in zip(export.average, others, strict=True):
        if run_folder(other) != run_folder(folder):
            raise ConfigError(
                f"average: {path} is not of the run of {export.checkpoint}; average checkpoints of one run"
            )
    base = find_start(folder, export.base) if export.strength != 1.0 else None
    opened = family.open_whole(folder, torch.float32)
    average_into(opened.model, ((other, _load_any(other, family)) for other in others))
    if base is not None:
        interpolate_into(opened.model, _load_any(base, family), export.strength, base_folder=base)
    return opened


def _load_any(folder: Path, family: FamilyExport) -> PreTrainedModel:
    """The whole weights of a checkpoint, an adapter in it or over it merged, in float32."""
    if is_adapter(folder):
        return family.open_merged(folder, None, 1.0).model
    return family.open_whole(folder, torch.float32).model
