"""Owns SubRip subtitles (.srt): numbered cues, times such as 00:01:02,345.

Input: segments whose text is shown as it stands, line breaks included; or the text of a file. Output: the other of the two.
A speaker stands before the text as "[NAME]: ", as WhisperX writes it; word times have no place here.
"""

import re
from collections.abc import Iterable

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
        times = f"{clock(segment.start_s, ',')} {_ARROW} {clock(segment.end_s, ',')}"
        cues.append(f"{number}\n{times}\n{speaker}{cue_text(segment.text)}\n")
    return "\n".join(cues)


def segments_of(text: str, where: str) -> list[TimedSegment]:
    """The cues, in the file's order; markup is dropped, lines of a cue stay lines.

    Raises:
        DataError: a cue without times, or with times that are none; begins with `where` and names the line.
    """
    segments = []
    for line_number, lines in blocks_of(text):
        place = next((index for index, line in enumerate(lines[:2]) if _ARROW in line), None)
        if place is None:
            raise DataError(
                f"{where}:{line_number}: {lines[0]!r:.60} starts no cue; expected times such as 00:00:01,000 --> ..."
            )
        at = f"{where}:{line_number + place}"
        start, _, end = lines[place].partition(_ARROW)
        end = end.split()[0] if end.split() else ""  # some players' positions follow
        span = checked_span(seconds_of_clock(start, at), seconds_of_clock(end, at), at)
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


def cue_text(text: str) -> str:
    """Text whose lines hold something each: a blank line would end the cue."""
    return "\n".join(line.strip() for line in text.split("\n") if line.strip())
