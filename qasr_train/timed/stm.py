"""Owns NIST's STM: a segment a line, "recording channel speaker start end <labels> text".

Input: segments; or the text of a file. Output: the other of the two. Word times have no place here.
"""

import re
from collections.abc import Iterable

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, checked_span, one_line, seconds_of
from qasr_train.timed.ctm import NO_CHANNEL, field, one_recording

_COMMENT = ";;"
NO_SPEAKER = "unknown"
# What NIST's scorer leaves out: a stretch with no transcript that could be trusted.
_IGNORED = "ignore_time_segment_in_scoring"
_ROW = re.compile(r"(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)(?:\s+<[^<>]*>)?(?:\s+(.*))?")


def text_of(segments: Iterable[TimedSegment], recording: str) -> str:
    """The file's text. recording: its first column; blanks in it and in speakers become "_"."""
    name = field(recording, "recording")
    lines = []
    for one in segments:
        head = f"{name} {NO_CHANNEL} {field(one.speaker, NO_SPEAKER)} {one.start_s:.3f} {one.end_s:.3f} <NA>"
        lines.append(f"{head} {one_line(one.text)}".rstrip() + "\n")
    return "".join(lines)


def recordings_of(text: str, where: str) -> dict[str, list[TimedSegment]]:
    """The segments of each recording, in the file's order; those marked as not to be scored are left out.

    Raises:
        DataError: a line of fewer than five fields, or with times that are none; begins with `where`, names the line.
    """
    recordings: dict[str, list[TimedSegment]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith(_COMMENT):
            continue
        at, found = f"{where}:{number}", _ROW.fullmatch(line.strip())
        if not found:
            raise DataError(
                f"{at}: {line.strip()!r:.60} is too short; expected recording, channel, speaker, start, end, text"
            )
        name, _, speaker, start, end, said = found.groups()
        span = checked_span(seconds_of(start, at), seconds_of(end, at), at)
        if (said or "").strip().lower() != _IGNORED:
            segment = TimedSegment(*span, said or "", speaker="" if speaker == NO_SPEAKER else speaker)
            recordings.setdefault(name, []).append(segment)
    return recordings


def segments_of(text: str, where: str) -> list[TimedSegment]:
    """The segments of a file about one recording.

    Raises:
        DataError: as `recordings_of`; several recordings.
    """
    return one_recording(recordings_of(text, where), where)
