"""Owns the run directory: claiming it for one run, and the record of what was run (`run.json`, `config.yaml`).

Input: a path and the checked config. Output: a directory no other run writes to, with everything needed to say what produced it.
No torch is imported here; a recipe that has imported it gets its device recorded.
"""

import dataclasses
import fcntl
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from qasr_train.config.settings import MISSING
from qasr_train.errors import ConfigError
from qasr_train.files import os_error_sentence, parse_json, without_moving_links, write_json, write_whole
from qasr_train.text.normalize import DEFAULT_NORMALIZER, NORMALIZERS

RUN_VERSION = 1
RUN_FILE = "run.json"
CONFIG_FILE = "config.yaml"
_PACKAGES = (
    "qasr_train",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "jiwer",
    "soundfile",
    "soxr",
    "numpy",
)
_CODE_DIR = Path(__file__).resolve().parents[1]  # of the package, where errors.py lies


@contextmanager
def run_directory(path: str | Path, config: Any, recipe: str, *, resume: bool = False) -> Iterator[Path]:
    """Claim a run directory and record what runs in it; a run that fails before writing anything leaves it free again.

    In a distributed job only the main process does this, and the others wait for it.

    Args:
        path: the directory; made with its parents.
        config: the job's config dataclass.
        recipe: the recipe's name, e.g. "finetune".
        resume: go on in a directory that a run has claimed before.

    Raises:
        ConfigError: the directory is in use, no directory, or cannot be written; or there is nothing to resume.
    """
    run_dir = claim_run_dir(path, resume=resume)
    try:
        save_provenance(run_dir, config, recipe)
        yield run_dir
    except BaseException:
        if not resume:
            release_if_unused(run_dir)
        raise
    finally:
        unlock_run_dir(run_dir)


