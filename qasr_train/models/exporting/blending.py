"""Owns blends of whole models: the average of several checkpoints, and the way between a base model and its fine-tune.

Input: transformers models of the same shapes, in float32. Output: the first of them, changed in place. At most two are in
memory at a time.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from transformers import PreTrainedModel

from qasr_train.errors import CheckpointError


@torch.no_grad()
def average_into(model: PreTrainedModel, others: Iterable[tuple[Path, PreTrainedModel]]) -> None:
    """Replace the weights of `model` by the mean of its own and all others'.

    The mean of merged weights is the mean of the LoRA updates; the mean of the A and B factors would not be. Source: "model
    soups" (Wortsman et al. 2022), and the averaging of a run's last checkpoints that speech toolkits have long done.

    Args:
        model: the first of the models. others: (folder, to name it in an error; model), read one at a time.

    Raises:
        CheckpointError: another model has other weights or shapes.
    """
    mean = _weights(model)
    for number, (folder, other) in enumerate(others, start=2):
        for name, (own, added) in _pairs(mean, _weights(other), folder).items():
            mean[name].copy_(own + (added - own) / number)


@torch.no_grad()
def interpolate_into(model: PreTrainedModel, base: PreTrainedModel, strength: float, *, base_folder: Path) -> None:
    """Replace the weights of `model` by base + strength * (model - base).

    Source: WiSE-FT (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). 0 is the base, 1 the model itself.

    Raises:
        CheckpointError: the base has other weights or shapes than the model.
    """
    tuned = _weights(model)
    for name, (own, before) in _pairs(tuned, _weights(base), base_folder).items():
        tuned[name].copy_(before + strength * (own - before))


def _weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Floating-point tensors by name, tied ones once."""
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            tensors[name] = tensor
    return tensors


def _pairs(
    first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor], folder: Path
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    different = sorted(first.keys() ^ second.keys()) or [n for n in first if first[n].shape != second[n].shape]
    if different:
        raise CheckpointError(
            f"{folder}: is not of the same architecture and sizes as the other checkpoint ({len(different)} weights differ, "
            f"e.g. {different[0]}), and only equal ones can be blended"
        )
    return {name: (tensor, second[name]) for name, tensor in first.items()}
