"""Owns the TSV of OpenAI's Whisper: "start", "end" in milliseconds and "text", tabs between; "speaker" as a column more.

Input: segments; or the text of a file. Output: the other of the two. Word times have no place here.
"""

from collections.abc import Sequence

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, checked_span, one_line, seconds_of

_COLUMNS = ["start", "end", "text"]
_SPEAKER = "speaker"


def text_of(segments: Sequence[TimedSegment], recording: str = "") -> str:
    """The file's text; the column of speakers is there where one is known. recording: not named by this format."""
    has_speakers = any(segment.speaker for segment in segments)
    lines = ["\t".join(_COLUMNS + [_SPEAKER] * has_speakers)]
    for segment in segments:
        row = [str(round(1000 * segment.start_s)), str(round(1000 * segment.end_s)), one_line(segment.text)]
        lines.append("\t".join(row + [one_line(segment.speaker)] * has_speakers))
    return "".join(f"{line}\n" for line in lines)


def segments_of(text: str, where: str) -> list[TimedSegment]:
    """The segments, in the file's order.

    Raises:
        DataError: other columns, or times that are none; begins with `where`, names the line.
    """
    lines = text.split("\n")
    columns = lines[0].split("\t")
    if columns not in (_COLUMNS, [*_COLUMNS, _SPEAKER]):
        raise DataError(f"{where}:1: has the columns {', '.join(columns)!r:.80}; expected {', '.join(_COLUMNS)}")
    segments = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        at, fields = f"{where}:{number}", line.split("\t")
        if len(fields) != len(columns):
            raise DataError(f"{at}: has {len(fields)} columns, the first line {len(columns)}")
        start_s, end_s = (seconds_of(value, at) / 1000 for value in fields[:2])
        segments.append(
            TimedSegment(*checked_span(start_s, end_s, at), fields[2], speaker=fields[3] if len(fields) > 3 else "")
        )
    return segments
