"""Owns how a page leads to a recording where it lies: a link, and a player that loads nothing before it is asked to play.

Input: the path of a recording and the part of it that is meant. Output: HTML for a page whose policy allows `media="file:"`.
"""

import html
from pathlib import Path

from qasr_train.audio.arrow import is_arrow_reference


def clip_uri(audio: object, folder: Path, start_s: float | None, end_s: float | None) -> str | None:
    """The address of a recording and of a part of it; None where it is no file of its own (a row of an Arrow file, samples).

    folder: that a path which is not absolute counts from.
    """
    if not isinstance(audio, str) or is_arrow_reference(audio):
        return None
    part = ""
    if start_s is not None or end_s is not None:
        part = f"#t={start_s or 0:g}" + ("" if end_s is None else f",{end_s:g}")
    return (folder.absolute() / audio).as_uri() + part


def player(uri: str) -> str:
    """Plays a recording once it is asked to."""
    return f'<audio controls preload="none" src="{html.escape(uri, quote=True)}"></audio>'


def link(uri: str | None, text: str) -> str:
    """A text that leads to a recording; the text alone where there is no address."""
    shown = html.escape(text)
    return shown if uri is None else f'<a href="{html.escape(uri, quote=True)}">{shown}</a>'
