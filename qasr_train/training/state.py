"""Owns what an exact resume needs beside the model directory: optimizer, trained adapter weights, random generators.

Input and output: the folder `state/` of a checkpoint. Nothing here unpickles: safetensors, or torch with `weights_only`.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from qasr_train.errors import CheckpointError
from qasr_train.models.base import Trainable
from qasr_train.models.safetensors_files import LazyTensor, read_tensors, stored_tensors, write_tensors
from qasr_train.training.deepspeed_zero import ZeroOptimizer

TRAINED = "trained.safetensors"
OPTIMIZER = "optimizer.safetensors"


def save_training_state(
    folder: Path | None,
    *,
    model: Trainable,
    optimizer: torch.optim.Optimizer | ZeroOptimizer,
    generators: list[dict[str, Any]],
) -> None:
    """Write optimizer, trained weights and the generators of every process into a folder.

    The trained weights are written by their names in the live model: merged files of a LoRA run do not hold them, and a
    directory in bfloat16 would round them. Tensors sharded over processes are written whole, under names that do not depend
    on the processes, so that a run may go on with another number of them.

    Args:
        folder: None takes part in gathering sharded tensors and writes nothing.
    """
    write_tensors(_optimizer_tensors(model, optimizer), None if folder is None else folder / OPTIMIZER)
    trained = {name: parameter.detach() for name, parameter in trained_parameters(model).items()}
    write_tensors(trained, None if folder is None else folder / TRAINED)
    if folder is not None:
        torch.save(generators, folder / "generators.pt")


def load_training_state(
    folder: Path, model: Trainable, optimizer: torch.optim.Optimizer | ZeroOptimizer, *, rank: int
) -> None:
    """Undo of `save_training_state`; a process that the checkpoint does not know keeps its fresh generators.

    Raises:
        CheckpointError: the checkpoint trained other parameters than this run would.
    """
    saved = read_tensors(stored_tensors(folder, TRAINED))
    trained = trained_parameters(model)
    if other := sorted(saved.keys() ^ trained.keys()):
        raise CheckpointError(
            f"{folder.parent}: trained other parameters than this run would, e.g. {other[0]}; resume "
            "with the same adapt settings"
        )
    values = _remembered_values(folder)
    if isinstance(optimizer, ZeroOptimizer):
        optimizer.load(trained, saved, values)
    else:
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(_sharded_like(parameter, saved[name]))
        _load_optimizer(values, model, optimizer)
    generators = torch.load(folder / "generators.pt", weights_only=True)
    if rank < len(generators):
        set_generator_state(generators[rank])


def _optimizer_tensors(
    model: Trainable, optimizer: torch.optim.Optimizer | ZeroOptimizer
) -> Mapping[str, torch.Tensor | LazyTensor]:
    """ "name of the parameter/name of the value" -> tensor, of all that the optimizer remembers."""
    if isinstance(optimizer, ZeroOptimizer):
        return optimizer.tensors(trained_parameters(model))
    tensors = {}
    for name, parameter in trained_parameters(model).items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, int):  # as bitsandbytes counts its steps
                value = torch.tensor(value)
            assert isinstance(value, torch.Tensor), f"{type(optimizer).__name__} keeps {key} of {name} as no tensor"
            tensors[f"{name}/{key}"] = value
    return tensors


def _remembered_values(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Name of the parameter -> name of the value -> tensor, of all that the optimizer remembered."""
    values: dict[str, dict[str, torch.Tensor]] = {}
    for full_name, tensor in read_tensors(stored_tensors(folder, OPTIMIZER)).items():
        name, _, key = full_name.rpartition("/")
        values.setdefault(name, {})[key] = tensor
    return values


def _load_optimizer(
    values: Mapping[str, Mapping[str, torch.Tensor]], model: Trainable, optimizer: torch.optim.Optimizer
) -> None:
    names = {parameter: name for name, parameter in trained_parameters(model).items()}
    state: dict[int, dict[str, torch.Tensor | int]] = {}
    number = 0
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if own := values.get(names[parameter]):
                state[number] = {key: _remembered(parameter, tensor) for key, tensor in own.items()}
            number += 1
    # The optimizer's own loading puts each value on the device and in the format it wants.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _remembered(parameter: nn.Parameter, tensor: torch.Tensor) -> torch.Tensor | int:
    """What the optimizer is given back of a parameter; whole numbers were written as int64 scalars."""
    if tensor.ndim == 0 and tensor.dtype == torch.int64:
        return int(tensor)
    return _sharded_like(parameter, tensor).clone()


def _sharded_like(parameter: nn.Parameter, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, sharded as the parameter is; one of another shape (a step count) is held whole by every process."""
    if not isinstance(parameter, DTensor) or tensor.shape != parameter.shape:
        return tensor
    tensor = tensor.to(parameter.device_mesh.device_type)
    # Every process has read the file, so none needs to send its part.
    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)


def trained_parameters(model: Trainable) -> dict[str, nn.Parameter]:
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
