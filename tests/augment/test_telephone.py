"""A telephone keeps the voice's band and its timing, whatever the codec."""

import numpy as np
import pytest

from qasr_train.augment.settings import Codec
from qasr_train.augment.telephone import telephone
from tests.helpers import tone


def chirp() -> np.ndarray:
    """One second that sweeps from 400 to 3000 Hz: no stretch of it looks like another, so a delay cannot hide."""
    time_s = np.arange(16_000) / 16_000
    return (0.3 * np.sin(2 * np.pi * (400 * time_s + 1300 * time_s**2))).astype(np.float32)


def level_db(changed: np.ndarray, clip: np.ndarray) -> float:
    middle = slice(2_000, -2_000)  # the edges of a tone that starts and stops at once reach beyond its frequency
    return float(10 * np.log10(np.mean(changed[middle] ** 2) / np.mean(clip[middle] ** 2)))


@pytest.mark.parametrize(("frequency_hz", "low_db", "high_db"), [
    (100, -200, -40), (200, -200, -40), (500, -0.1, 0.1), (1000, -0.1, 0.1), (3000, -0.1, 0.1), (3700, -200, -40),
    (6000, -200, -40),
])  # fmt: skip
def test_only_the_band_of_a_telephone_is_left(frequency_hz: float, low_db: float, high_db: float) -> None:
    clip = tone(1.0, frequency_hz=frequency_hz)
    assert low_db <= level_db(telephone(clip, Codec.none), clip) <= high_db


@pytest.mark.parametrize("codec", Codec)
def test_a_codec_changes_neither_length_nor_time(codec: Codec) -> None:
    clip = chirp()
    changed = telephone(clip, codec)
    assert changed.shape == clip.shape and changed.dtype == np.float32
    lags = range(-80, 81, 4)  # a quarter of a millisecond apart
    likeness = [float(np.dot(changed[200:-200], np.roll(clip, lag)[200:-200])) for lag in lags]
    assert abs(lags[int(np.argmax(likeness))]) <= 8  # GSM has no exact delay; half a millisecond moves no word


@pytest.mark.parametrize("codec", [Codec.mulaw, Codec.alaw])
def test_g711_adds_the_noise_it_is_known_for(codec: Codec) -> None:
    # 8 bits on a logarithmic scale: some 38 dB below the signal at any level, where linear 8 bits would lose 30 dB more here.
    quiet = tone(1.0, frequency_hz=1000, peak=0.02)
    error = telephone(quiet, codec) - telephone(quiet, Codec.none)
    assert -45 < level_db(error, quiet) < -25


def test_a_clip_beyond_full_scale_is_turned_down_not_clipped() -> None:
    loud = tone(1.0, frequency_hz=1000, peak=4.0)
    changed = telephone(loud, Codec.mulaw)
    assert np.abs(changed).max() <= 1.1
    third_harmonic = np.abs(np.fft.rfft(changed[2_000:14_000]))[3 * 750]  # 3 kHz in 12,000 samples: clipping makes it
    assert third_harmonic < 0.01 * np.abs(np.fft.rfft(changed[2_000:14_000]))[750]


@pytest.mark.parametrize("num_samples", [1, 100, 8_001])
def test_the_shortest_clips_go_through(num_samples: int) -> None:
    for codec in Codec:
        assert telephone(tone(1.0)[:num_samples], codec).shape == (num_samples,)
