"""Owns where a recording is quietest: where it is cut. Input: a waveform. Output: an index into it."""

import numpy as np

from qasr_train.audio.decode import SAMPLE_RATE_HZ

# By these both whole recordings and streams are cut.
SEARCHED_FRACTION = 0.3  # the cut falls in this last share of the longest piece allowed
SHORTEST_PIECE_S = 0.5  # no piece is shorter: a model pads shorter clips
SILENCE_S = 0.3  # length of the stretch whose energy is compared: a pause between words, not the closure of a stop


def quietest_sample(waveform: np.ndarray) -> int:
    """The middle of the stretch of SILENCE_S with the least energy; float32 [S] -> index into it."""
    window = min(int(SILENCE_S * SAMPLE_RATE_HZ), len(waveform))
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    return int(np.argmin(energy[window:] - energy[:-window])) + window // 2 if window else 0
