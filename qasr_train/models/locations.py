"""Owns where a checkpoint lies: a directory, a bundled one, or a hub id downloaded once; and reading its JSON files.

Input: `model.path` as the user gave it. Output: a local folder, or a CheckpointError that says why it is none.
"""

import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from transformers.utils import logging as transformers_logging

from qasr_train.errors import CheckpointError
from qasr_train.files import parse_json, without_moving_links

BUNDLED = "bundled:"  # `bundled:tiny-2` is a checkpoint inside the package
_ASSETS = Path(__file__).resolve().parents[1] / "assets"
SMALL_FILES = ("*.json", "*.txt", "*.jinja", "*.model")
HUB_FILES = (*SMALL_FILES, "*.safetensors")
_HUB_FILES_LEFT = ["*fp32*"]  # openai/whisper-large-v3 holds its weights a second time in float32
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SNAPSHOT = re.compile(
    r"/models--([\w.-]+?)--([\w.-]+)/snapshots/([0-9a-f]{40})$"
)  # how the Hub's client caches a model
_log = logging.getLogger(__name__)


def resolve_checkpoint(path: str, revision: str | None = None, *, files: Sequence[str] = HUB_FILES) -> Path:
    """The local directory of a checkpoint; only a hub id that is no directory here is looked up on the Hub.

    Args:
        path: a directory, `bundled:NAME`, or a hub id (`owner/name`).
        revision: git revision of a hub id; None is its default branch.
        files: patterns of what is downloaded of a hub id; SMALL_FILES is all but the weights.

    Raises:
        CheckpointError: it is neither; names both readings and why each failed.
    """
    if path.startswith(BUNDLED):
        return _bundled(path)
    folder = Path(path).expanduser()
    if path and folder.is_dir():
        return folder
    if path and folder.exists():
        raise CheckpointError(f"{path}: this is a file; give the directory that holds config.json and the weights")
    if not _HUB_ID.fullmatch(path):
        raise CheckpointError(
            f"{path}: no such directory (looked from {Path.cwd()}), and not a hub id either, which reads owner/name; "
            "correct the path"
        )
    return _download(path, revision, files)


def local_checkpoint(path: str, revision: str | None = None) -> Path | None:
    """The directory of a checkpoint if it is on this machine already; None where it would have to be fetched, or is nowhere.

    Args:
        path, revision: as `resolve_checkpoint` has them.
    """
    if path.startswith(BUNDLED) or Path(path).expanduser().is_dir():
        return resolve_checkpoint(path)
    if not _HUB_ID.fullmatch(path):
        return None
    cached = huggingface_hub.try_to_load_from_cache(path, "config.json", revision=revision)
    return Path(cached).parent if isinstance(cached, str) else None


def origin_of(path: str, folder: Path) -> tuple[str, str | None]:
    """What a checkpoint is to be called by whoever needs it later and elsewhere: (path or hub id, commit of a hub id).

    A link such as a run's `last` moves on, so the folder it leads to now is named; the Hub's own cache tells id and commit.

    Args:
        path: as the user gave it. folder: where it lies, from `resolve_checkpoint`.
    """
    if cached := _SNAPSHOT.search(folder.resolve().as_posix()):
        return f"{cached[1]}/{cached[2]}", cached[3]
    return without_moving_links(path), None


def read_config(folder: Path) -> dict[str, Any]:
    """The parsed config.json of a model directory; a CheckpointError names the folder and what to look for."""
    file = folder / "config.json"
    if not file.is_file():
        inner = sorted(
            str(p.parent.relative_to(folder)) for depth in ("*", "*/*") for p in folder.glob(f"{depth}/config.json")
        )[:3]
        hint = f"did you mean {', '.join(inner)} inside it?" if inner else "copy the complete checkpoint"
        raise CheckpointError(f"{folder}: no config.json, so this is not a model directory; {hint}")
    content = read_json(file)
    _refuse_absurd(file, content)
    return content


