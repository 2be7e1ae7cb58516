"""Owns how a row of any table becomes an Utterance: which column is which field, and what its values mean.

Of JSONL, `blocks.py` takes the same choice for whole columns at a time.

Input: a row as a dict, where it stands, the column mapping. Output: an Utterance, or a DataError naming the place.
"""

import logging
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from sys import intern
from typing import Any

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.sources.settings import COLUMN_NAMES, UNCERTAIN_TIMES, check_columns
from qasr_train.text.alternatives.notation import lattice_text
from qasr_train.text.languages import UnknownLanguageError, resolve_language
from qasr_train.timed.base import TimedWord
from qasr_train.timed.jsonl import word_of

log = logging.getLogger(__name__)

_REQUIRED = ("audio", "text")
_OFFICIAL_TEXT = re.compile(r"\s*language\s+(.+?)\s*<asr_text>(.*)", re.DOTALL)


class RefusedRowError(DataError):
    """A row that cannot be used though it was read. utterance: without what is wrong with it. reason: without the place."""

    def __init__(self, message: str, utterance: Utterance, reason: str) -> None:
        super().__init__(message)
        self.utterance, self.reason = utterance, reason


class RowReader:
    """Turns rows of one source into Utterances; remembers which column is which, so a row costs some microseconds."""

    def __init__(
        self,
        columns: Mapping[str, str],
        *,
        language: str | None,
        new_languages: Collection[str],
        audio_folder: str,
        source_name: str,
        has_unique_ids: bool,
        key: str = "",
    ) -> None:
        """
        Args:
            columns: field -> column; "" means: this source has no such column. Other fields are found by COLUMN_NAMES.
            language: name or code for rows that state none; None leaves it unknown.
            new_languages: names the user adds to the model's own.
            audio_folder: where relative paths start.
            source_name: begins the ids of rows that have neither id nor path.
            has_unique_ids: refuse an id that stands twice; off for streams, which cannot remember every id.
            key: where the settings of the source stand, e.g. "data.train.main"; begins those that messages name.
        """
        check_columns(columns)
        self.columns, self.audio_folder, self.source_name = columns, audio_folder, source_name
        self.new_languages, self.key = new_languages, f"{key}." if key else ""
        self.default_language = resolve_language(language, where="source.language", new_languages=new_languages)
        self.ids: set[str] | None = set() if has_unique_ids else None
        self.seen_columns: set[str] = set()
        self.unused: set[str] = set()
        self._has_named_unused = False
        self._plans: dict[tuple[str, ...], dict[str, str]] = {}
        self._languages: dict[str, str | None] = {}
        self._repeats: dict[str, int] = {}  # name of an audio file -> how many rows of it have been named

    def __call__(self, row: Mapping[str, Any], where: str, number: int | str) -> Utterance:
        """The utterance of a row.

        Args:
            row: column -> value.
            where: "file:line", for messages.
            number: of the row within the source (of a stream: of its shard); ends the id of a row that has neither id nor path.

        Raises:
            RefusedRowError: the row names a language that is unknown.
            DataError: a column is missing, a value is of the wrong type or range, an id repeats.
        """
        plan = self._plans.get(tuple(row)) or self._plan(row, where)
        value = {field: row[column] for field, column in plan.items()}
        audio, path = self._audio(value["audio"], where, plan["audio"])
        unknown: UnknownLanguageError | None = None
        try:
            text, language = self._text_and_language(value.get("text"), value.get("language"), where)
        except UnknownLanguageError as error:
            unknown, text, language = error, str(value.get("text") or ""), None
        start_s, end_s, duration_s = (
            _seconds(value.get(field), f"{where}: {plan.get(field)}", f"{self.key}columns.{field}")
            for field in ("start_s", "end_s", "duration_s")
        )
        if start_s is not None and end_s is None and duration_s is not None:
            end_s = start_s + duration_s  # NeMo: `offset` and `duration` cut the recording
        if end_s is not None:
            duration_s = max(0.0, end_s - (start_s or 0.0))
        utterance = Utterance(
            id=self._id(_short(value.get("id"), where, plan.get("id")), path, where, number),
            audio=audio,
            text=text,
            language=language,
            speaker=_short(value.get("speaker"), where, plan.get("speaker")),
            duration_s=duration_s,
            start_s=start_s,
            end_s=end_s,
            channel=_channel(value.get("channel"), f"{where}: {plan.get('channel')}", f"{self.key}columns.channel"),
            context=_context(value.get("context"), where),
            split=_short(value.get("split"), where, plan.get("split")),
            words=self._words(value.get("words"), where),
            origin=where,
        )
        if unknown is not None:
            raise RefusedRowError(str(unknown), utterance, unknown.reason)
        return utterance

    def check_all_columns_seen(self, where: str) -> None:
        """Refuse a mapping to an optional column that no row had: a typo would lose it without a word."""
        for field, column in self.columns.items():
            if column and field not in self.seen_columns:
                raise DataError(
                    f"{where}: no row has the column {column!r} that {self.key}columns.{field} names; correct the setting"
                )

    def _plan(self, row: Mapping[str, Any], where: str) -> dict[str, str]:
        """field -> column for rows with these columns."""
        by_lower = {column.strip().lower(): column for column in reversed(list(row))}
        plan: dict[str, str] = {}
        for field, names in COLUMN_NAMES.items():
            asked = self.columns.get(field)
            if asked == "" and field != "audio":
                continue
            column = asked or next((by_lower[name] for name in names if name in by_lower), None)
            if column is not None and column in row:
                plan[field] = column
                self.seen_columns.add(field)
            elif field in _REQUIRED:
                wanted = (
                    f"the column {asked!r} that {self.key}columns.{field} names" if asked else f"a column for `{field}`"
                )
                raise DataError(
                    f"{where}: lacks {wanted}; it has {', '.join(map(str, row)) or 'none'}; "
                    f"name the right one with {self.key}columns.{field}=COLUMN"
                )
        self._plans[tuple(row)] = plan
        self.note_unused(row, plan.values())
        if self.ids is None:  # of a stream nobody else can say it
            self.name_unused()
        return plan

    def note_unused(self, columns: Iterable[str], used: Collection[str]) -> None:
        """Note columns that may say which part of a recording is meant and decide nothing."""
        if not {"start_s", "end_s"} & self.seen_columns:
            self.unused |= {name for name in columns if name.strip().lower() in UNCERTAIN_TIMES and name not in used}

    def name_unused(self) -> None:
        """Say once which columns were noted."""
        if self.unused and not self._has_named_unused:
            self._has_named_unused = True
            log.warning(
                "source %s: columns that are not used: %s; where they give the part of the recording to use, set "
                "%scolumns.start_s and %scolumns.end_s to them",
                self.source_name,
                ", ".join(sorted(self.unused)),
                self.key,
                self.key,
            )

    def _words(self, value: Any, where: str) -> tuple[TimedWord, ...]:
        """Words with their times. A column of that name that nobody asked for may hold another thing, and is then left alone."""
        if value is None or (not self.columns.get("words") and not holds_timed_words(value)):
            return ()
        if not isinstance(value, list):
            raise DataError(f"{where}: words is {_shown(value)}; expected a list of objects with text, start and end")
        return tuple(word_of(word, f"{where}: words") for word in value)

    def _audio(self, value: Any, where: str, column: str) -> tuple[str | bytes, str | None]:
        """(what Utterance.audio holds, the path to name the utterance by)."""
        path = value
        if isinstance(value, Mapping):
            path = value.get("path")
            embedded = value.get("reference") or value.get("bytes")
            if embedded:
                return embedded, path
        if isinstance(value, bytes) and value:
            return value, None
        if not isinstance(path, str) or not path:
            raise DataError(f"{where}: {column}={_shown(value)}; expected the path or the bytes of an audio file")
        if is_arrow_reference(path):
            return path, None
        if "://" in path:
            raise DataError(
                f"{where}: {column}={_shown(path)} is an address; download the recordings and name the files"
            )
        # Not by Path: for a million rows that costs seconds.
        expanded = str(Path(path).expanduser()) if path[0] == "~" else path
        return os.path.join(self.audio_folder, expanded), path  # noqa: PTH118

    def _text_and_language(self, text: Any, language: Any, where: str) -> tuple[str | None, str | None]:
        text = text if text is None or isinstance(text, str) else lattice_text(text) or text
        if text is not None and not isinstance(text, str):
            raise DataError(f'{where}: the transcript is {_shown(text)}; expected text, or "" where nobody speaks')
        if text and (official := _OFFICIAL_TEXT.fullmatch(text)):
            stated, text = official[1], official[2]
            spoken = self.language(stated, where)
            if language not in (None, "") and self.language(language, where) != spoken:
                raise DataError(f"{where}: the text says language {stated!r}, the language column {language!r}")
            return text.strip(), spoken
        spoken = self.default_language if language in (None, "") else self.language(language, where)
        return (None if text is None else text.strip()), spoken

    def language(self, value: Any, where: str) -> str | None:
        if not isinstance(value, str):
            raise DataError(f"{where}: the language is {_shown(value)}; expected a name or an ISO code")
        if value not in self._languages:
            self._languages[value] = resolve_language(value, where=where, new_languages=self.new_languages)
        return self._languages[value]

    def _id(self, stated: str | None, path: str | None, where: str, number: int | str) -> str:
        """The row's own id; else the name of its file, with a number where that repeats; else the source and the row."""
        if self.ids is None:
            return stated or f"{_stem(path) or self.source_name}-{number}"
        if stated in self.ids:
            raise DataError(
                f"{where}: the id {stated!r} stands twice in this source; make the ids unique, or set "
                f"{self.key}columns.id='' to name the rows after their audio files"
            )
        new = stated or _stem(path) or f"{self.source_name}-{number}"
        stem = new
        while new in self.ids:
            self._repeats[stem] = self._repeats.get(stem, 1) + 1
            new = f"{stem}-{self._repeats[stem]}"
        self.ids.add(new)
        return new


