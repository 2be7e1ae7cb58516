"""Owns which family a checkpoint is of, where a user names its path and not what is in it.

Input: a model config. Output: the same, or that of the family whose checkpoint lies there. Imports no torch, asks no hub.
"""

from pathlib import Path
from typing import Any

from qasr_train.files import parse_json
from qasr_train.models.families import FAMILIES


def model_as_found(model: Any) -> Any:
    """The config of what really lies at `model.path`, with its own family's defaults.

    What is no folder here, or is of a family that config.json does not tell, stays as it is and is judged when it is loaded.
    """
    try:
        content = parse_json((Path(model.path).expanduser() / "config.json").read_text(encoding="utf-8"))
        model_type = content.get("model_type")
    except (ValueError, OSError, AttributeError):
        return model
    found = next((family for family in FAMILIES.values() if model_type in family.model_types), None)
    return model if found is None or isinstance(model, found.config) else found.config(path=model.path)
