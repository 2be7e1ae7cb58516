"""Owns what a telephone does to a waveform: its band, its rate, and the codec in between.

Input: float32 [S] at 16 kHz. Output: float32 [S] at 16 kHz, in time with the input. Codecs are libsndfile's own, in memory.
"""

import io

import numpy as np
import soundfile
import soxr

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.augment.acoustics import convolve
from qasr_train.augment.settings import _STORED_AS, Codec

TELEPHONE_RATE_HZ = 8_000
LOW_HZ, HIGH_HZ = 300.0, 3_400.0  # the band of ITU-T G.712


_OPUS_LEVEL = 0.97  # libsndfile's compression level, here some 14 kbit/s: what a bad connection falls back to


def telephone(waveform: np.ndarray, codec: Codec) -> np.ndarray:
    """A clip as a telephone carries it: 300 to 3,400 Hz at 8 kHz, coded and decoded.

    A clip beyond full scale is turned down to it first, as a codec would clip it.
    """
    if not len(waveform):
        return waveform
    narrow = soxr.resample(waveform, SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ, quality="HQ")
    narrow = band_pass(narrow)
    peak = float(np.abs(narrow).max()) if len(narrow) else 0.0
    coded = through_codec(narrow / max(peak, 1.0), codec)
    wide = soxr.resample(coded, TELEPHONE_RATE_HZ, SAMPLE_RATE_HZ, quality="HQ")
    return np.pad(wide, (0, max(0, len(waveform) - len(wide))))[: len(waveform)].astype(np.float32)


def band_pass(samples: np.ndarray) -> np.ndarray:
    """float32 [S] at 8 kHz -> float32 [S] without what lies outside 300 to 3,400 Hz; no delay."""
    half = len(_BAND) // 2
    return convolve(samples, _BAND)[half : half + len(samples)]


def _band_filter(num_taps: int) -> np.ndarray:
    """float32 [num_taps], symmetric: the difference of two windowed sincs."""
    taps = np.arange(num_taps) - num_taps // 2
    high, low = (2.0 * hz / TELEPHONE_RATE_HZ for hz in (HIGH_HZ, LOW_HZ))
    ideal = high * np.sinc(high * taps) - low * np.sinc(low * taps)
    return (ideal * np.blackman(num_taps)).astype(np.float32)


_BAND = _band_filter(601)  # 75 ms: edges 80 Hz wide, steep as in an exchange


def through_codec(samples: np.ndarray, codec: Codec) -> np.ndarray:
    """float32 [S] at 8 kHz, coded and decoded; the codec's padding of the end is cut."""
    if codec is Codec.none:
        return samples
    container, subtype = _STORED_AS[codec]
    stored = io.BytesIO()
    level = {"compression_level": _OPUS_LEVEL} if codec is Codec.opus else {}
    with soundfile.SoundFile(
        stored, "w", TELEPHONE_RATE_HZ, channels=1, format=container, subtype=subtype, **level
    ) as file:
        file.write(samples)
    stored.seek(0)
    decoded, _ = soundfile.read(stored, dtype="float32")
    return np.pad(decoded, (0, max(0, len(samples) - len(decoded))))[: len(samples)]