def holds_timed_words(value: Any) -> bool:
    """Whether a value is a list of words with times, by its first."""
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and {"text", "start", "end"} <= value[0].keys()
    )


def _stem(path: str | None) -> str:
    """The name of a file without folder and suffix."""
    return (path or "").rpartition("/")[2].rpartition("\\")[2].rpartition(".")[0] or (path or "").rpartition("/")[2]


def _seconds(value: Any, place: str, key: str) -> float | None:
    """Seconds, or None where nothing is stated. place: "file:line: column". key: of the setting that leaves the column out."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool | list | dict):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{place}={_shown(value)}; expected seconds (if this is another thing, set {key}='' to leave it out)"
        ) from None


_CHANNELS = {"a": 0, "b": 1, "left": 0, "right": 1, "average": None}  # Kaldi's, and one of NeMo's


def _channel(value: Any, place: str, key: str) -> int | None:
    """A channel counted from 0, as a number or as text; a list of one is that one; "average" is what None is."""
    only = value[0] if isinstance(value, list) and len(value) == 1 else value
    if only is None or only == "":
        return None
    if isinstance(only, str) and only.strip().lower() in _CHANNELS:
        return _CHANNELS[only.strip().lower()]
    try:
        if isinstance(only, bool | list | dict) or not float(only).is_integer():
            raise ValueError
        return int(float(only))  # tables made with pandas say 0.0
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{place}={_shown(value)}; expected one channel, counted from 0, or A or B (if this is another thing, set "
            f"{key}='' to leave it out)"
        ) from None


def _short(value: Any, where: str, column: str | None) -> str | None:
    """An id, speaker or split: text or a number, kept once in memory however often it repeats."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{where}: {column}={_shown(value)}; expected text or a number")
    return intern(str(value))


def _context(value: Any, where: str) -> str | None:
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        value = ", ".join(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: the context is {_shown(value)}; expected text or a list of words")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
