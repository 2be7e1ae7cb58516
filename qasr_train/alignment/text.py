"""Owns aligning a text with a recording of any length: clips cut at silences, the text's words shared out over them.

Input: an `Aligner`, a waveform, its text, and for more than one clip what a recogniser hears in each. Output: an `Alignment`: the
text's own words in order, those unplaced that cannot be told, and how much one should doubt that this text was said here. Imports
no torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import Match, SequenceMatcher
from typing import TYPE_CHECKING

import numpy as np

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.audio.silences import quietest_sample
from qasr_train.errors import DataError
from qasr_train.timed.base import TimedWord

if TYPE_CHECKING:  # it brings torch
    from qasr_train.models.base import Aligner

SEARCHED_FRACTION = 0.5  # a cut falls in this last share of the longest clip allowed
# A word less sure than this is not placed, and a text of which more is doubted was most likely not said here: docs/alignment.md.
MIN_CONFIDENCE = 0.2
MAX_DOUBT = 0.5

# What is heard in each of some clips, float32 [S] at 16 kHz: (clips, language or None) -> texts.
Hear = Callable[[Sequence[np.ndarray], str | None], list[str]]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Words with their times, and how far they can be trusted.

    words: all of the text's, in order. doubt: 0 to 1, whether the text is that of another recording: see `_doubt`.
    duration_s: seconds of sound that were aligned; None: remembered by a version that did not tell.
    """

    words: tuple[TimedWord, ...]
    doubt: float
    duration_s: float | None = None

    @property
    def num_unplaced(self) -> int:
        """Words without times."""
        return sum(not word.is_placed for word in self.words)

    def moved(self, by_s: float) -> "Alignment":
        """The words by so many seconds later: of a clip, with times of the recording."""
        return replace(self, words=tuple(word.moved(by_s) for word in self.words))


def align_text(
    aligner: "Aligner",
    waveform: np.ndarray,
    text: str,
    language: str | None,
    *,
    hear: Hear | None = None,
    min_confidence: float = MIN_CONFIDENCE,
) -> Alignment:
    """When each word of a text was said.

    Args:
        waveform: float32 [S] at 16 kHz, of any length. text: of any length, said in it from beginning to end.
        language: its name, None where it is not known.
        hear: a recogniser, for recordings longer than the aligner takes at once, and to tell a text of another recording.
        min_confidence: a word less sure is left unplaced.

    Raises:
        DataError: the aligner does not know the language, or the recording is longer and there is no recogniser.
        ConfigError: a package that cuts the language into words is not installed.
    """
    words = aligner.split(text, language)
    clips = _clips(waveform, int(aligner.longest_s * SAMPLE_RATE_HZ))
    if hear is None and len(clips) > 1:
        raise DataError(
            f"a recording of {len(waveform) / SAMPLE_RATE_HZ:.0f} s is longer than the {aligner.longest_s:g} s the aligner "
            "takes at once, and is cut only where a recogniser tells what words are in which part (align.py recogniser=PATH)"
        )
    texts = hear([waveform[begin:end] for begin, end in clips], language) if hear else []
    heard = [aligner.split(one, language) for one in texts]
    ends = shares(words, heard) if len(clips) > 1 else [len(words)]
    timed = _over_clips(aligner, waveform, words, language, list(zip(clips, ends, strict=True)))
    marked = tuple(
        word if (word.confidence or 0.0) >= min_confidence else replace(word, start_s=None, end_s=None)
        for word in timed
    )
    return Alignment(marked, _doubt(marked, heard if hear else None), len(waveform) / SAMPLE_RATE_HZ)


def _doubt(words: Sequence[TimedWord], heard: Sequence[Sequence[str]] | None) -> float:
    """1 less the share of the words that a recogniser heard, in order; without one, less the mean confidence of those placed."""
    if not words:
        return 0.0
    if heard is None:
        return 1 - sum((word.confidence or 0.0) for word in words if word.is_placed) / len(words)
    flat = [_key(word) for own in heard for word in own]
    return 1 - sum(block.size for block in _matching([_key(word.text) for word in words], flat)) / len(words)


def _over_clips(
    aligner: "Aligner",
    waveform: np.ndarray,
    words: Sequence[str],
    language: str | None,
    clips: Sequence[tuple[tuple[int, int], int]],
) -> list[TimedWord]:
    """Every clip's own words aligned with it. clips: sample range, and how many words of the text are over at its end."""
    timed: list[TimedWord] = []
    for (begin, end), last in clips:
        own = words[len(timed) : last]
        timed += _moved(aligner.align(waveform[begin:end], own, language), begin) if own else []
    return timed


def _clips(waveform: np.ndarray, longest: int) -> list[tuple[int, int]]:
    """Sample ranges that follow each other, each cut at the quietest place of the second half of the longest allowed."""
    clips, begin = list[tuple[int, int]](), 0
    while len(waveform) - begin > longest:
        first = begin + int((1 - SEARCHED_FRACTION) * longest)
        cut = first + quietest_sample(waveform[first : begin + longest])
        clips.append((begin, cut))
        begin = cut
    return [*clips, (begin, len(waveform))]


def shares(words: Sequence[str], heard: Sequence[Sequence[str]]) -> list[int]:
    """How many words of a text are over at the end of each clip, by the words that a recogniser heard in each.

    Words that both have are anchors. Those between two anchors of different clips are shared out by how many words were heard on
    either side of the cut; the last clip has all that is left.
    """
    flat = [_key(word) for own in heard for word in own]
    # (place in the text, place in what was heard) of every anchor, with one before the first and one behind the last word.
    pairs = [(-1, -1)]
    for block in _matching([_key(word) for word in words], flat):
        pairs += [(block.a + step, block.b + step) for step in range(block.size)]
    pairs.append((len(words), len(flat)))
    ends, over = list[int](), 0
    for own in heard:
        over += len(own)
        ends.append(_text_place(pairs, over))
    ends[-1] = len(words)
    return ends


def _text_place(pairs: Sequence[tuple[int, int]], over: int) -> int:
    """How many words of the text are over when so many heard words are."""
    left = max((pair for pair in pairs if pair[1] < over), default=pairs[0])
    right = min((pair for pair in pairs if pair[1] >= over), default=pairs[-1])
    between_text, between_heard = right[0] - left[0] - 1, right[1] - left[1] - 1
    share = (over - left[1] - 1) / between_heard if between_heard else 0.5
    return left[0] + 1 + round(share * between_text)


def _matching(text: Sequence[str], heard: Sequence[str]) -> list[Match]:
    return SequenceMatcher(None, text, heard, autojunk=False).get_matching_blocks()


def _key(word: str) -> str:
    return "".join(filter(str.isalnum, word)).casefold()


def _moved(words: Sequence[TimedWord], begin: int) -> list[TimedWord]:
    """The words of a clip with times of the recording. begin: of the clip, samples."""
    return [word.moved(begin / SAMPLE_RATE_HZ) for word in words]
