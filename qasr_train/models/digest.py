"""Owns telling checkpoints apart by their content: the same path may hold other weights tomorrow.

Input: a model config. Output: a digest of the files of a local directory; None for a hub id, which its revision names.
"""

import hashlib
from pathlib import Path

from qasr_train.models.settings import ModelConfig

_READ_BYTES = 2**22
_COUNTED_SUFFIXES = {".safetensors", ".bin", ".json", ".jinja", ".txt"}
# Written beside a model, but no part of what it hears.
_NOT_COUNTED = {"run.json", "checkpoint.json", "trainer_state.json"}


def checkpoint_digest(config: ModelConfig) -> str | None:
    """A digest of weights, configuration and tokenizer in the directories that a config names."""
    local = [Path(folder).expanduser() for folder in config.locations() if folder]
    digests = [_folder_digest(folder) for folder in local if folder.is_dir()]
    return "+".join(digests) or None


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _COUNTED_SUFFIXES and path.name not in _NOT_COUNTED:
            digest.update(f"{path.name}:{path.stat().st_size}:".encode())
            with open(path, "rb") as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
    return digest.hexdigest()[:16]
