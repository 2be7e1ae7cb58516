"""Owns the scores of a run: `score_predictions` and the files it leaves, scores.json and utterances.jsonl.

Input: predictions and a normaliser. Output: `Scores`. Needs no model and no GPU.
"""

import importlib.metadata
import json
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.scoring.alignment import UtteranceScore, score_utterances, utterance_row
from qasr_train.evaluation.scoring.context_echo import ContextScores, context_fields, score_context
from qasr_train.evaluation.scoring.entities import EntityScores, entity_fields, score_entities
from qasr_train.evaluation.scoring.metrics import GroupScore, Resampling, score_group
from qasr_train.files import write_whole
from qasr_train.text.languages import LANGUAGES
from qasr_train.text.terms import TermList
from qasr_train.transcription.predictions import Prediction

SCORES_VERSION = 1
_LIBRARIES = ("qasr_train", "kaldialign", "whisper_normalizer", "num2words", "rapidfuzz", "numpy")


@dataclass(slots=True)
class Scores:
    """Everything a run scored to.

    sets, languages, roles: per name of a set, a language ("unknown" where rows have none), a role.
    set_languages: per (set, language).
    macro_wer_percent: unweighted mean of the rounded WER of the sets, the leaderboard's average; micro is overall.wer_percent.
    macro_primary_percent: unweighted mean over languages of CER or WER, whichever is primary, as the Qwen3-ASR report does.
    utterances: every row, scored or not. entities: where a term list was given.
    context: where rows had one. provenance: what made the predictions.
    """

    normalizer: str
    overall: GroupScore
    sets: dict[str, GroupScore]
    languages: dict[str, GroupScore]
    roles: dict[str, GroupScore]
    set_languages: dict[tuple[str, str], GroupScore]
    macro_wer_percent: float | None
    macro_primary_percent: float | None
    utterances: list[UtteranceScore]
    versions: dict[str, str]
    provenance: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    entities: EntityScores | None = None
    context: ContextScores | None = None


def score_predictions(
    predictions: Sequence[Prediction],
    normalizer: str,
    *,
    failed_as_empty: bool = False,
    resampling: Resampling | None = None,
    num_workers: int = 1,
    terms: TermList | None = None,
) -> Scores:
    """Score predictions by a normaliser of NORMALIZERS: pooled counts per set, language, role and over all.

    Args:
        failed_as_empty: a failed row counts as an empty hypothesis instead of being left out.
        num_workers: processes, used from some thousand rows on; more than 1 needs a `__main__` guard in a script.
        terms: what the figures of entities are made of.

    Raises:
        ConfigError: no such normaliser. DataError: no predictions.
    """
    if not predictions:
        raise DataError("there are no predictions to score; the run produced none")
    resampling = resampling or Resampling()
    rows = score_utterances(predictions, normalizer, failed_as_empty=failed_as_empty, num_workers=num_workers)

    groups = _Groups(rows, normalizer, resampling)
    sets, languages = groups.by(lambda row: row.set), groups.by(language_label)
    entities = score_entities(rows, terms, normalizer, resampling) if terms else None
    return Scores(
        normalizer=normalizer,
        overall=groups.by(lambda row: "")[""],
        sets=sets,
        languages=languages,
        roles={role: group for role, group in groups.by(lambda row: row.role or "").items() if role},
        set_languages=groups.by(lambda row: (row.set, language_label(row))),
        macro_wer_percent=_mean([group.wer_percent for group in sets.values()]),
        macro_primary_percent=_mean([group.primary_percent for group in languages.values()]),
        utterances=rows,
        versions=library_versions(),
        warnings=[*_warnings(rows), *(entities.warnings if entities else [])],
        entities=entities,
        context=score_context(rows, predictions, normalizer, resampling),
    )


