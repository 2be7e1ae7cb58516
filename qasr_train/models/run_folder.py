"""Owns what a path leads to where a user names a run and not the checkpoint in it. Every `model.path` goes through here.

Input: a path. Output: that of the run's best checkpoint, else its last. Imports no torch, asks no hub.
"""

from pathlib import Path, PurePath

from qasr_train.errors import CheckpointError
from qasr_train.files import parse_json

_IN_RUN = ("checkpoints/best", "checkpoints/last")  # links of a run's folder, see training/saving.py
_OF_MODEL = ("config.json", "adapter_config.json")
_RUN_FILE = "run.json"


def checkpoint_in_run(path: str) -> str:
    """The best checkpoint of a run's folder, else its last; any other path as it is.

    Raises:
        CheckpointError: it is a run, and holds no checkpoint.
    """
    folder = Path(path).expanduser()
    if not path or _holds_model(folder):
        return path
    found = next((name for name in _IN_RUN if _holds_model(folder / name)), None)
    if found is None and (folder / _RUN_FILE).is_file():
        recipe = _recipe(folder)
        why = (
            "has saved no checkpoint yet" if recipe == "finetune" else f"is one of {recipe}, which saves no checkpoints"
        )
        raise CheckpointError(f"{path}: this run {why}; name a model, or a run of finetune that has saved one")
    return path if found is None else str(PurePath(path) / found)


def name_of_run(path: str) -> str:
    """By what a model is called: the last part of its path, of a run's checkpoint that of the run."""
    parts = PurePath(path).parts
    return parts[-3] if len(parts) > 2 and parts[-2] == "checkpoints" else PurePath(path).name


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _OF_MODEL)


def _recipe(run: Path) -> str:
    try:
        return str(parse_json((run / _RUN_FILE).read_text(encoding="utf-8"))["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another recipe"
