"""Owns aligning a text with a recording of any length: an aligner's longest clip after the other, cut at silences.

Input: an `Aligner`, a waveform, its text. Output: an `Alignment`: the text's own words in order, those unplaced that cannot be
told, and how much one should doubt that this text was said here. Imports no torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.audio.silences import quietest_sample
from qasr_train.timed.base import TimedWord

if TYPE_CHECKING:  # it brings torch
    from qasr_train.models.base import Aligner

SEARCHED_FRACTION = 0.5  # the cut falls in this last share of the longest clip allowed
# A word less sure than this is not placed: of the bundled aligner's it is right less often than wrong (docs/alignment.md).
MIN_CONFIDENCE = 0.2
# A text of which more is doubted was most likely not said here (docs/alignment.md).
MAX_DOUBT = 0.5
_MORE_WORDS, _FEW_WORDS = 2.0, 8  # words given to a clip: so many times its share of what is left, and some


@dataclass(frozen=True, slots=True)
class Alignment:
    """Words with their times, and how far they can be trusted.

    words: all of the text's, in order. doubt: 0 to 1; 1 less the mean confidence of the words, unplaced ones counting none.
    """

    words: tuple[TimedWord, ...]
    doubt: float

    @property
    def num_unplaced(self) -> int:
        """Words without times."""
        return sum(not word.is_placed for word in self.words)

    @property
    def is_doubtful(self) -> bool:
        """Whether this is likely the text of another recording."""
        return self.doubt > MAX_DOUBT


def align_text(
    aligner: "Aligner",
    waveform: np.ndarray,
    text: str,
    language: str | None,
    *,
    min_confidence: float = MIN_CONFIDENCE,
) -> Alignment:
    """When each word of a text was said.

    Args:
        waveform: float32 [S] at 16 kHz, of any length. text: of any length, said in it from beginning to end.
        language: its name, None where it is not known. min_confidence: a word less sure is left unplaced.

    Raises:
        DataError: the aligner does not know the language. ConfigError: a package that cuts it into words is not installed.
    """
    words = aligner.split(text, language)
    timed = _over_clips(aligner, waveform, words, language)
    marked = tuple(
        word if (word.confidence or 0.0) >= min_confidence else replace(word, start_s=None, end_s=None)
        for word in timed
    )
    sure = sum((word.confidence or 0.0) for word in marked if word.is_placed)
    return Alignment(marked, 1 - sure / len(marked) if marked else 0.0)


def _over_clips(
    aligner: "Aligner", waveform: np.ndarray, words: Sequence[str], language: str | None
) -> list[TimedWord]:
    """Each clip is given more words than it may hold, and keeps those said before its cut; the next goes on from there.

    A clip too long for one pass is cut at the quietest place of its second half. An aligner hears no word that comes later than
    the one it places (its attention is causal), so words too many change nothing.
    """
    longest = int(aligner.longest_s * SAMPLE_RATE_HZ)
    timed: list[TimedWord] = []
    begin = 0
    while len(timed) < len(words) and begin < len(waveform):
        rest = words[len(timed) :]
        clip = waveform[begin : begin + longest]
        if begin + longest >= len(waveform):
            return timed + _moved(aligner.align(clip, rest, language), begin)
        first = int((1 - SEARCHED_FRACTION) * longest)
        cut = first + quietest_sample(clip[first:])
        share = len(clip) / (len(waveform) - begin)
        given = rest[: math.ceil(_MORE_WORDS * share * len(rest)) + _FEW_WORDS]
        heard = aligner.align(clip, given, language)
        timed += _moved(heard[: _num_before(heard, cut / SAMPLE_RATE_HZ)], begin)
        begin += cut
    return timed + [TimedWord(word, None, None, 0.0) for word in words[len(timed) :]]


def _num_before(words: Sequence[TimedWord], cut_s: float) -> int:
    """How many of them were said before the cut: up to the last whose middle is, before the first whose middle is not."""
    number = 0
    for place, word in enumerate(words):
        if word.start_s is None or word.end_s is None:
            continue
        if (word.start_s + word.end_s) / 2 > cut_s:
            break
        number = place + 1
    return number


def _moved(words: Sequence[TimedWord], begin: int) -> list[TimedWord]:
    """The words of a clip with times of the recording. begin: of the clip, samples."""
    by_s = begin / SAMPLE_RATE_HZ
    return [
        replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s)
        if word.start_s is not None and word.end_s is not None
        else word
        for word in words
    ]
