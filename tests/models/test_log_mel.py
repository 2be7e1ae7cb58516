"""The log-mel of a clip equals the model's own extractor on that clip alone, made one by one or on a device in a batch."""

import numpy as np
import pytest
import torch
from transformers import Qwen3ASRFeatureExtractor

from qasr_train.models.blocks.log_mel import LogMel

LENGTHS = [1, 400, 7999, 8000, 8159, 16_000, 81_921, 82_080, 123_457]  # around 0.5 s and around blocks of 512 frames


@pytest.fixture(scope="module")
def extractor() -> Qwen3ASRFeatureExtractor:
    return Qwen3ASRFeatureExtractor()


@pytest.fixture(scope="module")
def log_mel(extractor: Qwen3ASRFeatureExtractor) -> LogMel:
    return LogMel(
        n_fft=extractor.n_fft,
        hop_samples=extractor.hop_length,
        min_samples=extractor.min_length,
        filters=torch.from_numpy(extractor.mel_filters).to(torch.float32),
    )


def clip(num_samples: int, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(num_samples).standard_normal(num_samples)).astype(np.float32)


def alone(extractor: Qwen3ASRFeatureExtractor, waveform: np.ndarray) -> torch.Tensor:
    made = extractor([waveform], sampling_rate=16_000, padding=True, return_tensors="pt")
    return made["input_features"][0][:, : max(len(waveform), 8000) // 160]


def as_rows(log_mel: LogMel, clips: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips in one padded batch, with rubbish past their ends."""
    num_samples = torch.tensor([max(len(one), log_mel.min_samples) for one in clips])
    waveforms = torch.full((len(clips), int(num_samples.max())), 0.7)
    for row, one in enumerate(clips):
        waveforms[row, : num_samples[row]] = 0.0
        waveforms[row, : len(one)] = torch.from_numpy(one)
    return waveforms, num_samples


@pytest.mark.parametrize("num_samples", LENGTHS)
def test_one_clip_equals_the_extractor(log_mel: LogMel, extractor, num_samples: int):
    made = log_mel(clip(num_samples))
    assert made.shape == (128, max(num_samples, 8000) // 160) == (log_mel.num_mels, log_mel.num_frames(num_samples))
    assert (made - alone(extractor, clip(num_samples))).abs().max() <= 1e-5


def test_silence_equals_the_extractor(log_mel: LogMel, extractor):
    silence = np.zeros(20_000, np.float32)
    assert (log_mel(silence) - alone(extractor, silence)).abs().max() <= 1e-5


@pytest.mark.parametrize("is_autocast", [False, True])
def test_rows_of_a_batch_on_a_device_equal_the_extractor_on_each_clip(log_mel: LogMel, extractor, is_autocast: bool):
    clips = [
        clip(n, level=10.0 ** -(i % 4)) for i, n in enumerate(LENGTHS)
    ]  # each row's own loudest frame sets its floor
    waveforms, num_samples = as_rows(log_mel, clips)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
        batch = log_mel.of_batch(waveforms, num_samples, num_frames=800)
    assert batch.shape == (len(clips), 128, 800) and batch.dtype == torch.float32
    for made, one in zip(batch, clips, strict=True):
        expected = alone(extractor, one)
        assert (made[:, : expected.shape[1]] - expected).abs().max() <= 1e-5
        assert not made[:, expected.shape[1] :].any()


def test_a_large_batch_is_made_in_parts(log_mel: LogMel, monkeypatch: pytest.MonkeyPatch):
    waveforms, num_samples = as_rows(log_mel, [clip(n) for n in (9000, 16_000, 12_345)])
    whole = log_mel.of_batch(waveforms, num_samples, num_frames=100)
    monkeypatch.setattr("qasr_train.models.blocks.log_mel._DEVICE_FRAMES", 100)
    assert (log_mel.of_batch(waveforms, num_samples, num_frames=100) - whole).abs().max() <= 1e-5
