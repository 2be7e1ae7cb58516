"""Owns what an exact resume needs beside the model directory: optimizer, trained adapter weights, random generators.

Input and output: the folder `state/` of a checkpoint. Nothing here unpickles: safetensors, or torch with `weights_only`.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from qasr_train.errors import CheckpointError
from qasr_train.models.base import ASRModel

TRAINED = "trained.safetensors"


def save_training_state(
    folder: Path, model: ASRModel, optimizer: torch.optim.Optimizer, generators: list[dict[str, Any]]
) -> None:
    """Write optimizer, trained weights and the generators of every process into a folder.

    The trained weights are written by their names in the live model: merged files of a LoRA run do not hold them, and a
    directory in bfloat16 would round them.
    """
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save(generators, folder / "generators.pt")
    save_file({n: p.detach().cpu().contiguous() for n, p in trained_parameters(model).items()}, folder / TRAINED)


def load_training_state(folder: Path, model: ASRModel, optimizer: torch.optim.Optimizer, *, rank: int) -> None:
    """Undo of `save_training_state`; a process that the checkpoint does not know keeps its fresh generators.

    Raises:
        CheckpointError: the checkpoint trained other parameters than this run would.
    """
    saved = load_file(folder / TRAINED)
    trained = trained_parameters(model)
    if other := sorted(saved.keys() ^ trained.keys()):
        raise CheckpointError(
            f"{folder.parent}: trained other parameters than this run would, e.g. {other[0]}; resume "
            "with the same adapt settings"
        )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(saved[name])
    optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True, map_location="cpu"))
    generators = torch.load(folder / "generators.pt", weights_only=True)
    if rank < len(generators):
        set_generator_state(generators[rank])


def trained_parameters(model: ASRModel) -> dict[str, nn.Parameter]:
    """Name -> parameter of all that is trained."""
    return {name: p for name, p in model.module.named_parameters() if p.requires_grad}


def generator_state() -> dict[str, Any]:
    """The states of Python's, numpy's, torch's and CUDA's random generators, as tensors and plain values."""
    version, python_state, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # libraries draw from the global one
    return {
        "python": [version, list(python_state), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_generator_state(state: dict[str, Any]) -> None:
    """Undo of `generator_state`."""
    version, python_state, gauss = state["python"]
    random.setstate((version, tuple(python_state), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
