"""Owns the export of a checkpoint: a complete directory that others load, in the layout they need, with a model card.

Input: an `Export` of a run's checkpoint (or several, averaged), of any directory or hub id of a family that can be exported, or
of a LoRA adapter. Output: a directory in one of the family's layouts, the adapter merged, blended with its base if asked; or
the adapter alone. All or nothing.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models.digest import folder_digest, weights_digest
from qasr_train.models.exporting.adapters import BaseName, given_base, name_base, write_adapter
from qasr_train.models.exporting.family import Converter, FamilyExport, Form, Opened, find_export
from qasr_train.models.exporting.model_card import Described, card_files, write_card
from qasr_train.models.exporting.origin import find_origin
from qasr_train.models.exporting.results import read_results, require_same_model
from qasr_train.models.exporting.targets import choose_layout, require_served
from qasr_train.models.exporting.verification import Difference, check_whole, find_difference
from qasr_train.models.exporting.weights import Export, find_adapter, load_whole
from qasr_train.models.locations import resolve_checkpoint
from qasr_train.models.lora_files import read_adapter_config
from qasr_train.models.safetensors_files import require_representable
from qasr_train.models.settings import ExportDtype, ExportLayout

_DTYPES = {
    ExportDtype.bfloat16: torch.bfloat16,
    ExportDtype.float16: torch.float16,
    ExportDtype.float32: torch.float32,
    ExportDtype.int8: torch.float32,  # of what a converter rounds
}


class Written(NamedTuple):
    """What became of settings that were left to target and family, and of the weights. difference: None where not known."""

    layout: ExportLayout
    dtype: ExportDtype
    difference: Difference | None


def write_export(export: Export, out: Path, check: Callable[[Path, Export], None] | None = None) -> Written:
    """Write the export and its README.md into `out`, open it again and compare every tensor with what was meant.

    Args:
        check: called with the finished folder, before it takes its name, and with what it is, layout and number format chosen;
            whatever it raises, nothing is left behind.

    Raises:
        ConfigError: `out` is taken, the family has not the layout or number format, the target does not take it, or a setting
            needs an adapter that the checkpoint does not have.
        CheckpointError: the checkpoint, its adapter or its base is incomplete or damaged, or of a family without export; the
            export does not read back as it was written.
        OSError: disk full or no permission; nothing is left behind.
    """
    out = out.expanduser()
    _refuse_taken(out)
    folder = resolve_checkpoint(export.checkpoint, export.revision)
    _, family = find_export(folder, export.base)
    layout = choose_layout(export.target, export.layout, family)
    family.require(layout, export.dtype)
    export = replace(export, layout=layout, dtype=family.dtype_of(layout, export.dtype))
    converter = family.converters.get(layout)
    if export.max_shard_bytes is not None and (layout is ExportLayout.adapter or converter):
        raise ConfigError(f"max_shard_size: layout={layout.value} is one file for whoever reads it; leave it out")
    form = _form(export, layout, is_converted=converter is not None)
    adapter = find_adapter(folder, export, family)
    origin = find_origin(export.checkpoint, folder, *_base_name(adapter, export))
    results = read_results(export.stated.results)
    described = Described(layout, export.dtype.value, export.strength, 1 + len(export.average), origin, results)
    card = card_files(family.card, described, export.stated, name=out.name)
    with _all_or_nothing(out) as part:
        is_whole = layout is not ExportLayout.adapter
        opened = load_whole(folder, adapter, export, family, dtype=form.dtype) if is_whole else None
        if results:
            require_same_model(results, export.checkpoint, _digests(folder, export, family, opened))
        ours = part / "native" if converter else part
        if opened is None:
            assert adapter is not None
            _write_adapter(adapter, part, export, form, family)
        else:
            require_representable(export.checkpoint, dict(opened.model.named_parameters()), _DTYPES[export.dtype])
            _write_whole(opened, ours, form, family, origin.new_languages)
            del opened
        difference = find_difference(ours, folder, adapter, export, family)
        if converter:
            _convert(ours, part, export.dtype, converter)
        write_card(part, card)
        if check is not None:
            check(part, export)
    return Written(layout, export.dtype, difference)


def _form(export: Export, layout: ExportLayout, *, is_converted: bool) -> Form:
    """Of what is written here; a converter is given all bits."""
    if is_converted:
        return Form(ExportLayout.native, torch.float32)
    return Form(layout, _DTYPES[export.dtype], export.max_shard_bytes)


def _write_whole(opened: Opened, out: Path, form: Form, family: FamilyExport, new_languages: Sequence[str]) -> None:
    family.save(opened, out, form, new_languages)
    check_whole(out, opened, form, family)


def _convert(native: Path, out: Path, dtype: ExportDtype, converter: Converter) -> None:
    """Put what the converter makes of a native export into `out`, and leave nothing else there."""
    made = out / "converted"  # a converter wants a folder of its own
    converter.convert(native, made, dtype)
    shutil.rmtree(native)
    for file in list(made.iterdir()):
        file.replace(out / file.name)
    made.rmdir()


def _write_adapter(adapter: Path, out: Path, export: Export, form: Form, family: FamilyExport) -> None:
    require_served(adapter, export.target, family)
    base = name_base(adapter, export.base, export.target, family)
    write_adapter(adapter, out, scale=export.strength, form=form, base=base, family=family)


def _base_name(adapter: Path | None, export: Export) -> BaseName:
    """How the model that training started from is called; no name where it is to be looked up in the run."""
    if export.base is not None:
        return given_base(export.base)
    config = read_adapter_config(adapter) if adapter else None
    return BaseName(config.base_model_name_or_path, config.revision) if config else BaseName(None, None)


def _digests(folder: Path, export: Export, family: FamilyExport, opened: Opened | None) -> set[str]:
    """By which evaluations may name what is exported: the checkpoint as it lies, and the weights as they go out.

    opened: those weights; None: an adapter alone.
    """
    found = set()
    if not export.average and export.strength == 1.0:
        found.add(folder_digest(folder))
        with suppress(CheckpointError):  # an adapter whose base is not here
            found.add(family.digest(folder, export.base))
    if opened is not None:
        state = opened.model.state_dict()
        found.add(weights_digest({name: tensor for name, tensor in state.items() if name not in family.tied}))
    return found


def _refuse_taken(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise ConfigError(f"out={out}: exists and is not an empty folder; nothing is overwritten, choose another")


@contextmanager
def _all_or_nothing(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when all went well and vanishes when not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        part.replace(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
