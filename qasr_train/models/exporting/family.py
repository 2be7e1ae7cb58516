"""Owns what an export has to know of a family of models, and how the family of a checkpoint is told.

Input: a checkpoint's folder. Output: its `FamilyExport`, which the family's own export.py defines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models.base import Collator, Recogniser
from qasr_train.models.families import FAMILIES, Family
from qasr_train.models.locations import SMALL_FILES, read_config
from qasr_train.models.lora_files import AdapterKind, adapted_layers, find_base, is_adapter
from qasr_train.models.safetensors_files import StoredTensor
from qasr_train.models.settings import ExportDtype, ExportLayout, ExportTarget, Parts


class Opened(NamedTuple):
    """A whole model on the CPU with its processor."""

    model: PreTrainedModel
    processor: Any


@dataclass(frozen=True)
class Form:
    """How the weights of an export lie on disk. max_shard_bytes: of a file, None is one file however large."""

    layout: ExportLayout
    dtype: torch.dtype
    max_shard_bytes: int | None = None


@dataclass(frozen=True)
class Converter:
    """A layout that another library makes of the native one, and computes itself.

    dtypes: number formats it writes, the usual one first. require: refuses where the library is not installed.
    convert: (native folder in float32, folder that is not there yet, number format) writes all but the card.
    open: (what it wrote, the collator of what it was made of, number format, device) -> a recogniser, to check it by.
    takes_context: whether that recogniser does.
    """

    dtypes: tuple[ExportDtype, ...]
    require: Callable[[], None]
    convert: Callable[[Path, Path, ExportDtype], None]
    open: Callable[[Path, Collator, ExportDtype, torch.device], Recogniser]
    takes_context: bool = True


@dataclass(frozen=True)
class LayoutText:
    """What a model card says of a layout. what: it is, after "This folder holds". usage: how others load it, in Markdown."""

    what: str
    usage: str


@dataclass(frozen=True)
class CardText:
    """What a model card says of a family.

    title: the family's name. layouts: those it has. licences: of the published models, by the beginning of their hub ids.
    licence: the sentence on them, where the base is one of them or not known. training: lines on a run, of its `model` settings.
    """

    title: str
    layouts: Mapping[ExportLayout, LayoutText]
    licences: Mapping[str, str]
    licence: str
    training: Callable[[Mapping[str, Any]], list[str]]

    def licence_of(self, base: str | None) -> str | None:
        """The licence of a published model, as its card on the Hub states it; None for any other."""
        return next((name for begin, name in self.licences.items() if base and base.startswith(begin)), None)


@dataclass(frozen=True)
class FamilyExport:
    """What differs by family when a checkpoint becomes an export.

    card: its words, and by them its layouts. dtypes: number formats it may be written in, that of the published models first.
    targets: the layouts that each program takes, the one to write unless asked otherwise first.
    lacks: by layout, number format or target that it has not, the reason and what to choose.
    parts: where its parts lie. adapter: how PEFT opens one.
    weights: where the tensors of a whole model's folder lie, by the model's names, tied ones once; tied: the others' names.
    digest: (folder, base of an adapter or None) -> digest of its weights, see `weights_digest`.
    hides_from_transformers: why transformers does not open a whole model as what it is, and what to do; None where it does.
    open_whole: (folder, number format in memory) -> the whole weights of a folder that is no adapter.
    open_merged: (adapter, base or None for the one it names, strength) -> the adapter folded into its base, in float32.
    save: (model, folder, form, languages added to the family's own) writes all but the card.
    converters: layouts that are made of the native one by another library.
    """

    card: CardText
    dtypes: tuple[ExportDtype, ...]
    targets: Mapping[ExportTarget, tuple[ExportLayout, ...]]
    lacks: Mapping[ExportLayout | ExportDtype | ExportTarget, str]
    parts: Parts
    adapter: AdapterKind
    weights: Callable[[Path], dict[str, StoredTensor]]
    tied: frozenset[str]
    digest: Callable[[Path, str | None], str]
    hides_from_transformers: Callable[[Path], str | None]
    open_whole: Callable[[Path, torch.dtype], Opened]
    open_merged: Callable[[Path, str | None, float], Opened]
    save: Callable[[Opened, Path, Form, Sequence[str]], None]
    converters: Mapping[ExportLayout, Converter] = field(default_factory=dict)

    def require(self, layout: ExportLayout, dtype: ExportDtype) -> None:
        """Refuse a layout or number format that the family has not (ConfigError says why and what to choose)."""
        if layout not in self.card.layouts:
            raise ConfigError(f"layout={layout.value}: {self.lacks[layout]}")
        converter = self.converters.get(layout)
        if converter and dtype not in (ExportDtype.auto, *converter.dtypes):
            formats = " or ".join(one.value for one in converter.dtypes)
            raise ConfigError(
                f"dtype={dtype.value}: layout={layout.value} has none such; leave it out, or take {formats}"
            )
        if converter:
            converter.require()
        elif dtype not in (ExportDtype.auto, *self.dtypes):
            raise ConfigError(f"dtype={dtype.value}: {self.lacks[dtype]}")

    def dtype_of(self, layout: ExportLayout, dtype: ExportDtype) -> ExportDtype:
        """The number format itself, where `auto` leaves it to the family."""
        converter = self.converters.get(layout)
        usual = (converter.dtypes if converter else self.dtypes)[0]
        return usual if dtype is ExportDtype.auto else dtype


def find_export(folder: Path, base: str | None = None) -> tuple[str, FamilyExport]:
    """(name, export) of the family of a checkpoint, told by the model_type of its config.json; an adapter's by its base's.

    Args:
        folder: of the checkpoint. base: of an adapter; None is the one it names.

    Raises:
        CheckpointError: no such files, a family that cannot be exported, or an adapter of which nothing tells the family.
    """
    name = _family_of_adapter(folder, base) if is_adapter(folder) else _family_of(folder)
    return name, _export_of(name)


def _export_of(name: str) -> FamilyExport:
    export: FamilyExport = import_module(str(FAMILIES[name].exporting)).EXPORT
    return export


def _family_of(folder: Path) -> str:
    found = read_config(folder).get("model_type")
    name = next((name for name, family in _exportable().items() if found in family.model_types), None)
    if name is None:
        known = sorted(kind for family in _exportable().values() for kind in family.model_types)
        raise CheckpointError(
            f"{folder}: config.json says model_type {found!r}, and only {' and '.join(known)} can be exported"
        )
    return name


def _family_of_adapter(folder: Path, base: str | None) -> str:
    """By the base; where that is out of reach, as an adapter alone may be written again, by the names of its layers."""
    try:
        base_folder = find_base(folder, base, files=SMALL_FILES)
    except CheckpointError:
        layers = adapted_layers(folder)
        fitting = [name for name in _exportable() if _holds(_export_of(name).parts, layers)]
        if len(fitting) != 1:
            raise
        return fitting[0]
    return find_export(base_folder)[0]


def _holds(parts: Parts, layers: Sequence[str]) -> bool:
    """Whether all layers lie in the parts of a family, and there are any."""
    try:
        return bool([parts.locate(f"{layer}.weight") for layer in layers])
    except ValueError:
        return False


def _exportable() -> dict[str, Family]:
    return {name: family for name, family in FAMILIES.items() if family.exporting}