class _Groups:
    """Splits rows by a key and scores each part; parts made of the same rows (one set in one language) are scored once."""

    def __init__(self, rows: Sequence[UtteranceScore], normalizer: str, resampling: Resampling) -> None:
        self._rows = rows
        self._normalizer = normalizer
        self._resampling = resampling
        self._known: dict[frozenset[tuple[str, str | None, str | None]], GroupScore] = {}

    def by(self, key: Callable[[UtteranceScore], Any]) -> dict[Any, GroupScore]:
        """The scores per value of `key`, which may depend on a row's set, language and role only."""
        parts: dict[Any, list[UtteranceScore]] = defaultdict(list)
        for row in self._rows:
            parts[key(row)].append(row)
        return {name: self._score(parts[name]) for name in sorted(parts)}

    def _score(self, rows: list[UtteranceScore]) -> GroupScore:
        cells = frozenset((row.set, row.language, row.role) for row in rows)
        if cells not in self._known:
            self._known[cells] = score_group(rows, self._normalizer, self._resampling)
        return self._known[cells]


def write_scores(directory: str | Path, scores: Scores) -> None:
    """Write DIRECTORY/scores.json and DIRECTORY/utterances.jsonl, each all or nothing.

    Raises:
        ConfigError: the directory cannot be written.
    """
    directory = Path(directory)
    write_json(directory / "scores.json", scores_row(scores))
    lines = (json.dumps(row, ensure_ascii=False) for row in _utterance_rows(scores))
    write_text(directory / "utterances.jsonl", "\n".join(lines) + "\n")


def _utterance_rows(scores: Scores) -> Iterator[dict[str, Any]]:
    for index, row in enumerate(scores.utterances):
        entities = entity_fields(scores.entities.utterances[index]) if scores.entities else {}
        context = context_fields(scores.context.utterances[index]) if scores.context else {}
        yield {**utterance_row(row), **entities, **context}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file as `write_text` does; a number that JSON cannot hold (NaN) is our own bug."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file all or nothing (temporary file, then rename), making its directory.

    Raises:
        ConfigError: the directory cannot be written; names it and the reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text, errors="replace")
    except OSError as error:
        raise ConfigError(
            f"out={path.parent}: cannot be written ({error.strerror}); choose another directory"
        ) from None


def scores_row(scores: Scores) -> dict[str, Any]:
    """The content of scores.json."""
    return {
        "version": SCORES_VERSION,
        "normalizer": scores.normalizer,
        "micro_wer_percent": scores.overall.wer_percent,
        "macro_wer_percent": scores.macro_wer_percent,
        "macro_primary_percent": scores.macro_primary_percent,
        "overall": scores.overall.to_json(),
        "set_languages": [
            {"set": name, "language": language, **group.to_json(), "versions": scores.versions}
            for (name, language), group in scores.set_languages.items()
        ],
        "sets": {name: group.to_json() for name, group in scores.sets.items()},
        "languages": {name: group.to_json() for name, group in scores.languages.items()},
        "roles": {name: group.to_json() for name, group in scores.roles.items()},
        **({"entities": scores.entities.to_json()} if scores.entities else {}),
        **({"context": scores.context.to_json()} if scores.context else {}),
        "warnings": scores.warnings,
        "versions": scores.versions,
        "provenance": scores.provenance,
    }


def language_label(row: UtteranceScore) -> str:
    """The language of a row as tables name it."""
    return row.language or "unknown"


def library_versions() -> dict[str, str]:
    """Versions of what a score depends on."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None


def _warnings(rows: Sequence[UtteranceScore]) -> list[str]:
    warnings = []
    others = sorted({row.language for row in rows if row.language} - set(LANGUAGES))
    if others:
        warnings.append(f"not languages of Qwen3-ASR, so scored by the rules common to all: {', '.join(others)}")
    num_failed = sum(row.failed is not None for row in rows)
    if num_failed:
        first = next(row for row in rows if row.failed is not None)
        warnings.append(f"{num_failed} of {len(rows)} rows failed; the first is {first.id!r}: {first.failed}")
    return warnings