def claim_run_dir(path: str | Path, *, resume: bool = False) -> Path:
    """Take a directory for this run; of two processes that ask at once, one gets it.

    The claim is `run.json`, created exclusively: that holds on network file systems too, where locks may not. A lock on the
    folder besides it keeps two processes from resuming one run at once.

    Raises:
        ConfigError: a run (or any file) is there already and `resume` is off; nothing is there and `resume` is on; another
            process is at work on it.
    """
    run_dir = Path(path)
    if resume:
        if not (run_dir / RUN_FILE).is_file():
            raise ConfigError(
                f"resume=true, but {run_dir} holds no run ({RUN_FILE}); check run_dir or set resume=false"
            )
        _lock(run_dir)
        return run_dir
    with _told_plainly(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        if any(run_dir.iterdir()):
            raise _in_use(run_dir)
        try:
            os.close(os.open(run_dir / RUN_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            raise _in_use(run_dir) from None
    _lock(run_dir)
    return run_dir


_locks: dict[Path, int] = {}  # folder -> the descriptor by which this process holds it


def _lock(run_dir: Path) -> None:
    """Keep other processes from going on with this run until `unlock_run_dir`, or the end of this process in any way."""
    folder = run_dir.resolve()
    if folder in _locks:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(
            f"{run_dir}: another process is at work on this run; wait for it, or choose another run_dir"
        ) from None
    except OSError:  # a file system without locks for folders: there the claim alone protects
        os.close(descriptor)
        return
    _locks[folder] = descriptor


def unlock_run_dir(run_dir: Path) -> None:
    """Let other processes go on with a run that this one has claimed; nothing where it has not."""
    descriptor = _locks.pop(run_dir.resolve(), None)
    if descriptor is not None:
        os.close(descriptor)


def _forget_locks() -> None:
    # A forked loader worker that outlives a killed run for seconds must not hold its lock.
    for folder in list(_locks):
        unlock_run_dir(folder)


os.register_at_fork(after_in_child=_forget_locks)


def release_if_unused(run_dir: Path) -> bool:
    """Remove a claimed directory in which nothing but the record (and empty files) was written; returns whether it did."""
    entries = list(run_dir.iterdir()) if run_dir.is_dir() else []
    records = {RUN_FILE, CONFIG_FILE}
    if not all(entry.is_file() and (entry.name in records or entry.stat().st_size == 0) for entry in entries):
        return False
    for entry in entries:
        entry.unlink()
    run_dir.rmdir()
    return True


def save_provenance(run_dir: Path, config: Any, recipe: str) -> None:
    """Write `run.json` and `config.yaml`: resolved config, command, start time, git commit, versions, device; no host name.

    In a directory that holds the record of an earlier start (a resumed run), the new start is added under `resumed`.
    """
    start = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git_state(_CODE_DIR),
        "versions": package_versions(),
        "device": device_record(),
    }
    plain = plain_config(config)
    earlier = read_run(run_dir) if (run_dir / RUN_FILE).stat().st_size else None
    if earlier is not None:
        earlier.setdefault("resumed", []).append(start | {"config": plain})
        write_record(run_dir / RUN_FILE, earlier)
        return
    write_record(run_dir / RUN_FILE, {"version": RUN_VERSION, "recipe": recipe, **start, "config": plain})
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
    with _told_plainly(run_dir / CONFIG_FILE):
        write_whole(
            run_dir / CONFIG_FILE, f"# A record of what ran, not an input: see {RUN_FILE} for the command.\n{text}"
        )


def read_run(run_dir: str | Path) -> dict[str, Any]:
    """The record of a run directory.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    path = Path(run_dir) / RUN_FILE
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; {run_dir} is not the folder of a run") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: is not a complete JSON file ({error}); the run was cut off or the file damaged"
        ) from None
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {type(record).__name__}")
    return record


def has_record(run_dir: Path) -> bool:
    """Whether a run was begun there; an empty record is of one that was killed right after it had claimed the folder."""
    record = run_dir / RUN_FILE
    return record.is_file() and record.stat().st_size > 0


def record_in_run(run_dir: Path, **values: Any) -> None:
    """Add to the record of a run directory what is known now."""
    write_record(run_dir / RUN_FILE, read_run(run_dir) | values)


def recorded_normalizer(run_dir: str | Path, asked: str, *, resume: bool) -> str:
    """The rules of comparison that a run goes on with: where it is asked for today's default alone, those it began with.

    An older run began with an older default, and half of its figures by other rules would be comparable with nothing. Rules that
    are not the default are the user's own words and stay (a run may then be refused, or be scored anew).
    """
    if not resume or asked != DEFAULT_NORMALIZER:
        return asked
    recorded = normalizer_of_record(run_dir)
    if recorded in (None, asked) or recorded not in NORMALIZERS:
        return asked
    if os.environ.get("RANK", "0") == "0":
        print(f"note: {run_dir} was begun with normalizer={recorded}, which stays; recipes/score.py scores by {asked}")
    return recorded


def normalizer_of_record(run_dir: str | Path) -> str | None:
    """The rules of comparison that the record of a run directory names; None where there is none, or it names none."""
    config = recorded_config(run_dir)
    suite = config.get("suite")
    name = config.get("normalizer") or (suite.get("normalizer") if isinstance(suite, dict) else None)
    return name if isinstance(name, str) else None


def recorded_config(run_dir: str | Path) -> dict[str, Any]:
    """The settings in the record of a run directory; {} where there is none."""
    path = Path(run_dir) / RUN_FILE
    config = read_run(run_dir).get("config") if path.is_file() and path.stat().st_size else None
    return config if isinstance(config, dict) else {}


def check_same_config(run_dir: Path, config: Any, ignore: Sequence[str] = ()) -> None:
    """Refuse to resume with settings other than the run was started with.

    A setting that the run's record does not hold, because it is younger than the run, counts as its default.

    Args:
        ignore: keys or sections that may differ, e.g. "resume", "tracking".

    Raises:
        ConfigError: names every key that differs, with both values.
    """
    before = _flat(defaults_of(config)) | _flat(read_run(run_dir).get("config", {}))
    after = _flat(plain_config(config))
    names = [key for key in {**before, **after} if _differ(before.get(key, "(not set)"), after.get(key, "(not set)"))]
    names = [key for key in names if not any(key == name or key.startswith(f"{name}.") for name in ignore)]
    if names:
        changes = ", ".join(f"{n}: {_shown(before, n)} -> {_shown(after, n)}" for n in names)
        raise ConfigError(
            f"resume with another config than {run_dir} was started with ({changes}); give the same settings, or another run_dir"
        )


def _differ(before: Any, after: Any) -> bool:
    """Older runs recorded the link `last`; where it still leads to the same folder, that is the same setting."""
    return before != after and not (isinstance(before, str) and without_moving_links(before) == after)


def plain_config(config: Any) -> Any:
    """A config dataclass as dicts, lists and scalars, enums by name: what JSON and YAML hold."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: plain_config(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, dict):
        return {str(key): plain_config(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain_config(value) for value in config]
    if isinstance(config, Enum):
        return config.name
    return str(config) if isinstance(config, Path) else config


def defaults_of(config: Any) -> dict[str, Any]:
    """The defaults of the settings of a config and of the sections in it, without those that must be given; as `plain_config`."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found[field.name] = defaults_of(value)
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if default is not dataclasses.MISSING and default != MISSING and default != {}:
            found[field.name] = plain_config(default)
    return found


def git_state(code_dir: Path) -> dict[str, Any] | None:
    """{"commit", "is_dirty"} of the checkout that holds the code; None without git, or where the code is not tracked."""
    if _git(code_dir, "ls-files", "--error-unmatch", "errors.py") is None:
        return None
    commit, changes = (
        _git(code_dir, "rev-parse", "HEAD"),
        _git(code_dir, "status", "--porcelain", "--untracked-files=no"),
    )
    return {"commit": commit, "is_dirty": bool(changes)} if commit else None


def package_versions() -> dict[str, str]:
    """Python's version and those of the libraries a result depends on; a package that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def device_record() -> dict[str, Any]:
    """What computes: {"kind": "cuda", "name", "count"} or {"kind": "cpu", "machine", "num_threads"}."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return {"kind": "cuda", "name": torch.cuda.get_device_name(), "count": torch.cuda.device_count()}
    num_threads = torch.get_num_threads() if torch is not None else os.cpu_count()
    return {"kind": "cpu", "machine": platform.machine(), "num_threads": num_threads}


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON file of a run directory, all or nothing.

    Raises:
        ConfigError: it cannot be written there.
    """
    with _told_plainly(path):
        write_json(path, record)


@contextmanager
def _told_plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"{path}: is a file or lies below one; choose a folder for run_dir") from None
    except FileNotFoundError:
        raise ConfigError(f"{path}: cannot be made there; choose another folder for run_dir") from None
    except OSError as error:
        sentence = os_error_sentence(error, path)
        if sentence is None:
            raise
        raise ConfigError(sentence) from error


def _in_use(run_dir: Path) -> ConfigError:
    hint = ", or set resume=true to go on with it" if (run_dir / RUN_FILE).exists() else ": nothing is ever overwritten"
    return ConfigError(f"{run_dir}: exists and is not empty; choose another run_dir{hint}")


def _git(code_dir: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(code_dir), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            k: v for name, item in value.items() for k, v in _flat(item, f"{key}.{name}" if key else str(name)).items()
        }
    return {key: value}


def _shown(values: dict[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "(not set)"
