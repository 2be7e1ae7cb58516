"""Owns what an aligner is compared with: words shared out by their length, the times of Whisper's cross-attention, and itself
where the same words are written in other letters.

Input: a name of `suite.baselines`, or an aligner. Output: an `Aligner`. Whisper times the words that it hears itself, as
transformers does it (`return_timestamps="word"`); those of the text that it did not hear are unplaced.
"""

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.errors import ConfigError
from qasr_train.models.base import Aligner
from qasr_train.models.qwen3_aligner.words import split_units, spoken_letters
from qasr_train.timed.base import TimedWord
from qasr_train.transcription.long_audio import heard_range

PROPORTIONAL = "proportional"
_ANY_LENGTH_S = 1e6


def open_baseline(name: str) -> Aligner:
    """The aligner of a name: "proportional", or the directory of a Whisper in transformers' layout.

    Raises:
        ConfigError: it is neither.
    """
    if name == PROPORTIONAL:
        return Proportional()
    if not (Path(name) / "config.json").is_file():
        raise ConfigError(
            f"suite.baselines: {name} is neither {PROPORTIONAL} nor the directory of a Whisper; correct it or leave it out"
        )
    return WhisperWords(Path(name))


class Proportional:
    """Every word gets a share of what is to be heard by its number of letters: what knowing nothing of the words gives."""

    family, longest_s, languages = PROPORTIONAL, _ANY_LENGTH_S, ()

    def split(self, text: str, language: str | None) -> list[str]:
        """See `Aligner`."""
        return [unit.shown for unit in split_units(text, language)]

    def align(self, waveform: np.ndarray, words: Sequence[str], language: str | None) -> tuple[TimedWord, ...]:
        """See `Aligner`."""
        if not words:
            return ()
        first, last = (at / SAMPLE_RATE_HZ for at in heard_range(waveform))
        letters = np.array([max(1, len(spoken_letters(word))) for word in words])
        ends = first + (last - first) * letters.cumsum() / letters.sum()
        begins = [first, *ends[:-1]]
        return tuple(TimedWord(word, float(a), float(b), 1.0) for word, a, b in zip(words, begins, ends, strict=True))


class OtherLetters:
    """An aligner that is asked for the same words in capitals; in small letters where they have capitals."""

    def __init__(self, aligner: Aligner) -> None:
        """aligner: what is asked."""
        self._aligner = aligner
        self.family, self.longest_s, self.languages = aligner.family, aligner.longest_s, aligner.languages
        self.split = aligner.split

    def align(self, waveform: np.ndarray, words: Sequence[str], language: str | None) -> tuple[TimedWord, ...]:
        """See `Aligner`."""
        text = "".join(words)
        others = [word.upper() if text == text.lower() else word.lower() for word in words]
        found = self._aligner.align(waveform, others, language)
        return tuple(replace(one, text=word) for one, word in zip(found, words, strict=True))


class WhisperWords:
    """Whisper's own word times (cross-attention of its alignment heads, dynamic time warping), by transformers."""

    longest_s, languages = _ANY_LENGTH_S, ()

    def __init__(self, folder: Path) -> None:
        """folder: of the model, with `alignment_heads` in its generation_config.json."""
        from transformers import pipeline  # seconds to import, and needed for this baseline alone

        self.family = f"whisper cross-attention ({folder.name})"
        self._pipeline: Any = pipeline("automatic-speech-recognition", model=str(folder), chunk_length_s=30)

    def split(self, text: str, language: str | None) -> list[str]:
        """See `Aligner`."""
        return [unit.shown for unit in split_units(text, language)]

    def align(self, waveform: np.ndarray, words: Sequence[str], language: str | None) -> tuple[TimedWord, ...]:
        """See `Aligner`."""
        asked = {"task": "transcribe"} | ({"language": language.lower()} if language else {})
        heard = self._pipeline(
            {"raw": waveform, "sampling_rate": SAMPLE_RATE_HZ}, return_timestamps="word", generate_kwargs=asked
        )["chunks"]
        keys = [spoken_letters(word).casefold() for word in words]
        heard_keys = [spoken_letters(one["text"]).casefold() for one in heard]
        timed = [TimedWord(word, None, None, 0.0) for word in words]
        for block in SequenceMatcher(None, keys, heard_keys, autojunk=False).get_matching_blocks():
            for step in range(block.size):
                start_s, end_s = heard[block.b + step]["timestamp"]
                if start_s is not None and end_s is not None:
                    timed[block.a + step] = TimedWord(words[block.a + step], float(start_s), float(end_s), 1.0)
        return tuple(timed)
