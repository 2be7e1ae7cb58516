"""Owns the manifest contract: `Utterance`, and reading and writing `manifest.jsonl`, one JSON object a line.

Input: a JSONL file written by `recipes/prepare.py` or by a user. Output: `Utterance` objects. Imports no torch, decodes no audio.
Other formats (CSV, Parquet, Hugging Face, NeMo, the official script's JSONL) are turned into Utterances by `sources/source.py`.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.errors import DataError
from qasr_train.files import parse_json, write_rows
from qasr_train.timed.base import TimedWord
from qasr_train.timed.jsonl import row_of_word

MANIFEST_VERSION = 1
MAX_CHANNELS = 1024  # what libsndfile opens
MAX_SECONDS = 1e9  # 31 years; sums of what lies beyond are not finite any more


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of recorded speech and what was said in it.

    id: unique within its source; appears in every log line, error and prediction.
    audio: path of the recording, or the bytes of an encoded file (Parquet, Hugging Face datasets).
    text: the transcript; "" means the recording holds no speech; None means not known (transcription only).
    language: the model's name of the language ("English"), or None where it is unknown.
    start_s, end_s: the part of the recording to use, in seconds; None means from its start / to its end.
    channel: the one channel of the recording to use, from 0; None means all that carry sound, averaged.
    duration_s: seconds of audio in that part; None until measured.
    context: text for the system turn (hotwords, background); None means none was given.
    split: "train", "dev", "test" or what the manifest says; None where it says nothing.
    words: when the words of the transcript were said, in seconds from the recording's start; () where it is not known.
    origin: where the row stands, e.g. "train.jsonl:12"; for messages only, never written.
    """

    id: str
    audio: str | bytes
    text: str | None = None
    language: str | None = None
    speaker: str | None = None
    duration_s: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    channel: int | None = None
    context: str | None = None
    split: str | None = None
    words: tuple[TimedWord, ...] = ()
    origin: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            raise DataError(f"{self.origin}: an utterance has an empty id; give every row its own `id`")
        if not self.audio:
            raise DataError(f"{self.origin}: utterance {self.id!r} names no audio; set its `audio` to a path")
        if isinstance(self.audio, str) and "\0" in self.audio:
            raise DataError(f"{self.origin}: the audio path of {self.id!r} holds a NUL character; correct it")
        for name in ("duration_s", "start_s", "end_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise DataError(f"{self.origin}: utterance {self.id!r} has {name}={value}; expected seconds, 0 or more")
            if value is not None and value > MAX_SECONDS:
                raise DataError(
                    f"{self.origin}: utterance {self.id!r} has {name}={value:g}, which is years; expected seconds"
                )
        if self.channel is not None and not 0 <= self.channel < MAX_CHANNELS:
            raise DataError(
                f"{self.origin}: utterance {self.id!r} has channel={self.channel}; expected 0 for the first, at most "
                f"{MAX_CHANNELS - 1}"
            )
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            raise DataError(
                f"{self.origin}: utterance {self.id!r} ends at {self.end_s} s, not after its start at {self.start_s} s"
            )

    @property
    def audio_name(self) -> str:
        """The recording as a message should name it: its path, or its id where the audio is bytes."""
        return self.audio if isinstance(self.audio, str) else f"<bytes of {self.id}>"


def read_jsonl(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("file:line", row) for every non-blank line of a JSONL file.

    Raises:
        DataError: no such file; a line that is no JSON object (names file and line).
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig") as lines:
            yield from rows_of_lines(lines, path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path of the manifest") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a directory, expected a JSONL file") from None
    except PermissionError:
        raise DataError(f"{path}: cannot be read (permission denied)") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}); expected a JSONL file"
        ) from None


def rows_of_lines(lines: Iterable[str], path: Path, first_line: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file:line", row) for every non-blank line; raises as `read_jsonl` does."""
    for number, line in enumerate(lines, start=first_line):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = parse_json(line)
        except JSONDecodeError as error:
            raise DataError(f"{where}: this line is not JSON ({error.msg}); expected one JSON object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}")
        yield where, row


def utterance_to_row(utterance: Utterance) -> dict[str, Any]:
    """The manifest row of an utterance: its fields that are set, and the contract's version. Bytes cannot be written."""
    if isinstance(utterance.audio, bytes):
        raise DataError(
            f"utterance {utterance.id!r}: audio bytes cannot stand in a JSONL manifest; convert them to files"
        )
    row = {"version": MANIFEST_VERSION}
    for field in dataclasses.fields(utterance):
        value = getattr(utterance, field.name)
        if value is not None and field.name not in ("origin", "words"):
            row[field.name] = value
    return row | ({"words": [row_of_word(word) for word in utterance.words]} if utterance.words else {})


def findable_from_anywhere(utterance: Utterance) -> Utterance:
    """The same, its path absolute, so that a manifest in another folder may hold it."""
    if isinstance(utterance.audio, bytes) or is_arrow_reference(utterance.audio):
        return utterance
    return dataclasses.replace(utterance, audio=str(Path(utterance.audio).absolute()))


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> int:
    """Write utterances as `manifest.jsonl`, all or nothing (temporary file, then rename); returns how many."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_rows(path, map(utterance_to_row, utterances))
