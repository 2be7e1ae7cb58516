"""Owns what a path leads to, where a user names a run or a checkpoint and not what is in it: its checkpoint, its family.

Input: a model config. Output: the same, or that of the family whose checkpoint lies there. Imports no torch, asks no hub.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from qasr_train.files import parse_json
from qasr_train.models.families import FAMILIES

_IN_RUN = ("checkpoints/best", "checkpoints/last")  # links of a run's folder, see training/saving.py


def checkpoint_in_run(path: str) -> str:
    """The best checkpoint of a run's folder, else its last; any other path as it is."""
    folder = Path(path).expanduser()
    if (folder / "config.json").is_file():
        return path
    return next((str(folder / name) for name in _IN_RUN if (folder / name / "config.json").is_file()), path)


def model_as_found(model: Any) -> Any:
    """The config of what really lies at `model.path`: of a run's folder its best checkpoint, and its own family's defaults.

    What is no folder here, or is of a family that config.json does not tell, stays as it is and is judged when it is loaded.
    """
    path = checkpoint_in_run(model.path)
    model = model if path == model.path else replace(model, path=path)
    try:
        content = parse_json((Path(path).expanduser() / "config.json").read_text(encoding="utf-8"))
        model_type = content.get("model_type")
    except (ValueError, OSError, AttributeError):
        return model
    found = next((family for family in FAMILIES.values() if model_type in family.model_types), None)
    return model if found is None or isinstance(model, found.config) else found.config(path=model.path)
