"""Owns the export of a checkpoint: a complete directory that others load, in the layout they need, with a model card.

Input: an `Export` of a run's checkpoint (or several, averaged), of any directory or hub id of a family that can be exported, or
of a LoRA adapter. Output: a directory in one of the family's layouts, the adapter merged, blended with its base if asked; or
the adapter alone. All or nothing.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from qasr_train.errors import ConfigError
from qasr_train.files import parse_json, write_whole
from qasr_train.models.exporting.adapters import name_base, write_adapter
from qasr_train.models.exporting.family import FamilyExport, Form, find_export
from qasr_train.models.exporting.model_card import find_origin, model_card
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
}


class Written(NamedTuple):
    """What became of settings that were left to target and family, and of the weights. difference: None where not known."""

    layout: ExportLayout
    dtype: ExportDtype
    difference: Difference | None


def write_export(export: Export, out: Path, check: Callable[[Path], None] | None = None) -> Written:
    """Write the export and its README.md into `out`, open it again and compare every tensor with what was meant.

    Args:
        check: called with the finished folder before it takes its name; whatever it raises, nothing is left behind.

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
    export = replace(export, layout=layout, dtype=family.dtype_of(export.dtype))
    if layout is ExportLayout.adapter and export.max_shard_bytes is not None:
        raise ConfigError("max_shard_size: an adapter is one file, which PEFT reads whole; leave it out")
    form = Form(layout, _DTYPES[export.dtype], export.max_shard_bytes)
    adapter = find_adapter(folder, export, family)
    origin = find_origin(export.checkpoint, folder, _base_name(adapter, export))
    card = model_card(
        family.card,
        layout=layout,
        dtype=export.dtype.value,
        strength=export.strength,
        num_averaged=1 + len(export.average),
        origin=origin,
        scores=[_read_scores(Path(path)) for path in export.scores],
    )
    with _all_or_nothing(out) as part:
        if layout is ExportLayout.adapter:
            assert adapter is not None
            _write_adapter(adapter, part, export, form, family)
        else:
            opened = load_whole(folder, adapter, export, family, dtype=form.dtype)
            require_representable(export.checkpoint, dict(opened.model.named_parameters()), form.dtype)
            family.save(opened, part, form, origin.new_languages)
            check_whole(part, opened, form, family)
            del opened
        write_whole(part / "README.md", card)
        difference = find_difference(part, folder, adapter, export, family)
        if check is not None:
            check(part)
    return Written(layout, export.dtype, difference)


def _write_adapter(adapter: Path, out: Path, export: Export, form: Form, family: FamilyExport) -> None:
    require_served(adapter, export.target, family)
    base = name_base(adapter, export.base, export.target, family)
    write_adapter(adapter, out, scale=export.strength, form=form, base=base, family=family)


def _base_name(adapter: Path | None, export: Export) -> str | None:
    return export.base or (read_adapter_config(adapter).base_model_name_or_path if adapter else None)


def _read_scores(path: Path) -> tuple[str, dict]:
    """The run folder's name and the content of its scores.json."""
    file = path / "scores.json" if path.is_dir() else path
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
        content["sets"], content["normalizer"]
    except FileNotFoundError:
        raise ConfigError(
            f"scores: {path} holds no scores.json; give folders that evaluate.py or score.py wrote"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"scores: {file} is not a scores.json of ours ({error!r}); write it again") from error
    return file.resolve().parent.name, content


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
