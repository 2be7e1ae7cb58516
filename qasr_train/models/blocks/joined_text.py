"""Owns how the texts of one recording's pieces are joined, so that what two pieces both heard stands once.

Input: texts in order, seconds that neighbours have in common. Output: the joined text, and how probable its pieces were.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qasr_train.models.blocks.text_pieces import Pieces, cut_pieces, separator_pieces
from qasr_train.text.languages import CER_LANGUAGES

# Written without spaces between words. Korean is scored by characters but written with spaces.
_LANGUAGES_WITHOUT_SPACES = CER_LANGUAGES - {"Korean"}
# More words (characters, marks included) than anybody says in a second: what the overlap can hold at the most.
_WORDS_PER_S, _CHARACTERS_PER_S = 8, 24
_WORD = re.compile(r"\s*\S+")
_CHARACTER = re.compile(r"\s*(?:[0-9A-Za-z]+|\S)")


def separator_of(language: str | None) -> str:
    """What stands between two texts: a space, or nothing where the language is written without; None: with spaces."""
    return "" if language in _LANGUAGES_WITHOUT_SPACES else " "


def join_texts(texts: Sequence[str], language: str | None, overlaps_s: Sequence[float] | None = None) -> str:
    """The texts of one recording's pieces as one text, without a space where the language is written without spaces.

    Args:
        texts: of the pieces, in order.
        language: the model's name of it; None: written with spaces.
        overlaps_s: seconds that each piece shares with the next, one fewer than texts. What both heard is aligned, and
            taken from the left piece up to the middle of it and from the right piece from there on. None: no overlaps.
    """
    return "".join(unit.raw for unit in _joined_units(texts, language, overlaps_s))


def piece_texts(texts: Sequence[str], language: str | None, overlaps_s: Sequence[float] | None = None) -> list[str]:
    """What each piece gives to the joined text: one after the other they are what `join_texts` gives. Takes the same."""
    parts = [""] * len(texts)
    for unit in _joined_units(texts, language, overlaps_s):
        parts[unit.text] += unit.raw
    return parts


def join_pieces(
    heard: Sequence[tuple[str, Pieces | None]], language: str | None, overlaps_s: Sequence[float] | None = None
) -> Pieces | None:
    """How probable the pieces of `join_texts` were, of texts with theirs; None where some are not known."""
    if all(pieces is None for _, pieces in heard):
        return None
    joined: list[tuple[Pieces, _Unit]] = []
    for unit in _joined_units([text for text, _ in heard], language, overlaps_s):
        pieces = heard[unit.text][1]
        if pieces is None:
            return None
        joined.append((pieces, unit))
    return tuple(
        piece
        for pieces, unit in joined
        for part in (
            separator_pieces(unit.raw[: len(unit.raw) - unit.num_own]),
            cut_pieces(pieces, unit.begin, unit.end),
        )
        for piece in part
    )


def _joined_units(texts: Sequence[str], language: str | None, overlaps_s: Sequence[float] | None) -> list["_Unit"]:
    separator = separator_of(language)
    has_spaces, pattern = bool(separator), _WORD if separator else _CHARACTER
    joined: list[_Unit] = []
    overlaps = [0.0, *(overlaps_s or [0.0] * len(texts))]
    for number, (text, overlap_s) in enumerate(zip(texts, overlaps, strict=False)):
        units = _units(number, text, pattern)
        reach = math.ceil(overlap_s * (_WORDS_PER_S if has_spaces else _CHARACTERS_PER_S))
        place = _meeting_place(joined[-reach:], units[:reach]) if reach else None
        if place is not None:
            left, right = len(joined[:-reach]) + place[0], place[1]
            # The last word of a piece may end in a full stop that is not one; the right piece knows how it goes on.
            is_last = left == len(joined) - 1
            met = joined[left].with_word_of(units[right]) if is_last else joined[left]
            joined, units = [*joined[:left], met], units[right + 1 :]
        elif joined and units:
            units[0] = replace(units[0], raw=separator + units[0].raw)
        joined += units
    return joined


@dataclass(frozen=True, slots=True)
class _Unit:
    """A word or character as written, with what stands around it, and what is compared: letters, digits and marks alone.

    text, begin, end: the characters of which text its own part is, after white space that was put before it.
    """

    raw: str
    key: str
    text: int
    begin: int
    end: int

    @property
    def num_own(self) -> int:
        """Characters of `raw` that stand in its text."""
        return self.end - self.begin

    def with_word_of(self, other: "_Unit") -> "_Unit":
        """The other's writing after this one's space."""
        space = self.raw[: len(self.raw) - len(self.raw.lstrip())]
        word = other.raw.lstrip()
        return replace(other, raw=space + word, begin=other.end - len(word))


def _units(number: int, text: str, pattern: re.Pattern[str]) -> list[_Unit]:
    """The words or characters of a text; a piece of mere punctuation belongs to the one before it."""
    units: list[_Unit] = []
    begin, end = len(text) - len(text.lstrip()), len(text.rstrip())
    for found in pattern.finditer(text, begin, end):
        raw = found.group()
        key = "".join(c for c in unicodedata.normalize("NFKC", raw).casefold() if unicodedata.category(c)[0] in "LNM")
        if key or not units:
            units.append(_Unit(raw, key, number, *found.span()))
        else:
            units[-1] = replace(units[-1], raw=units[-1].raw + raw, end=found.end())
    return units


def _meeting_place(left: Sequence[_Unit], right: Sequence[_Unit]) -> tuple[int, int] | None:
    """Indices of a unit that both sides heard, in the middle of what an end of `left` and a beginning of `right` share.

    The best alignment of any end of the left to any beginning of the right. A match counts 2, anything else -2; the last of
    the left and the first of the right may be the rest of a cut word: passing it over costs 1. None where the sum is under
    2, that is, where one word is all they share and one is passed over: then nothing is taken away.
    """
    width = len(right)
    scores = [[0, -1] + [-1 - 2 * j for j in range(1, width)]]
    for one in left:
        above, row = scores[-1], [0]
        for j, other in enumerate(right, 1):
            step = 2 if one.key and one.key == other.key else -2
            row.append(max(above[j - 1] + step, above[j] - 2, row[j - 1] - (1 if j == 1 else 2)))
        scores.append(row)
    ends = [(scores[len(left)][j], len(left), j) for j in range(width + 1)]
    ends += [(scores[len(left) - 1][j] - 1, len(left) - 1, j) for j in range(width + 1)] if left else []
    best, i, j = max(ends)
    if best < 2:
        return None
    pairs: list[tuple[int, int]] = []
    while i and j:
        is_match = bool(left[i - 1].key) and left[i - 1].key == right[j - 1].key
        if scores[i][j] == scores[i - 1][j - 1] + (2 if is_match else -2):
            i, j = i - 1, j - 1
            if is_match:
                pairs.append((i, j))
        elif scores[i][j] == scores[i - 1][j] - 2:
            i -= 1
        else:
            j -= 1
    middle = (i + len(left) - 1) / 2
    return min(pairs, key=lambda pair: abs(pair[0] - middle))
