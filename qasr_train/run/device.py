"""Owns where a model runs and in which number format, chosen or refused before anything is loaded.

Input: the `device` and `precision` settings. Output: a torch device and dtype, or a ConfigError.
"""

from enum import Enum

import torch

from qasr_train.errors import ConfigError


class Device(str, Enum):
    """Where to compute."""

    auto = "auto"  # a GPU where there is one
    cpu = "cpu"
    cuda = "cuda"


class Precision(str, Enum):
    """Number format of weights and activations in transcription."""

    auto = "auto"  # bf16 on a GPU that has it, else fp32
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"  # always refused, with the reason: see refuse_fp16


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


def refuse_fp16(precision: Precision, key: str) -> None:
    """Raise ConfigError for fp16: it is a choice only so that the reason can be told."""
    if precision is Precision.fp16:
        raise ConfigError(
            f"{key}=fp16: the decoder of Qwen3-ASR overflows float16 and writes '!!!!'; use bf16 (same memory), or fp32"
        )
