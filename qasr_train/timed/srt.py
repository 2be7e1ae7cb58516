"""Owns SubRip subtitles (.srt): numbered cues, times such as 00:01:02,345.

Input: segments whose text is shown as it stands, line breaks included; or the text of a file. Output: the other of the two.
A speaker stands before the text as "[NAME]: ", as WhisperX writes it; word times have no place here.
"""

import re
from collections.abc import Iterable, Sequence

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, checked_span, clock, seconds_of_clock

_ARROW = "-->"
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")  # <i>, <font color=...>; {\an8} of SubStation
_SPEAKER = re.compile(r"\[([^\[\]\n]+)\]: ")


def text_of(segments: Iterable[TimedSegment], recording: str = "") -> str:
    """The file's text. recording: not named by this format."""
    cues = []
    for number, segment in enumerate(segments, 1):
        speaker = f"[{segment.speaker}]: " if segment.speaker else ""
        cues.append(f"{number}\n{times_line(segment, ',')}\n{speaker}{cue_text(segment.text)}\n")
    return "\n".join(cues)


def segments_of(text: str, where: str) -> list[TimedSegment]:
    """The cues, in the file's order; markup is dropped, lines of a cue stay lines.

    Raises:
        DataError: a cue without times, or with times that are none; begins with `where` and names the line.
    """
    segments = []
    for line_number, lines in blocks_of(text):
        place = place_of_times(lines)
        if place is None:
            raise DataError(
                f"{where}:{line_number}: {lines[0]!r:.60} starts no cue; expected times such as 00:00:01,000 --> ..."
            )
        span = span_of_line(lines[place], f"{where}:{line_number + place}")
        shown = _TAG.sub("", "\n".join(lines[place + 1 :])).strip()
        speaker = _SPEAKER.match(shown)
        segments.append(
            TimedSegment(*span, shown[speaker.end() :] if speaker else shown, speaker=speaker[1] if speaker else "")
        )
    return segments


def blocks_of(text: str) -> list[tuple[int, list[str]]]:
    """The stretches of lines between blank ones, each with the number of its first line."""
    blocks: list[tuple[int, list[str]]] = []
    is_inside = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            if not is_inside:
                blocks.append((number, []))
            blocks[-1][1].append(line)
        is_inside = bool(line.strip())
    return blocks


def place_of_times(lines: Sequence[str]) -> int | None:
    """Which line of a block holds its times, its first or the one below its name; None: it is no cue."""
    return next((index for index, line in enumerate(lines[:2]) if _ARROW in line), None)


def times_line(segment: TimedSegment, decimal_mark: str) -> str:
    """00:00:01,000 --> 00:00:02,000"""
    return f"{clock(segment.start_s, decimal_mark)} {_ARROW} {clock(segment.end_s, decimal_mark)}"


def span_of_line(line: str, where: str) -> tuple[float, float]:
    """(start, end) in seconds of a line of times; what follows them, a place on the screen, is passed over.

    Raises:
        DataError: it holds none, or ends before it starts; begins with `where`.
    """
    start, _, end = line.partition(_ARROW)
    end = end.split()[0] if end.split() else ""
    return checked_span(seconds_of_clock(start, where), seconds_of_clock(end, where), where)


def cue_text(text: str) -> str:
    """Text whose lines hold something each: a blank line would end the cue."""
    return "\n".join(line.strip() for line in text.split("\n") if line.strip())
