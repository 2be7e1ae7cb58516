"""Whisper's log-mel: that of transformers' WhisperFeatureExtractor, clip by clip and by batch, at every length there can be."""

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from qasr_train.models.whisper.log_mel import WhisperLogMel

# Around half a window of the transform (200), a hop (160), the end of the 30 s, and in between.
NUM_SAMPLES = [0, 1, 159, 160, 161, 199, 200, 201, 399, 400, 401, 16_000, 57_321]
NUM_SAMPLES += [479_600, 479_799, 479_800, 479_801, 479_840, 479_900, 479_999, 480_000]


@pytest.fixture(scope="module")
def extractor() -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=80)


@pytest.fixture(scope="module")
def log_mel(extractor: WhisperFeatureExtractor) -> WhisperLogMel:
    return WhisperLogMel(
        n_fft=400, hop_samples=160, window_samples=480_000, filters=torch.from_numpy(extractor.mel_filters).float()
    )


def noise(num_samples: int) -> np.ndarray:
    """float32 [S], loud at both ends, so that what lies beyond them matters."""
    values = np.random.default_rng(num_samples).normal(0.0, 0.1, num_samples)
    return (values * np.linspace(1.0, 0.5, num_samples)).astype(np.float32)


def expected_of(extractor: WhisperFeatureExtractor, waveform: np.ndarray) -> torch.Tensor:
    """float32 [80, 3000] by transformers, of the clip and zeros: an empty list has no shape for it."""
    padded = waveform if len(waveform) else np.zeros(1, np.float32)
    return extractor(padded, sampling_rate=16_000, return_tensors="pt").input_features[0]


@pytest.mark.parametrize("num_samples", NUM_SAMPLES)
def test_a_clip_has_the_features_of_transformers(extractor, log_mel, num_samples: int):
    waveform = noise(num_samples)
    found, expected = log_mel(waveform), expected_of(extractor, waveform)
    assert found.shape == (80, log_mel.num_frames(num_samples)) and found.is_contiguous()
    filled = torch.cat([found, found[:, -1:].expand(-1, 3000 - found.shape[1])], dim=1)
    torch.testing.assert_close(filled, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_samples", NUM_SAMPLES)
def test_its_frames_are_those_that_hear_the_sound_and_one_of_silence(log_mel, num_samples: int):
    """Frame f hears the samples 160 f - 200 to 160 f + 199 (reflected at the ends of the window)."""
    heard = [f for f in range(3000) if max(0, 160 * f - 200) < num_samples] or [0, 1]
    assert log_mel.num_frames(num_samples) == min(3000, max(heard) + 2)


def test_a_batch_on_its_device_has_the_same_features_whatever_stands_past_a_row(extractor, log_mel):
    lengths = [0, 1, 399, 16_000, 479_900, 480_000]
    waveforms = torch.full((len(lengths), max(lengths)), 9.0)
    for row, num_samples in enumerate(lengths):
        waveforms[row, :num_samples] = torch.from_numpy(noise(num_samples))
    found = log_mel.of_batch(waveforms, torch.tensor(lengths), num_frames=3000)
    for row, num_samples in enumerate(lengths):
        torch.testing.assert_close(found[row], expected_of(extractor, noise(num_samples)), rtol=0, atol=1e-5)


def test_a_narrow_batch_is_the_beginning_of_a_wide_one(log_mel):
    waveforms, lengths = torch.from_numpy(np.stack([noise(16_000), noise(16_000)])), torch.tensor([16_000, 900])
    wide = log_mel.of_batch(waveforms, lengths, num_frames=3000)
    assert torch.equal(log_mel.of_batch(waveforms, lengths, num_frames=152), wide[..., :152])


def test_the_features_of_large_v3_are_its_own():
    extractor = WhisperFeatureExtractor(feature_size=128)
    log_mel = WhisperLogMel(
        n_fft=400, hop_samples=160, window_samples=480_000, filters=torch.from_numpy(extractor.mel_filters).float()
    )
    waveform = noise(20_000)
    expected = extractor(waveform, sampling_rate=16_000, return_tensors="pt").input_features[0]
    torch.testing.assert_close(log_mel(waveform), expected[:, : log_mel.num_frames(20_000)], rtol=0, atol=1e-5)
