"""Owns segments as JSON lines, the one format that holds all we know: words, speakers, languages, confidences.

Input: segments; or the text of a file. Output: the other of the two. Times are seconds, to the millisecond.
"""

import json
from collections.abc import Iterable
from typing import Any

from qasr_train.errors import DataError
from qasr_train.files import parse_json
from qasr_train.timed.base import TimedSegment, TimedWord, checked_span
from qasr_train.timed.ctm import one_recording


def text_of(segments: Iterable[TimedSegment], recording: str) -> str:
    """The file's text: rows of recording, start, end, text, speaker, language, confidence, words, as far as known."""
    return "".join(json.dumps(_row(one, recording), ensure_ascii=False) + "\n" for one in segments)


def recordings_of(text: str, where: str) -> dict[str, list[TimedSegment]]:
    """The segments of each recording, in the file's order.

    Raises:
        DataError: a line that is no such object; begins with `where`, names the line.
    """
    recordings: dict[str, list[TimedSegment]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        at = f"{where}:{number}"
        try:
            row = parse_json(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{at}: is no JSON ({error.msg}); expected an object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{at}: is no JSON object; expected start, end and text")
        recordings.setdefault(str(row.get("recording") or ""), []).append(_segment(row, at))
    return recordings


def segments_of(text: str, where: str) -> list[TimedSegment]:
    """The segments of a file about one recording.

    Raises:
        DataError: as `recordings_of`; several recordings.
    """
    return one_recording(recordings_of(text, where), where)


def word_of(row: Any, where: str) -> TimedWord:
    """One word of {"text", "start", "end", "confidence"}, as manifests of word times have it too; times may be null.

    Raises:
        DataError: it is none; begins with `where`.
    """
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise DataError(f"{where}: a word is {row!r:.80}; expected an object with text, start and end")
    start_s, end_s = _number(row, "start", where), _number(row, "end", where)
    if start_s is not None and end_s is not None:
        checked_span(start_s, end_s, f"{where}: word {row['text']!r}")
    return TimedWord(row["text"], start_s, end_s, _number(row, "confidence", where))


def row_of_word(word: TimedWord) -> dict[str, Any]:
    """What `word_of` reads."""
    row = {"text": word.text, "start": _rounded(word.start_s), "end": _rounded(word.end_s)}
    return row if word.confidence is None else {**row, "confidence": round(word.confidence, 4)}


def _row(segment: TimedSegment, recording: str) -> dict[str, Any]:
    row: dict[str, Any] = {"recording": recording} if recording else {}
    row |= {"start": _rounded(segment.start_s), "end": _rounded(segment.end_s), "text": segment.text}
    row |= {"speaker": segment.speaker} if segment.speaker else {}
    row |= {"language": segment.language} if segment.language else {}
    row |= {} if segment.confidence is None else {"confidence": round(segment.confidence, 4)}
    return row | ({"words": [row_of_word(word) for word in segment.words]} if segment.words else {})


def _segment(row: dict[str, Any], where: str) -> TimedSegment:
    start_s, end_s, text = _number(row, "start", where), _number(row, "end", where), row.get("text")
    if start_s is None or end_s is None or not isinstance(text, str):
        raise DataError(f"{where}: has no start, end or text; expected all three")
    speaker, language, words = row.get("speaker"), row.get("language"), row.get("words") or []
    if not isinstance(words, list):
        raise DataError(f"{where}: words is {words!r:.80}; expected a list of objects with text, start and end")
    return TimedSegment(
        *checked_span(start_s, end_s, where),
        text,
        tuple(word_of(word, where) for word in words),
        "" if speaker is None else str(speaker),
        None if language is None else str(language),
        _number(row, "confidence", where),
    )


def _number(row: dict[str, Any], name: str, where: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise DataError(f"{where}: {name} is {value!r:.40}; expected a number, 0 or more, or null")
    return float(value)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
