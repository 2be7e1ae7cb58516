"""Owns how a recording longer than a model takes in one pass is cut at silences, and how its pieces' texts are joined.

Input: a waveform, float32 [S], 16 kHz. Output: sample ranges that cover it, neighbours overlapping unless all is quiet where
they meet; the joined text, in which what two pieces both heard stands once.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.audio.silences import quietest_sample
from qasr_train.models.blocks.text_pieces import Pieces, cut_pieces, separator_pieces
from qasr_train.text.languages import CER_LANGUAGES

SEARCHED_FRACTION = 0.3  # the cut falls in this last share of the longest piece allowed
SHORTEST_PIECE_S = 0.5  # no piece is shorter: a model pads shorter clips
LARGEST_OVERLAP_FRACTION = 0.2  # of the longest piece allowed
FRAME_S = 0.02
SILENCE_DB = -40.0  # under the level of the piece's louder frames: nobody is heard there, not even faintly

# Written without spaces between words. Korean is scored by characters but written with spaces.
_LANGUAGES_WITHOUT_SPACES = CER_LANGUAGES - {"Korean"}
# More words (characters, marks included) than anybody says in a second: what the overlap can hold at the most.
_WORDS_PER_S, _CHARACTERS_PER_S = 8, 24
_WORD = re.compile(r"\s*\S+")
_CHARACTER = re.compile(r"\s*(?:[0-9A-Za-z]+|\S)")


def split_at_silences(waveform: np.ndarray, *, max_duration_s: float, overlap_s: float = 0.0) -> list[tuple[int, int]]:
    """Sample ranges (start, end) of at most `max_duration_s` each, in order, that together hold every sample.

    Every cut falls in the middle of the quietest 0.3 s within the last 30 % of the longest piece allowed. Both sides then
    hear up to half of `overlap_s` past it, to a quiet moment, so that a word cut there is heard whole by one of them. Where
    nothing is to be heard around the cut they meet without overlap. A waveform that is short enough gives one range.

    Args:
        waveform: float32 [S], 16 kHz.
        max_duration_s: seconds, at least 2.
        overlap_s: seconds that two pieces have in common, at most a fifth of `max_duration_s`; 0: none.
    """
    max_samples = int(max_duration_s * SAMPLE_RATE_HZ)
    assert max_duration_s >= 2, "pieces under 2 s leave no room to look for a silence"
    half = int(min(overlap_s, LARGEST_OVERLAP_FRACTION * max_duration_s) / 2 * SAMPLE_RATE_HZ)
    ranges, start = [], 0
    while len(waveform) - start > max_samples:
        first = start + int((1 - SEARCHED_FRACTION) * max_samples)
        last = min(start + max_samples - half, len(waveform) - int(SHORTEST_PIECE_S * SAMPLE_RATE_HZ))
        cut = first + quietest_sample(waveform[first:last])
        before, after = cut - half, min(cut + half, len(waveform))
        if half and not _is_silent(waveform[before:after], waveform[start:cut]):
            end = min(cut + half // 2, after)
            ranges.append((start, end + quietest_sample(waveform[end:after])))
            start = before + quietest_sample(waveform[before : cut - half // 2])
        else:
            ranges.append((start, cut))
            start = cut
    ranges.append((start, len(waveform)))
    return ranges


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
    has_spaces = language not in _LANGUAGES_WITHOUT_SPACES
    separator, pattern = (" ", _WORD) if has_spaces else ("", _CHARACTER)
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


def overlaps_of(ranges: Sequence[tuple[int, int]]) -> list[float]:
    """Seconds that each range has in common with the next."""
    return [max(0, end - start) / SAMPLE_RATE_HZ for (_, end), (start, _) in pairwise(ranges)]


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


def heard_range(waveform: np.ndarray) -> tuple[int, int]:
    """(first sample, after the last) between which anything is to be heard; float32 [S] -> (0, S) where nothing is louder."""
    frame = int(FRAME_S * SAMPLE_RATE_HZ)
    levels = _frame_rms(waveform)
    heard = np.flatnonzero(levels > np.quantile(levels, 0.9) * 10 ** (SILENCE_DB / 20)) if len(levels) else levels
    if not len(heard):
        return 0, len(waveform)
    end = (int(heard[-1]) + 1) * frame
    return int(heard[0]) * frame, end if end // frame < len(levels) else len(waveform)


def _is_silent(around_cut: np.ndarray, piece: np.ndarray) -> bool:
    """Whether no frame around the cut comes near the level of the piece's louder frames."""
    return bool(_frame_rms(around_cut).max() <= np.quantile(_frame_rms(piece), 0.9) * 10 ** (SILENCE_DB / 20))


def _frame_rms(waveform: np.ndarray) -> np.ndarray:
    """Root mean square of each frame of FRAME_S; float32 [S] -> float64 [frames]."""
    frame = int(FRAME_S * SAMPLE_RATE_HZ)
    frames = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    return np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1))
