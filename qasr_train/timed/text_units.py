"""Owns the smallest parts of a text between which a subtitle may break its lines, and how wide text is.

Input: text of one line, in any script. Output: units that one after the other are the text; columns.
"""

import re
import unicodedata
from dataclasses import dataclass

# Nothing of these begins a line, nothing of the others ends one (Japanese typesetting, JIS X 4051, the common part).
_NOT_FIRST = set(
    "、。，．・：；？！゛゜ヽヾゝゞ々ー）］｝〕〉》」』】〙〗〟’”»ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ!?,.:;)]}…‥％"
)
_NOT_LAST = set("（［｛〔〈《「『【〘〖〝‘“«([{￥＄")
_WORD = re.compile(r"\s*\S+")


@dataclass(frozen=True, slots=True)
class Unit:
    """A word with the space before it, or a character of a script without spaces with the marks that stay by it."""

    text: str


def text_units(text: str, max_width: int) -> list[Unit]:
    """The units of a text; what is wider than `max_width` columns (an address, a script without spaces) is cut at characters."""
    units: list[Unit] = []
    for found in _WORD.finditer(text.strip()):
        for part in _at_wide_characters(found.group()):
            units += [Unit(piece) for piece in _narrow(part, max_width)]
    return units


def width(text: str) -> int:
    """Columns: 2 for a wide character (Chinese, Japanese, Korean), 0 for one that combines with the one before, else 1."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _is_cut_anywhere(character: str) -> bool:
    """Whether a script breaks its lines between any two characters; Korean is wide, but has spaces."""
    return _columns(character) == 2 and "HANGUL" not in unicodedata.name(character, "")


def _at_wide_characters(word: str) -> list[str]:
    parts = [""]
    for character in word:
        before = parts[-1][-1:]
        may_break = before.strip() and (_is_cut_anywhere(before) or _is_cut_anywhere(character))
        if may_break and character not in _NOT_FIRST and before not in _NOT_LAST and _columns(character):
            parts.append("")
        parts[-1] += character
    return parts


def _narrow(part: str, max_width: int) -> list[str]:
    """The part in pieces that fit a line; marks stay with their letter."""
    pieces = [""]
    for character in part:
        if width((pieces[-1] + character).strip()) > max_width and _columns(character) and pieces[-1].strip():
            pieces.append("")
        pieces[-1] += character
    return pieces
