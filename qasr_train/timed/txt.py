"""Owns plain text: a segment a line, the speaker before it. It is written only; times have no place here.

Input: segments. Output: the text of a file.
"""

from collections.abc import Iterable

from qasr_train.timed.base import TimedSegment, one_line


def text_of(segments: Iterable[TimedSegment], recording: str = "") -> str:
    """The file's text; segments in which nothing was said are left out. recording: not named by this format."""
    lines = [(one.speaker, one_line(one.text)) for one in segments]
    return "".join(f"{speaker}: {text}\n" if speaker else f"{text}\n" for speaker, text in lines if text)
