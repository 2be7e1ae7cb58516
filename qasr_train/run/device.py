"""Owns where a model runs and in which number format, chosen or refused before anything is loaded.

Input: the `device` and `precision` settings. Output: a torch device and dtype, or a ConfigError; with the processes, a `Machine`.
"""

from dataclasses import dataclass

import torch

from qasr_train.errors import ConfigError
from qasr_train.run.processes import Processes, join_processes
from qasr_train.run.settings import Device, Precision, refuse_fp16


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a run computes. device: of this one of the processes. dtype: of the model's weights."""

    processes: Processes
    device: torch.device
    dtype: torch.dtype


def join_machine(device: Device, precision: Precision) -> Machine:
    """Choose device and number format, and join the processes that were launched together.

    Raises:
        ConfigError: as `choose_device`; fp16.
    """
    kind = choose_device(device)
    dtype = choose_dtype(precision, kind)
    processes, own = join_processes(kind)
    return Machine(processes, own, dtype)


def choose_device(device: Device, *, key: str = "device") -> torch.device:
    """The device meant; "auto" takes a GPU where there is one. key: the setting's name, for the message.

    Raises:
        ConfigError: a GPU was asked for and torch sees none.
    """
    has_gpu = torch.cuda.is_available()
    if device is Device.cuda and not has_gpu:
        build = "its CUDA build finds no GPU" if torch.version.cuda else "this is its CPU build"
        raise ConfigError(f"{key}=cuda: torch {torch.__version__} sees no GPU ({build}); set {key}=cpu, or auto")
    return torch.device("cuda" if has_gpu and device is not Device.cpu else "cpu")


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of the weights: float32 or bfloat16."""
    refuse_fp16(precision, "precision")
    if precision is Precision.auto:
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else torch.float32
    return torch.bfloat16 if precision is Precision.bf16 else torch.float32
