"""Owns where a checkpoint comes from: the run that made it, what that run was trained on, the published model at the beginning.

Input: a checkpoint's folder, and the name the user gave it. Output: an `Origin`, of the records that runs keep (run.json).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from qasr_train.errors import UserError
from qasr_train.files import parse_json
from qasr_train.models.locations import BUNDLED, origin_of
from qasr_train.text.languages import resolve_language

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MAX_GENERATIONS = 10  # runs that started from runs, followed back to a published model


class Published(NamedTuple):
    """A model that others can get. name: hub id or bundled name. commit: of a hub id, None where it was not recorded."""

    name: str
    commit: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint comes from.

    base: the published model that training started from, None where it is not known.
    run: the record of the fine-tune (run.json), {} where there is none. state: the checkpoint's train state, or {}.
    """

    base: Published | None
    run: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def base_name(self) -> str | None:
        """Hub id or bundled name of the base."""
        return self.base.name if self.base else None

    @property
    def base_hub_id(self) -> str | None:
        """The id of a base that lies on the Hub."""
        return None if self.base is None or self.base.name.startswith(BUNDLED) else self.base.name

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """Settings of the training sources, by the names the user gave them."""
        return self.run.get("config", {}).get("data", {}).get("train") or {}

    @property
    def new_languages(self) -> list[str]:
        """Languages the run added to the model's own, in order."""
        names = [name for source in self.sources.values() for name in source.get("new_languages") or []]
        return list(dict.fromkeys(names))

    @property
    def datasets(self) -> list[str]:
        """Ids of the sources that are datasets of the Hub, as they were known when the run read them."""
        found = [self.source_record(name).get("dataset") for name in self.sources]
        return list(dict.fromkeys(one for one in found if one))

    def source_record(self, name: str) -> dict[str, Any]:
        """What the run noted of a source: {"dataset", "hours"}; {} of a run that noted nothing yet."""
        return (self.run.get("sources") or {}).get(name) or {}

    @property
    def hours(self) -> dict[str, float]:
        """Hours of one pass over all sources that are not streamed, by language as declared, most first."""
        total: dict[str, float] = {}
        for name in self.sources:
            for language, number in (self.source_record(name).get("hours") or {}).items():
                total[language] = total.get(language, 0.0) + number
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    @property
    def languages(self) -> list[str]:
        """Those that rows or sources of the training declare, by their names."""
        declared = [_language_of(source) for source in self.sources.values()]
        return [name for name in dict.fromkeys([*self.hours, *declared]) if name and name != "unknown"]


def find_origin(checkpoint: str, folder: Path, base: str | None, base_commit: str | None = None) -> Origin:
    """The run that made a checkpoint, and the published model at the beginning of it all.

    Args:
        checkpoint: as the user gave it. folder: where it lies.
        base: what its adapter names, or None; base_commit: the commit of that, where it is a hub id.
    """
    run = _run_of(folder)
    if base is not None:
        reference: str | None = base
        commit = base_commit
    else:
        reference, commit = _start_of(run) if run else origin_of(checkpoint, folder)
    return Origin(_published(reference, commit), run=run, state=_read(folder / "state" / "train_state.json"))


def run_folder(folder: Path) -> Path | None:
    """The directory of the fine-tune a checkpoint or its adapter lies in; None outside of a run."""
    folder = folder.resolve()
    parents = (folder, *list(folder.parents)[:3])  # run/checkpoints/step_000100/adapter
    return next((one for one in parents if _read(one / "run.json").get("recipe") == "finetune"), None)


def started_from(folder: Path) -> str | None:
    """The model that the run around a checkpoint began with, as its config names it; None outside of a run."""
    return _model_path(_run_of(folder))


def is_public(name: str) -> bool:
    """Whether a model's name is a hub id, and nothing here is called so, or a bundled one: others can get it by that name."""
    return name.startswith(BUNDLED) or (bool(_HUB_ID.fullmatch(name)) and not Path(name).exists())


def _published(reference: str | None, commit: str | None) -> Published | None:
    """What a chain of runs began with; None if it ends at a local folder nobody knows."""
    for _ in range(_MAX_GENERATIONS):
        if reference is None:
            return None
        folder = Path(reference).expanduser()
        if not folder.is_dir():
            return Published(reference, commit) if is_public(reference) else None
        reference, commit = _start_of(_run_of(folder))
    return None


def _start_of(run: dict[str, Any]) -> tuple[str | None, str | None]:
    """(path or hub id, commit) of the model a run loaded; of an older run, which recorded no commit, what its config names."""
    loaded = run.get("model") or {}
    return (loaded["path"], loaded.get("commit")) if loaded.get("path") else (_model_path(run), None)


def _run_of(folder: Path) -> dict[str, Any]:
    """The run.json of the fine-tune a checkpoint or its adapter belongs to; {} where there is none."""
    run = run_folder(folder)
    return _read(run / "run.json") if run else {}


def _model_path(run: dict[str, Any]) -> str | None:
    return run.get("config", {}).get("model", {}).get("path")


def _language_of(source: dict[str, Any]) -> str | None:
    try:
        return resolve_language(source.get("language"), where="", new_languages=source.get("new_languages") or ())
    except UserError:
        return None


def _read(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # the card says less; the export itself does not depend on it
    return content if isinstance(content, dict) else {}
