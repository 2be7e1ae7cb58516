"""Owns WebVTT subtitles (.vtt), the format of browsers.

Input: segments whose text is shown as it stands, line breaks included; or the text of a file. Output: the other of the two.
A speaker is a voice tag, <v NAME>; word times have no place here.
"""

import html
import re
from collections.abc import Iterable

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment
from qasr_train.timed.srt import blocks_of, cue_text, place_of_times, span_of_line, times_line

_HEAD = "WEBVTT"
_VOICE = re.compile(r"<v(?:\.[^ \t>]*)?[ \t]+([^>]+)>")
_TAG = re.compile(r"<[^>]*>")
_NO_CUES = ("NOTE", "STYLE", "REGION")


def text_of(segments: Iterable[TimedSegment], recording: str = "") -> str:
    """The file's text. recording: not named by this format."""
    cues = [f"{_HEAD}\n"]
    for segment in segments:
        speaker = f"<v {_escaped(segment.speaker.replace(chr(10), ' '))}>" if segment.speaker else ""
        cues.append(f"{times_line(segment, '.')}\n{speaker}{_escaped(cue_text(segment.text))}\n")
    return "\n".join(cues)


def segments_of(text: str, where: str) -> list[TimedSegment]:
    """The cues, in the file's order; markup is dropped, lines of a cue stay lines.

    Raises:
        DataError: the file does not begin with WEBVTT, or a cue has times that are none; begins with `where`, names the line.
    """
    if not re.match(rf"{_HEAD}(?:[ \t\n]|$)", text):
        raise DataError(f"{where}:1: does not begin with {_HEAD}; expected a WebVTT file")
    segments = []
    for line_number, lines in blocks_of(text):
        place = place_of_times(lines)
        if place is None:
            if line_number > 1 and lines[0].split()[0] not in _NO_CUES:
                raise DataError(
                    f"{where}:{line_number}: {lines[0]!r:.60} starts no cue; expected times such as 00:00:01.000 --> ..."
                )
            continue
        span = span_of_line(lines[place], f"{where}:{line_number + place}")
        marked = "\n".join(lines[place + 1 :])
        voice = _VOICE.search(marked)
        shown = html.unescape(_TAG.sub("", marked)).strip()
        segments.append(TimedSegment(*span, shown, speaker=html.unescape(voice[1]).strip() if voice else ""))
    return segments


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)
