"""Owns how a recording longer than a model takes in one pass is cut at silences, and how its pieces' texts are joined.

Input: a waveform, float32 [S], 16 kHz. Output: sample ranges that cover it exactly once; the joined text.
"""

from collections.abc import Sequence

import numpy as np

from qasr_train.languages import CER_LANGUAGES

SAMPLE_RATE_HZ = 16_000
SILENCE_S = 0.3  # length of the stretch whose energy is compared: a pause between words, not the closure of a stop
SEARCHED_FRACTION = 0.3  # the cut falls in this last share of the longest piece allowed
SHORTEST_PIECE_S = 0.5  # no piece is shorter: a model pads shorter clips

# Written without spaces between words. Korean is scored by characters but written with spaces.
_LANGUAGES_WITHOUT_SPACES = CER_LANGUAGES - {"Korean"}


def split_at_silences(waveform: np.ndarray, *, max_duration_s: float) -> list[tuple[int, int]]:
    """Sample ranges (start, end) of at most `max_duration_s` each, in order, without gap or overlap.

    Every cut falls in the middle of the quietest 0.3 s within the last 30 % of the longest piece allowed. A waveform
    that is short enough gives one range.

    Args:
        waveform: float32 [S], 16 kHz.
        max_duration_s: seconds, at least 2.
    """
    max_samples = int(max_duration_s * SAMPLE_RATE_HZ)
    assert max_duration_s >= 2, "pieces under 2 s leave no room to look for a silence"
    ranges, start = [], 0
    while len(waveform) - start > max_samples:
        first = start + int((1 - SEARCHED_FRACTION) * max_samples)
        last = min(start + max_samples, len(waveform) - int(SHORTEST_PIECE_S * SAMPLE_RATE_HZ))
        cut = first + _quietest_sample(waveform[first:last])
        ranges.append((start, cut))
        start = cut
    ranges.append((start, len(waveform)))
    return ranges


def join_texts(texts: Sequence[str], language: str | None) -> str:
    """The texts of one recording's pieces as one text, without a space where the language is written without spaces."""
    separator = "" if language in _LANGUAGES_WITHOUT_SPACES else " "
    return separator.join(text.strip() for text in texts if text.strip())


def _quietest_sample(waveform: np.ndarray) -> int:
    """The middle of the stretch of SILENCE_S with the least energy; float32 [S] -> index into it."""
    window = min(int(SILENCE_S * SAMPLE_RATE_HZ), len(waveform))
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    return int(np.argmin(energy[window:] - energy[:-window])) + window // 2
