"""Owns what a scored run leaves in its folder, scores.json and utterances.jsonl, and reads it again.

Input: a `ScoredRun`; or the folder of a run. Output: the files, each all or nothing; a `ScoredRun`.
"""

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.scoring.entities import CountedTerms, counted_terms, find_terms
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.scoring.significance import Interval
from qasr_train.evaluation.scoring.systems import run_record
from qasr_train.evaluation.scoring.utterance import (
    UTTERANCE_FIELDS,
    UtteranceScore,
    context_field,
    terms_field,
    utterance_of_row,
    utterance_row,
)
from qasr_train.evaluation.spellings.taken import UsedLexicon, read_again, spellings_json, used_lexicon_of_json
from qasr_train.files import parse_json, write_json, write_whole
from qasr_train.manifest import read_jsonl
from qasr_train.run.directory import normalizer_of_record
from qasr_train.text.alternatives.lexicon import SpellingLexicon
from qasr_train.text.normalize import DEFAULT_NORMALIZER, NORMALIZERS, Normalizer, get_normalizer
from qasr_train.text.terms import TermList
from qasr_train.transcription.predictions import PREDICTIONS, load_predictions
from qasr_train.transcription.prompts import PromptForm

SCORES_VERSION = 1
_LIBRARIES = ("qasr_train", "kaldialign", "whisper_normalizer", "num2words", "rapidfuzz", "numpy")


def write_scores(directory: str | Path, run: ScoredRun) -> None:
    """Write DIRECTORY/scores.json and DIRECTORY/utterances.jsonl, each all or nothing.

    Raises:
        ConfigError: the directory cannot be written.
    """
    directory = Path(directory)
    write_result(directory / "scores.json", scores_row(run))
    lines = (json.dumps(row, ensure_ascii=False) for row in _utterance_rows(run))
    write_text(directory / "utterances.jsonl", "\n".join(lines) + "\n")


def _utterance_rows(run: ScoredRun) -> Iterator[dict[str, Any]]:
    has_context = run.context is not None
    for row in run.rows:
        terms = {"terms": terms_field(row.terms)} if run.terms else {}
        context = {"context_terms": context_field(row.context_terms)} if has_context else {}
        sure = run.words.of_row.get(row.key) if run.words else None
        words = {"word_confidences": [round(one, 4) for one in sure]} if sure is not None else {}
        yield {**utterance_row(row), **terms, **context, **words}


