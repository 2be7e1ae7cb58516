"""Owns the probe by masked numbers: the stretch of a clip in which a number is said is made silent; who writes it knew it.

Input: utterances with their texts; of alternatives the first. Output: the `NumberMask` as a change of clips, and whether a text
has the number all the same. Where in the clip a number lies is estimated by letters, from the first to the last active moment,
with a margin; a mask that misses lets every model hear the number, the one before training too, so figures are read beside a
baseline's.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.manifest import Utterance
from qasr_train.text.alternatives.notation import first_spelling
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import Normalizer
from qasr_train.text.style import number_words
from qasr_train.text.tokens import tokens

MARGIN_SHARE = 0.1  # of the speech, on either side of where the number should lie
_MOST_MASKED = 0.6  # of the speech; with more of it silent nothing is left to know the clip by
_FRAME_S, _ACTIVE_SHARE = 0.02, 0.05  # a frame is active from this share of the loudest one's level on
_EDGES = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True, slots=True)
class SpokenNumber:
    """The longest run of number words or digits in a text. begin, end: characters; text: the run itself."""

    begin: int
    end: int
    text: str


def find_number(text: str, language: str | None) -> SpokenNumber | None:
    """The number to mask in a text; None where there is none, or too little would be left."""
    runs: list[tuple[int, int]] = []
    last = -1
    pattern = r"\d+" if language in CER_LANGUAGES else r"\S+"
    for place, match in enumerate(re.finditer(pattern, text)):
        if not _is_number(match[0], language):
            continue
        if runs and last == place - 1 and language not in CER_LANGUAGES:
            runs[-1] = runs[-1][0], match.end()
        else:
            runs.append((match.start(), match.end()))
        last = place
    if not runs:
        return None
    begin, end = max(runs, key=lambda run: run[1] - run[0])
    is_most = (end - begin) / len(text) + 2 * MARGIN_SHARE > _MOST_MASKED
    return None if is_most else SpokenNumber(begin, end, text[begin:end])


def has_number(utterance: Utterance) -> bool:
    """Whether an utterance's text holds a number to mask."""
    return find_number(first_spelling(utterance.text or ""), utterance.language) is not None


def is_written(number: SpokenNumber, reference: str, heard: str, language: str | None, normalizer: Normalizer) -> bool:
    """Whether a text has the masked number, beyond where the reference has the same elsewhere."""
    wanted, rest, said = (
        [_digits(token) for token in tokens(normalizer.normalize(text, language), language)]
        for text in (number.text, f"{reference[: number.begin]} {reference[number.end :]}", heard)
    )
    return bool(wanted) and _count(wanted, said) > _count(wanted, rest)


@dataclass(frozen=True)
class NumberMask:
    """The change of clips: silence where the number of each is said."""

    def apply(self, waveform: np.ndarray, utterance: Utterance) -> np.ndarray:
        """The clip with its number silent, float32 [S], as long as before; unchanged where it has none."""
        text = first_spelling(utterance.text or "")
        number = find_number(text, utterance.language)
        first, last = _speech(waveform)
        if number is None or last <= first:
            return waveform
        length, characters = last - first, max(1, len(text))
        begin = first + int(length * (number.begin / characters - MARGIN_SHARE))
        end = first + int(length * (number.end / characters + MARGIN_SHARE))
        changed = waveform.copy()
        changed[max(0, begin) : max(0, end)] = 0.0
        return changed

    def digest(self) -> str:
        """Of what decides the change."""
        return hashlib.sha256(repr((MARGIN_SHARE, _FRAME_S, _ACTIVE_SHARE)).encode()).hexdigest()[:16]


def _is_number(word: str, language: str | None) -> bool:
    bare = _EDGES.sub("", word).lower()
    if any(character.isdigit() for character in bare):
        return True
    parts = [part for part in re.split(r"\W+", bare) if part]
    return bool(parts) and all(part in number_words(language) for part in parts)


def _digits(token: str) -> str:
    """The number of a token without what rules put at its end beside certain words ("27th may"); else the token."""
    return "".join(character for character in token if character.isdigit()) or token


def _count(wanted: Sequence[str], text: Sequence[str]) -> int:
    length = len(wanted)
    return sum(list(text[place : place + length]) == list(wanted) for place in range(len(text) - length + 1))


def _speech(waveform: np.ndarray) -> tuple[int, int]:
    """First and last sample of what is active; (0, 0) of silence. waveform: float32 [S]."""
    size = int(_FRAME_S * SAMPLE_RATE_HZ)
    num_frames = len(waveform) // size
    if not num_frames:
        return 0, 0
    levels = np.sqrt((waveform[: num_frames * size].reshape(num_frames, size) ** 2).mean(axis=1))
    active = np.flatnonzero(levels > _ACTIVE_SHARE * levels.max())
    return (int(active[0]) * size, (int(active[-1]) + 1) * size) if len(active) and levels.max() > 0 else (0, 0)
