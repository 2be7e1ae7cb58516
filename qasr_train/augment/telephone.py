"""Owns what a telephone does to a waveform: its band, its rate, and the codec in between.

Input: float32 [S] at 16 kHz. Output: float32 [S] at 16 kHz, in time with the input. Codecs are libsndfile's own, in memory.
"""

import io
from enum import Enum

import numpy as np
import soundfile
import soxr

from qasr_train.audio import SAMPLE_RATE_HZ
from qasr_train.errors import ConfigError

TELEPHONE_RATE_HZ = 8_000
LOW_HZ, HIGH_HZ = 300.0, 3_400.0  # the band of ITU-T G.712
_EDGE_HZ = 100.0  # width of each edge of the band: steep, as in an exchange, yet it rings for 10 ms only


class Codec(str, Enum):
    """How a telephone call is coded."""

    none = "none"
    mulaw = "mulaw"
    alaw = "alaw"
    gsm = "gsm"
    opus = "opus"


# Container and subtype of libsndfile: G.711 (64 kbit/s, Americas and Japan; elsewhere), GSM 06.10 full rate (13 kbit/s),
# Opus for calls over the internet.
_STORED_AS = {
    Codec.mulaw: ("WAV", "ULAW"),
    Codec.alaw: ("WAV", "ALAW"),
    Codec.gsm: ("WAV", "GSM610"),
    Codec.opus: ("OGG", "OPUS"),
}
_OPUS_LEVEL = 0.97  # libsndfile's compression level, here some 14 kbit/s: what a bad connection falls back to


def check_codec(codec: Codec) -> None:
    """Refuse a codec this machine's libsndfile was built without."""
    stored = _STORED_AS.get(codec)
    if stored and not soundfile.check_format(*stored):
        raise ConfigError(
            f"augment.telephone.codecs: the libsndfile of this machine cannot write {codec.value}; remove it from the list"
        )


def telephone(waveform: np.ndarray, codec: Codec) -> np.ndarray:
    """A clip as a telephone carries it: 300 to 3,400 Hz at 8 kHz, coded and decoded.

    A clip beyond full scale is turned down to it first, as a codec would clip it.
    """
    if not len(waveform):
        return waveform
    narrow = soxr.resample(waveform, SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ, quality="HQ")
    narrow = band_pass(narrow, TELEPHONE_RATE_HZ)
    peak = float(np.abs(narrow).max()) if len(narrow) else 0.0
    coded = through_codec(narrow / max(peak, 1.0), codec)
    wide = soxr.resample(coded, TELEPHONE_RATE_HZ, SAMPLE_RATE_HZ, quality="HQ")
    return np.pad(wide, (0, max(0, len(waveform) - len(wide))))[: len(waveform)].astype(np.float32)


def band_pass(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """float32 [S] -> float32 [S] without what lies outside 300 to 3,400 Hz; no delay."""
    size = 1 << (len(samples) + sample_rate_hz // 10).bit_length()  # room for the ringing, which would wrap around
    hz = np.fft.rfftfreq(size, 1.0 / sample_rate_hz)
    rising = np.clip((hz - LOW_HZ) / _EDGE_HZ + 0.5, 0.0, 1.0)
    falling = np.clip((HIGH_HZ - hz) / _EDGE_HZ + 0.5, 0.0, 1.0)
    kept = np.sin(0.5 * np.pi * np.minimum(rising, falling)) ** 2
    return np.fft.irfft(np.fft.rfft(samples, size) * kept, size)[: len(samples)].astype(np.float32)


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
