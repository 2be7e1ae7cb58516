"""Caches are keyed by whole numbers beside the code; these values stand for the code that the numbers stand for.

A test here fails where other values come out than before: raise the number it names, then write down the new values.
"""

import io

import numpy as np
import pytest
import soundfile
import torch

from qasr_train.audio.decode import DECODING_VERSION, SAMPLE_RATE_HZ, load_audio
from qasr_train.batch import Recording
from qasr_train.data.feature_cache import mel_kind
from qasr_train.models.blocks import log_mel as log_mel_module
from qasr_train.models.blocks.log_mel import FEATURES_VERSION
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.models.qwen3_asr.encoder import ENCODER_VERSION
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from tests.helpers import utterance
from tests.helpers_model import tiny_model, tiny_processor

# Written down from the code of version 1, as `figures` gives them.
DECODED = [0.00685, 0.11194, 0.01296, 0.02067, 0.13145, -0.10175, -0.13606]
FEATURES = [-0.19699, 0.54177, -0.04373, 1.06310, 0.49478, 0.14653, -0.16340]
ENCODED = [-0.06511, 0.97052, 0.09060, -0.19137, -0.24506, 0.39262, -0.67668]
RAISE = "other values than those of {}: raise the number, and write down the new values here"


def clip(rate_hz: int = SAMPLE_RATE_HZ, duration_s: float = 1.3) -> np.ndarray:
    """float32 [S]: two tones that rise, over a pulse train; closed form, the same everywhere."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    tones = 0.3 * np.sin(2 * np.pi * (220 + 300 * time_s) * time_s) + 0.1 * np.sin(2 * np.pi * 1870 * time_s**1.5)
    return (tones + 0.2 * (np.sin(2 * np.pi * 7 * time_s) > 0.99)).astype(np.float32)


def figures(values: np.ndarray) -> list[float]:
    """Mean, spread, a weighted sum in which every value counts, and five of the values themselves."""
    flat = values.astype(np.float64).ravel()
    weighted = float(np.sum(flat * np.cos(np.arange(len(flat)))) / len(flat) ** 0.5)
    return [float(flat.mean()), float(flat.std()), weighted, *flat[:: len(flat) // 4][:5].tolist()]


def test_decoded_samples_are_those_of_decoding_version_1():
    """Stereo at 44.1 kHz, 24 bits: channels become one, and the rate 16 kHz."""
    samples = clip(44_100)
    file = io.BytesIO()
    soundfile.write(file, np.stack([samples, 0.5 * np.roll(samples, 40)], axis=1), 44_100, "PCM_24", format="WAV")
    decoded = load_audio(file.getvalue())
    assert len(decoded) == round(1.3 * SAMPLE_RATE_HZ)
    assert (DECODING_VERSION, figures(decoded)) == (1, pytest.approx(DECODED, abs=1e-4)), RAISE.format(
        "DECODING_VERSION"
    )


def test_features_are_those_of_features_version_1():
    mel = Qwen3ASRCollator(tiny_processor()).log_mel(clip())
    assert mel.shape == (128, 130)
    found = figures(mel.numpy())
    assert (FEATURES_VERSION, found) == (1, pytest.approx(FEATURES, abs=1e-4)), RAISE.format("FEATURES_VERSION")


def test_encodings_are_those_of_encoder_version_1():
    model = Qwen3ASR(tiny_model(), tiny_processor())
    with torch.no_grad():
        for number, (_, parameter) in enumerate(sorted(model.audio_modules.named_parameters())):
            if parameter.ndim > 1:  # of the norms and biases each value is its own, 1 or 0
                values = torch.sin(1.7 * torch.arange(parameter.numel(), dtype=torch.float64) ** 1.5 + number)
                parameter.copy_(2.0 * values.view_as(parameter) / parameter[0].numel() ** 0.5)
    recordings = [Recording(utterance(id=str(s), text="one"), clip(duration_s=s)) for s in (1.3, 9.1)]  # two windows
    with torch.no_grad():
        encoded = model.eval().encode(model.collator.for_training(recordings))
    assert encoded.shape[0] == 17 + 119
    found = figures(encoded.numpy())
    assert (ENCODER_VERSION, found) == (1, pytest.approx(ENCODED, abs=1e-4)), RAISE.format("ENCODER_VERSION")


def test_another_version_of_decoding_or_features_starts_the_cache_anew(monkeypatch: pytest.MonkeyPatch):
    log_mel = Qwen3ASRCollator(tiny_processor()).log_mel
    kinds = {mel_kind(log_mel), mel_kind(Qwen3ASRCollator(tiny_processor()).log_mel)}
    assert len(kinds) == 1
    monkeypatch.setattr(log_mel_module, "FEATURES_VERSION", 2)
    kinds.add(mel_kind(log_mel))
    monkeypatch.setattr("qasr_train.data.feature_cache.DECODING_VERSION", 2)
    kinds.add(mel_kind(log_mel))
    assert len(kinds) == 3
