"""Owns telling checkpoints apart by their content: the same path may hold other weights tomorrow.

Input: a model config. Output: a digest of the files of a local directory; None for a hub id, which its revision names. Or
tensors by name, in whatever layout and number format they lie: a digest of the weights they are, for what is made over them.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from qasr_train.models.settings import ModelConfig

_READ_BYTES = 2**22
_NUM_SAMPLED = 64  # values of each tensor
_COUNTED_SUFFIXES = {".safetensors", ".bin", ".json", ".jinja", ".txt"}
# Written beside a model, but no part of what it hears.
_NOT_COUNTED = {"run.json", "checkpoint.json", "trainer_state.json"}


def checkpoint_digest(config: ModelConfig) -> str | None:
    """A digest of weights, configuration and tokenizer in the directories that a config names."""
    local = [Path(folder).expanduser() for folder in config.locations() if folder]
    digests = [folder_digest(folder) for folder in local if folder.is_dir()]
    return "+".join(digests) or None


def folder_digest(folder: Path) -> str:
    """A digest of the files of a directory that decide what a model hears, byte by byte."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _COUNTED_SUFFIXES and path.name not in _NOT_COUNTED:
            digest.update(f"{path.name}:{path.stat().st_size}:".encode())
            with open(path, "rb") as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
    return digest.hexdigest()[:16]


def weights_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """A digest of weights as they are in bfloat16, so that a copy in another layout or number format has the same.

    Args:
        tensors: by the names the model gives them, on the CPU; they are read once, some 5 GB a second on two cores.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().to(torch.bfloat16).contiguous().view(-1)
        whole_words = values[: len(values) // 4 * 4].view(
            torch.int64
        )  # a sum of words wraps, and has no order to depend on
        rest = values[len(values) // 4 * 4 :].view(torch.int16).tolist()
        step = max(1, len(values) // _NUM_SAMPLED)  # a sum would not tell values that changed places
        sampled = values[::step][:_NUM_SAMPLED].view(torch.int16).tolist()
        digest.update(f"{name}:{tuple(tensors[name].shape)}:{int(whole_words.sum())}:{rest}:{sampled}".encode())
    return digest.hexdigest()[:16]
