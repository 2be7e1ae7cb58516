"""Owns how a recording longer than a model takes in one pass is cut at silences.

Input: a waveform, float32 [S], 16 kHz. Output: sample ranges that cover it, neighbours overlapping unless all is quiet where
they meet. Their texts are joined by models/blocks/joined_text.py.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.audio.silences import SEARCHED_FRACTION, SHORTEST_PIECE_S, quietest_sample

LARGEST_OVERLAP_FRACTION = 0.2  # of the longest piece allowed
FRAME_S = 0.02
SILENCE_DB = -40.0  # under the level of the piece's louder frames: nobody is heard there, not even faintly


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


def overlaps_of(ranges: Sequence[tuple[int, int]]) -> list[float]:
    """Seconds that each range has in common with the next."""
    return [max(0, end - start) / SAMPLE_RATE_HZ for (_, end), (start, _) in pairwise(ranges)]


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