def scores_row(run: ScoredRun) -> dict[str, Any]:
    """The content of scores.json."""
    versions, spellings = library_versions(), spellings_json(run.rows, run.lexicon)
    return {
        "version": SCORES_VERSION,
        "normalizer": run.normalizer.name,
        **({"prompts": run.prompts} if run.prompts != [PromptForm.own.value] else {}),
        "micro_wer_percent": run.overall["wer_percent"],
        "macro_wer_percent": run.macro_wer_percent,
        "macro_wer_interval": _interval(run.macro_wer_interval),
        "macro_primary_percent": run.macro_primary_percent,
        "macro_primary_interval": _interval(run.macro_primary_interval),
        "overall": run.overall.to_json(),
        "set_languages": [
            {"set": name, "language": language, **group.to_json(), "versions": versions}
            for (name, language), group in run.set_languages.items()
        ],
        "sets": {name: group.to_json() for name, group in run.sets.items()},
        "languages": {name: group.to_json() for name, group in run.languages.items()},
        "roles": {name: group.to_json() for name, group in run.roles.items()},
        **({"entities": run.entities.to_json()} if run.entities else {}),
        **({"context": run.context.to_json()} if run.context else {}),
        **({"style": run.style.to_json()} if run.style else {}),
        **({"words": run.words.to_json()} if run.words else {}),
        **({"spellings": spellings} if spellings else {}),
        **({"streaming": run.streaming.to_json()} if run.streaming else {}),
        **({"columns": [column.to_json() for column in run.columns]} if run.by.names else {}),
        "warnings": run.warnings,
        "versions": versions,
        "provenance": run.provenance,
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else asdict(interval)


def write_result(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file as `write_text` does; a number that JSON cannot hold (NaN) is our own bug."""
    with _folder_of(path):
        write_json(path, content, errors="replace", allow_nan=False)


def write_text(path: Path, text: str) -> None:
    """Write a file all or nothing (temporary file, then rename), making its directory.

    Raises:
        ConfigError: the directory cannot be written; names it and the reason.
    """
    with _folder_of(path):
        write_whole(path, text, errors="replace")


@contextmanager
def _folder_of(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigError(
            f"out={path.parent}: cannot be written ({error.strerror}); choose another directory"
        ) from None


def library_versions() -> dict[str, str]:
    """Versions of what a score depends on."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def is_scored(directory: Path) -> bool:
    """Whether `write_scores` came to its end there."""
    return all((directory / name).is_file() for name in ("scores.json", "utterances.jsonl"))


def load_run(
    path: str | Path,
    normalizer: Normalizer | None = None,
    terms: TermList | None = None,
    columns: Sequence[str] = (),
    lexicon: SpellingLexicon | None = None,
) -> ScoredRun:
    """A scored run: from utterances.jsonl beside scores.json, or from predictions where there are no scores (or others asked).

    Args:
        normalizer: None: as the run was scored, or was to be scored by its record, else the default.
        terms: count these terms anew; None: as the run was scored, if it was with any.
        columns: other columns that rows should carry, from its predictions where it was scored without.
        lexicon: equal spellings to score with; None: those that the run was scored with.

    Raises:
        DataError, ConfigError: nothing there; damaged files (file:line); its lexicon has changed since.
    """
    run = replace(
        _load_run(Path(path), normalizer, columns, lexicon), provenance={"run": run_record(path)}, path=str(path)
    )
    if terms is None:
        return run
    return replace(run, rows=find_terms(run.rows, terms, run.normalizer)[0], terms=counted_terms(terms))


def _load_run(
    path: Path, normalizer: Normalizer | None, columns: Sequence[str], lexicon: SpellingLexicon | None
) -> ScoredRun:
    scores_file = path / "scores.json"
    stored = _read_scores(scores_file) if scores_file.is_file() else None
    if stored is not None and _is_as_asked(stored, normalizer, lexicon):
        rows = _carry_columns(_read_utterances(path / "utterances.jsonl"), path / PREDICTIONS, columns)
        return ScoredRun(stored.normalizer, rows, terms=stored.terms, warnings=stored.warnings, lexicon=stored.lexicon)
    if stored is not None and not (path / "predictions.jsonl").is_file():
        asked = lexicon.path if normalizer in (None, stored.normalizer) and lexicon else normalizer and normalizer.name
        raise ConfigError(
            f"{path}: was scored by {stored.normalizer.name}, and has no predictions.jsonl to score by {asked} instead"
        )
    recorded = normalizer_of_record(path) if path.is_dir() else None
    rules = get_normalizer(recorded if recorded in NORMALIZERS else DEFAULT_NORMALIZER)
    rules = normalizer or (stored.normalizer if stored else rules)
    loaded = load_predictions(path, columns=columns)
    if lexicon is None and stored is not None:
        lexicon = read_again(stored.lexicon, str(scores_file))
    scored = score_predictions(loaded.predictions, rules, lexicon=lexicon)
    return replace(scored, warnings=[*loaded.warnings, *scored.warnings])


def _is_as_asked(stored: "_Stored", normalizer: Normalizer | None, lexicon: SpellingLexicon | None) -> bool:
    digest = stored.lexicon.digest if stored.lexicon else None
    return normalizer in (None, stored.normalizer) and (lexicon is None or lexicon.digest == digest)


def _carry_columns(rows: list[UtteranceScore], predictions: Path, columns: Sequence[str]) -> list[UtteranceScore]:
    carried = {name for row in rows for name in row.prediction.columns}
    if carried.issuperset(columns) or not predictions.is_file():
        return rows
    loaded = load_predictions(predictions, columns=columns).predictions
    of_key = {(one.set, one.id): one.columns for one in loaded}
    return [
        replace(row, prediction=replace(row.prediction, columns=of_key.get(row.key, {}) | row.prediction.columns))
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a scores.json says it was made by."""

    normalizer: Normalizer
    terms: CountedTerms | None
    warnings: list[str]
    lexicon: UsedLexicon | None


def _read_scores(path: Path) -> _Stored:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        name, entities = content["normalizer"], content.get("entities") or {}
        terms = CountedTerms(entities.get("terms_file", ""), entities.get("terms_digest"), entities.get("num_terms", 0))
        warnings = [str(warning) for warning in content.get("warnings", [])]
        lexicon = used_lexicon_of_json(content.get("spellings"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: is not the scores.json of a run; score it again with recipes/score.py") from None
    return _Stored(get_normalizer(str(name)), terms if entities else None, warnings, lexicon)


def _read_utterances(path: Path) -> list[UtteranceScore]:
    rows = []
    for where, row in read_jsonl(path):
        missing = [name for name in UTTERANCE_FIELDS if name not in row]
        if missing:
            raise DataError(f"{where}: has no `{missing[0]}`; score the run again with recipes/score.py")
        rows.append(utterance_of_row(row))
    return rows
