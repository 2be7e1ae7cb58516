"""Noise is added at the ratio asked for, a room keeps time and energy, and silence breaks neither."""

import numpy as np
import pytest

from qasr_train.augment.acoustics import active_power, mean_power, mix_noise, noise_stretch, reverberate
from tests.helpers import tone

WHITE = np.random.default_rng(0).normal(0.0, 0.1, 48_000).astype(np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def measured_snr_db(clip: np.ndarray, mixed: np.ndarray) -> float:
    return 10 * np.log10(active_power(clip) / mean_power(mixed - clip))


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_is_added_at_the_ratio_asked_for(snr_db: float) -> None:
    clip = tone(1.0, peak=0.1)
    assert measured_snr_db(clip, mix_noise(clip, WHITE, snr_db, rng())) == pytest.approx(snr_db, abs=0.01)


def test_pauses_do_not_count_in_the_ratio() -> None:
    spoken = tone(1.0, peak=0.1)
    with_pauses = np.concatenate([np.zeros(16_000, np.float32), spoken, np.zeros(32_000, np.float32)])
    # A sine of peak 0.1 has a mean square of 0.005, wherever it stands among silence.
    assert active_power(with_pauses) == pytest.approx(0.005, rel=1e-3)
    mixed = mix_noise(with_pauses, WHITE, 10.0, rng())
    assert mean_power(mixed - with_pauses) == pytest.approx(0.0005, rel=1e-3)


def test_a_quiet_background_does_not_count_as_speech() -> None:
    background = 0.001 * np.random.default_rng(1).normal(size=64_000).astype(np.float32)
    background[:16_000] += tone(1.0, peak=0.1)
    assert active_power(background) == pytest.approx(0.005, rel=0.01)


def test_a_short_noise_is_repeated_and_a_long_one_cut() -> None:
    short, long = np.arange(1, 5, dtype=np.float32), np.arange(100, dtype=np.float32)
    repeated, cut = noise_stretch(short, 10, rng()), noise_stretch(long, 10, rng())
    assert sorted(set(np.diff(repeated))) == [-3.0, 1.0]  # 1 2 3 4 1 2 ... from some offset
    assert np.array_equal(np.diff(cut), np.ones(9))
    offsets = {int(noise_stretch(long, 99, np.random.default_rng(seed))[0]) for seed in range(20)}
    assert offsets == {0, 1}


def test_a_silent_clip_and_a_silent_noise_leave_the_clip_as_it_was() -> None:
    clip, silence = tone(0.5), np.zeros(8_000, np.float32)
    for changed, before in [
        (mix_noise(clip, silence, 0.0, rng()), clip),
        (mix_noise(clip, np.zeros(0, np.float32), 0.0, rng()), clip),
        (mix_noise(silence, WHITE, 0.0, rng()), silence),
        (reverberate(silence, np.ones(10, np.float32)), silence),
        (reverberate(clip, np.zeros(10, np.float32)), clip),
    ]:
        assert np.array_equal(changed, before) and changed is not before


def test_loud_noise_turns_the_sum_down_instead_of_clipping_it() -> None:
    clip = tone(1.0, peak=0.9)
    mixed = mix_noise(clip, WHITE, 0.0, rng())
    assert np.abs(mixed).max() == pytest.approx(1.0)
    # The part of the sum that is the clip is found by projection; the rest is the noise, at the same ratio.
    scale = float(mixed @ clip / (clip @ clip))
    assert scale < 1.0
    assert measured_snr_db(scale * clip, mixed) == pytest.approx(0.0, abs=0.2)


def test_the_same_seed_gives_the_same_noise() -> None:
    clip = tone(0.5, peak=0.1)
    assert np.array_equal(mix_noise(clip, WHITE, 5.0, rng()), mix_noise(clip, WHITE, 5.0, rng()))
    assert not np.array_equal(mix_noise(clip, WHITE, 5.0, rng()), mix_noise(clip, WHITE, 5.0, np.random.default_rng(4)))


def test_a_room_keeps_length_energy_and_the_time_of_the_direct_sound() -> None:
    clip = np.zeros(1_000, np.float32)
    clip[300] = 0.5
    rir = np.zeros(400, np.float32)
    rir[[50, 80, 200]] = [1.0, -0.5, 0.25]  # 50 samples on the way, then two reflections
    wet = reverberate(clip, rir)
    assert wet.shape == clip.shape and wet.dtype == np.float32
    assert mean_power(wet) == pytest.approx(mean_power(clip), rel=1e-5)
    assert int(np.argmax(np.abs(wet))) == 300
    assert wet[[300, 330, 450]] / wet[300] == pytest.approx([1.0, -0.5, 0.25], abs=1e-4)


def test_reverberation_equals_direct_convolution() -> None:
    clip, rir = tone(0.05, peak=0.1), np.exp(-np.arange(300) / 60.0).astype(np.float32)
    expected = np.convolve(clip.astype(np.float64), rir)[: len(clip)]
    expected *= np.sqrt(mean_power(clip) / mean_power(expected))
    assert np.abs(reverberate(clip, rir) - expected).max() < 1e-6
