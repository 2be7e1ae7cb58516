"""Owns the export of an adapter alone: its weights at another strength or number format, and how it names its base to others.

Input: an adapter's folder, an `Export` of it. Output: adapter_config.json and adapter_model.safetensors; a warning where others
could not open the base by the name they are given.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models.exporting.family import FamilyExport, Form
from qasr_train.models.exporting.verification import require_as_meant
from qasr_train.models.locations import BUNDLED, SMALL_FILES, origin_of, resolve_checkpoint
from qasr_train.models.lora_files import (
    BASE_DIGEST,
    find_base,
    is_adapter,
    read_adapter_config,
    refuse_weak_dora,
    require_base,
)
from qasr_train.models.safetensors_files import (
    ADAPTER_FILE,
    read_notes,
    read_tensors,
    require_finite,
    require_representable,
    stored_tensors,
    write_tensors,
)
from qasr_train.models.settings import ExportTarget

_log = logging.getLogger(__name__)


class BaseName(NamedTuple):
    """What an adapter calls its base. path: hub id, bundled name or folder; revision: of a hub id."""

    path: str | None
    revision: str | None


def write_adapter(folder: Path, out: Path, *, scale: float, form: Form, base: BaseName, family: FamilyExport) -> None:
    """Write a saved adapter again, at another strength, in another number format or for a base at another place.

    Args:
        folder: holds the adapter. out: where it goes.
        scale: factor on the update, see `merge_adapter`.
        form: number format of the weights on disk. base: how it names its base, see `name_base`.
        family: tells PEFT how to open that.

    Raises:
        CheckpointError, ConfigError: as for `attach_adapter` and `merge_adapter`, except that the base is not opened.
        OSError: disk full or no permission.
    """
    config = read_adapter_config(folder)
    refuse_weak_dora(config, scale)
    tensors = read_tensors(stored_tensors(folder, ADAPTER_FILE))
    require_finite(folder, tensors)
    for name, tensor in tensors.items():
        if ".lora_B" in name or ".lora_embedding_B" in name:  # the update is B times A, so one of the two carries it
            tensors[name] = tensor * scale
    out.mkdir(parents=True, exist_ok=True)
    noted = {key: value for key, value in read_notes(folder, ADAPTER_FILE).items() if key != "format"}
    require_representable(folder, tensors, form.dtype)
    write_tensors(tensors, out / ADAPTER_FILE, dtype=form.dtype, notes=noted)
    require_as_meant(out, tensors, read_tensors(stored_tensors(out, ADAPTER_FILE)), form)
    config.base_model_name_or_path, config.revision = base
    family.adapter.describe(config)
    config.save_pretrained(str(out))


def name_base(folder: Path, base: str | None, target: ExportTarget | None, family: FamilyExport) -> BaseName:
    """How the export of an adapter is to name its base, checked as far as it is at hand; says what others cannot do with it.

    Args:
        folder: of the adapter. base: the model to name, None: the one it names. target: what is to load it, or None.

    Raises:
        CheckpointError: the base holds other weights than the adapter was trained over.
        ConfigError: the target opens the base with transformers, which takes it for another model.
    """
    name = given_base(base) if base is not None else _named(folder)
    try:
        found = find_base(folder, base, files=SMALL_FILES)
    except CheckpointError as error:
        _log.warning("%s: whether others can open the adapter's base was not looked at (%s)", folder, error)
        return name
    _require_same(folder, found, family)
    # vLLM opens its base itself, in every layout.
    problem = None if target is ExportTarget.vllm else _hidden(found, family)
    if problem:
        if target is ExportTarget.peft:
            raise ConfigError(f"target=peft: the adapter's base {name.path} {problem}")
        _log.warning("%s: the adapter's base %s %s", folder, name.path, problem)
    elif name.path is not None and (name.path.startswith(BUNDLED) or Path(name.path).expanduser().is_dir()):
        _log.warning("%s: the adapter's base %s %s", folder, name.path, _place(name.path))
    return name


def given_base(base: str) -> BaseName:
    """A base by its name for others, with the commit that is here now."""
    try:
        return BaseName(*origin_of(base, resolve_checkpoint(base, files=SMALL_FILES)))
    except CheckpointError:
        return BaseName(base, None)


def _named(folder: Path) -> BaseName:
    """As the adapter itself names it; a path relative to where the adapter lies is none after the move."""
    config = read_adapter_config(folder)
    named = config.base_model_name_or_path
    if named and (folder / named).is_dir():
        return BaseName(str((folder / named).resolve()), None)
    return BaseName(named, config.revision)


def _require_same(folder: Path, base: Path, family: FamilyExport) -> None:
    """Refuse a base of other weights, where its weights lie here: a hub id may be known by its small files alone."""
    if BASE_DIGEST not in read_notes(folder, ADAPTER_FILE):
        return
    try:
        digest = family.digest(base, None)
    except CheckpointError:
        return
    require_base(folder, base, digest)


def _hidden(base: Path, family: FamilyExport) -> str | None:
    """Why transformers and PEFT do not open a base as the model it is, and what to do; None where they do."""
    if is_adapter(base):
        return "is an adapter itself, which PEFT does not open as a base; export the merged weights: layout=native"
    return family.hides_from_transformers(base)


def _place(path: str) -> str:
    """Why nobody elsewhere opens it by this name, and what to do."""
    merged = "or export the merged weights (layout=native)"
    if path.startswith(BUNDLED):
        return (
            f"is a name that only qasr_train knows; others give PeftModel the model of that folder themselves, {merged}"
        )
    return f"is a folder of this machine; publish it and export again with base=HUB_ID, {merged}"