# Of config.json, by the end of a name: what no model has. More layers than these would take hours to build.
_BOUNDS = (
    (re.compile(r"_eps(?:ilon)?$"), 0.0, 0.5),
    (re.compile(r"(?:^|_)layers$"), 0, 1000),
    (re.compile(r"(?:^|_)heads$|^(?:hidden|vocab|intermediate)_size$|^d_model$|^head_dim$"), 1, 10**7),
)


def _refuse_absurd(file: Path, content: dict[str, Any]) -> None:
    """Refuse numbers of a config.json that are not finite, or that no model has; sections included.

    Raises:
        CheckpointError: names the file, the key and the value.
    """
    left = list(content.items())  # no recursion: a file may be nested as deep as Python just reads
    while left:
        name, value = left.pop()
        key = name.rpartition(".")[2]
        if isinstance(value, dict):
            left += [(f"{name}.{inner}", one) for inner, one in value.items()]
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        low, high = next(((low, high) for ending, low, high in _BOUNDS if ending.search(key)), (-math.inf, math.inf))
        if not math.isfinite(value) or not low <= value <= high:
            wanted = "a finite number" if not math.isfinite(value) else f"from {low:g} to {high:g}"
            raise CheckpointError(f"{file}: {name} is {value}; expected {wanted}, copy it from the source again")


def refuse_quantized(folder: Path, config: dict[str, Any]) -> None:
    """Refuse a config.json, or a section of one, that says its weights are quantized.

    Raises:
        CheckpointError: names the folder and the method.
    """
    for section in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in ("quantization_config", "compression_config"):
            if section.get(key):
                method = section[key].get("quant_method", "?") if isinstance(section[key], dict) else section[key]
                raise CheckpointError(
                    f"{folder}: config.json has a {key} (method {method!r}), and quantized weights can be neither trained nor "
                    "exported here; use the model in bfloat16 or float32 that they were made from"
                )


def require_files(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder without the files that text and audio are prepared with (CheckpointError names them)."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder}: {', '.join(missing)} missing, without which text and audio cannot be prepared; copy "
            f"{'it' if len(missing) == 1 else 'them'} from the model this one was made from"
        )


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file, or a CheckpointError that names it."""
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{file}: not readable as JSON ({error}); copy it from the source again") from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{file}: holds {type(content).__name__} instead of an object; copy it from the source again"
        )
    return content


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Keep transformers' bar of tensors, which lasts a moment, out of our output."""
    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()


def one_line(error: Exception) -> str:
    """A library's message, short enough to stand inside our sentence."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _bundled(path: str) -> Path:
    folder = _ASSETS / path.removeprefix(BUNDLED)
    if folder.is_dir() and folder.parent == _ASSETS:
        return folder
    names = sorted(f"{BUNDLED}{config.parent.name}" for config in _ASSETS.glob("*/config.json"))
    raise CheckpointError(
        f"{path}: no such bundled checkpoint; there is {', '.join(names) or 'none in this installation'}"
    )


def _download(path: str, revision: str | None, files: Sequence[str]) -> Path:
    _log.warning("%s: no such directory here, looking for it on the Hugging Face Hub", path)
    try:
        return Path(
            huggingface_hub.snapshot_download(
                path, revision=revision, allow_patterns=list(files), ignore_patterns=_HUB_FILES_LEFT
            )
        )
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        reason = "the Hub cannot be reached (or HF_HUB_OFFLINE is set) and no copy is in the local cache"
        raise CheckpointError(_neither(path, revision, reason)) from error
    except HFValidationError as error:
        raise CheckpointError(_neither(path, revision, "the name is not allowed there")) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        reason = f"the Hub answered {status}: it does not exist there, or needs `hf auth login`"
        raise CheckpointError(_neither(path, revision, reason)) from error
    except OSError as error:
        raise CheckpointError(_neither(path, revision, f"downloading failed ({error})")) from error


def _neither(path: str, revision: str | None, reason: str) -> str:
    at = f" at revision {revision}" if revision else ""
    return f"{path}: not a directory here ({Path.cwd()}), and as a hub id{at}: {reason}; correct the path or get the model first"
