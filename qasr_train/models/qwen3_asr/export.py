"""Owns the export of a checkpoint: a complete directory that others load, in the layout they need, with a model card.

Input: an `Export` of a run's checkpoint (or several, averaged), any Qwen3-ASR directory or hub id, or a LoRA adapter. Output: a
native or original directory, the adapter merged, blended with its base if asked; or the adapter alone. All or nothing.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor

from qasr_train.errors import ConfigError
from qasr_train.files import parse_json, write_whole
from qasr_train.models.blending import average_into, interpolate_into
from qasr_train.models.locations import resolve_checkpoint
from qasr_train.models.lora_files import ADAPTER_CONFIG, export_adapter, read_adapter_config
from qasr_train.models.model_card import Origin, find_origin, model_card, run_folder, started_from
from qasr_train.models.qwen3_asr.layouts import (
    Layout,
    detect_layout,
    load_checkpoint,
    load_merged,
    save_native,
    save_original,
)
from qasr_train.models.settings import ExportDtype, ExportLayout
from qasr_train.text.languages import LANGUAGES


@dataclass(frozen=True)
class Export:
    """What is written for others to load.

    checkpoint: directory or hub id; revision: of a hub id. average: checkpoints of the same run, averaged with it.
    base: the model training started from; None: the one the adapter or the run names. strength: factor on what training
    changed. scores: folders or files of scored runs whose figures go into the model card.
    """

    checkpoint: str
    layout: ExportLayout
    dtype: ExportDtype
    average: Sequence[str]
    strength: float
    base: str | None
    revision: str | None
    scores: Sequence[str]


def write_export(export: Export, out: Path) -> Path:
    """Write the export and its README.md; returns the directory.

    Raises:
        ConfigError: `out` is taken, or a setting needs an adapter the checkpoint does not have.
        CheckpointError: the checkpoint, its adapter or its base is incomplete or damaged.
        OSError: disk full or no permission; nothing is left behind.
    """
    out = out.expanduser()
    _refuse_taken(out)
    folder = resolve_checkpoint(export.checkpoint, export.revision)
    adapter = _find_adapter(folder, export)
    origin = find_origin(export.checkpoint, folder, _base_name(adapter, export))
    card = model_card(
        layout=export.layout.value,
        dtype=export.dtype.value,
        strength=export.strength,
        num_averaged=1 + len(export.average),
        origin=origin,
        scores=[_read_scores(Path(path)) for path in export.scores],
    )
    with _all_or_nothing(out) as part:
        if export.layout is ExportLayout.adapter:
            assert adapter is not None
            export_adapter(adapter, part, scale=export.strength, dtype=_dtype(export), base=export.base)
        else:
            _write_model(folder, adapter, part, export, origin)
        write_whole(part / "README.md", card)
    return out


def _write_model(folder: Path, adapter: Path | None, part: Path, export: Export, origin: Origin) -> None:
    model, processor = _load_whole(folder, adapter, export)
    if export.layout is ExportLayout.native:
        save_native(model, processor, part, dtype=_dtype(export))
        return
    languages = [*LANGUAGES, *(name for name in origin.new_languages if name not in LANGUAGES)]
    save_original(model, processor, part, dtype=_dtype(export), languages=languages)


def _load_whole(
    folder: Path, adapter: Path | None, export: Export
) -> tuple[Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor]:
    """The model without adapters; one with LoRA in it is merged in float32, before rounding to the export's format."""
    if adapter is not None:
        return load_merged(adapter, base=export.base, dtype=torch.float32, scale=export.strength)
    if not export.average and export.strength == 1.0:
        return load_checkpoint(folder, dtype=_dtype(export))
    return _load_blended(folder, export)


def _load_blended(folder: Path, export: Export) -> tuple[Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor]:
    """Whole weights: the average of all checkpoints, then the way from the base to it; in float32."""
    others = [resolve_checkpoint(path) for path in export.average]
    for path, other in zip(export.average, others, strict=True):
        if run_folder(other) != run_folder(folder):
            raise ConfigError(
                f"average: {path} is not of the run of {export.checkpoint}; average checkpoints of one run"
            )
    base = find_start(folder, export.base) if export.strength != 1.0 else None
    model, processor = load_checkpoint(folder)
    average_into(model, ((other, load_any(other)) for other in others))
    if base is not None:
        interpolate_into(model, load_any(base), export.strength, base_folder=base)
    return model, processor


def load_any(folder: Path) -> Qwen3ASRForConditionalGeneration:
    """The whole weights of a checkpoint of any layout, in float32."""
    return (load_merged if detect_layout(folder) is Layout.ADAPTER else load_checkpoint)(folder)[0]


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


def _find_adapter(folder: Path, export: Export) -> Path | None:
    """The adapter the export is made with, or None where the checkpoint's own, whole weights are what is wanted.

    A LoRA checkpoint of ours holds both: the merged weights, and the adapter in `adapter/`.
    """
    if export.average:
        if export.layout is ExportLayout.adapter:
            raise ConfigError("average: gives whole weights, which no adapter holds; export layout=native or original")
        if detect_layout(folder) is Layout.ADAPTER:
            raise ConfigError(
                f"average: {export.checkpoint} is an adapter alone; name the checkpoints of the run, which hold whole weights"
            )
    if detect_layout(folder) is Layout.ADAPTER:
        return folder
    inner = folder / "adapter"
    has_adapter = (inner / ADAPTER_CONFIG).is_file() and not export.average
    if has_adapter and (export.layout is ExportLayout.adapter or export.strength != 1.0):
        return inner
    if export.layout is ExportLayout.adapter:
        raise ConfigError(
            f"layout=adapter: {export.checkpoint} holds no LoRA adapter, whole weights were trained in it; "
            "export layout=native or original"
        )
    if export.base is not None and export.strength == 1.0:
        raise ConfigError(f"base={export.base}: {export.checkpoint} is a whole model and needs none; leave base out")
    return None


def _base_name(adapter: Path | None, export: Export) -> str | None:
    return export.base or (read_adapter_config(adapter).base_model_name_or_path if adapter else None)


def _dtype(export: Export) -> torch.dtype:
    return {ExportDtype.bfloat16: torch.bfloat16, ExportDtype.float32: torch.float32}[export.dtype]


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
