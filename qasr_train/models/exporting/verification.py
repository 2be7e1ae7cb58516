"""Owns what is checked of an export once it is written: it opens, it holds what was meant, and it differs from its base.

Input: the folder, the tensors that were meant, the base where it lies on this machine. Output: a CheckpointError, or how many
tensors differ from the base's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from qasr_train.errors import CheckpointError
from qasr_train.models.exporting.family import FamilyExport, Form, Opened
from qasr_train.models.exporting.origin import started_from
from qasr_train.models.exporting.weights import Export
from qasr_train.models.locations import local_checkpoint
from qasr_train.models.lora_files import find_base, is_adapter, read_adapter_config
from qasr_train.models.safetensors_files import ADAPTER_FILE, read_tensors, stored_tensors


@dataclass(frozen=True, slots=True)
class Difference:
    """How an export differs from what training started from. base: the folder it was compared with; None: an update by itself."""

    num_changed: int
    num_tensors: int
    base: Path | None

    def sentence(self) -> str:
        """For the line that says what was written."""
        if self.base is None:
            return f"{self.num_changed} of {self.num_tensors} updates are not zero"
        return f"{self.num_changed} of {self.num_tensors} tensors differ from the base's"


def require_as_meant(
    folder: Path, meant: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], form: Form
) -> None:
    """Refuse an export that does not read back, bit by bit, as what was to be written.

    Args:
        meant: before they were rounded to the export's format. found: as the export gives them.

    Raises:
        CheckpointError: names the first tensor.
    """
    for name, tensor in meant.items():
        rounded = tensor.to(form.dtype) if tensor.is_floating_point() else tensor
        if name not in found or not torch.equal(rounded, found[name].to(rounded.dtype)):
            raise CheckpointError(
                f"{folder}: {name} does not read back as it was written; nothing is kept, check the disk and export again"
            )


def check_whole(folder: Path, opened: Opened, form: Form, family: FamilyExport) -> None:
    """Open a whole export as anyone would and compare every tensor; raises as `require_as_meant` and as opening does."""
    found = family.open_whole(folder, form.dtype).model.state_dict()
    require_as_meant(folder, opened.model.state_dict(), found, form)


def find_difference(
    folder: Path, checkpoint: Path, adapter: Path | None, export: Export, family: FamilyExport
) -> Difference | None:
    """How much of an export differs from its base; None where that is not known or not on this machine.

    Args:
        folder: the export. checkpoint: of which it was made. adapter: in that checkpoint, or None.
    """
    if is_adapter(folder):
        return _update(folder)
    base = _local_base(checkpoint, adapter, export)
    if base is None or is_adapter(base):
        return None
    try:
        before = read_tensors(family.weights(base))
    except CheckpointError:  # known by its small files alone
        return None
    after = read_tensors(family.weights(folder))
    if before.keys() != after.keys():
        return None
    changed = [name for name, tensor in after.items() if not torch.equal(tensor, before[name].to(tensor.dtype))]
    return Difference(len(changed), len(after), base)


def _update(folder: Path) -> Difference | None:
    """Of an adapter alone: its update is zero where its B is. DoRA changes magnitudes too, which zero says nothing of."""
    if read_adapter_config(folder).use_dora:
        return None
    tensors = read_tensors(stored_tensors(folder, ADAPTER_FILE))
    updates = [tensor for name, tensor in tensors.items() if ".lora_B" in name or ".lora_embedding_B" in name]
    return Difference(sum(bool(tensor.count_nonzero()) for tensor in updates), len(updates), None)


def _local_base(checkpoint: Path, adapter: Path | None, export: Export) -> Path | None:
    """What training started from, if it lies here; nothing is downloaded for the comparison."""
    if adapter is not None:
        return find_base(adapter, export.base)  # merged just now, so it is here
    inner = checkpoint / "adapter"
    if export.base is None and is_adapter(inner):
        config = read_adapter_config(inner)
        named = config.base_model_name_or_path
        if named and (inner / named).is_dir():
            return inner / named
        return local_checkpoint(str(named), config.revision) if named else None
    named = export.base or started_from(checkpoint)
    return local_checkpoint(named) if named else None
