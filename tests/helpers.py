"""Owns what several tests share: synthetic sound, a made-up utterance, files, and where `../shared` lies.

`SHARED` is the folder of real recordings and facts beside the checkout, or None; its tests carry `@needs_shared`.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from qasr_train.manifest import Utterance

ROOT = Path(__file__).resolve().parents[1]
SHARED = next((path for path in (ROOT.parent / "shared", ROOT / "shared") if (path / "odd_audio").is_dir()), None)
SAMPLE_RATE_HZ = 16_000


def needs_shared(test: Callable) -> Callable:
    """Mark a test as reading `SHARED`: it carries the marker `shared` and skips where the folder is missing."""
    skip = pytest.mark.skipif(SHARED is None, reason="needs the folder ../shared, which lies outside the repository")
    return pytest.mark.shared(skip(test))


def tone(
    duration_s: float = 1.0, *, frequency_hz: float = 220.0, peak: float = 0.5, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> np.ndarray:
    """A pure sine, float32 [S]: something to decode whose length, pitch and peak are known."""
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    return (peak * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def write_wav(
    path: Path, waveform: np.ndarray | None = None, *, sample_rate_hz: int = SAMPLE_RATE_HZ, subtype: str | None = None
) -> Path:
    """Write float32 [S] or [S, channels] (default: one second of `tone`) in the suffix's format; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = tone(sample_rate_hz=sample_rate_hz) if waveform is None else waveform
    soundfile.write(path, waveform, sample_rate_hz, subtype=subtype)
    return path


def wav_bytes(waveform: np.ndarray) -> bytes:
    """A WAV of 16 kHz as it is sent over a connection; float32 [S]."""
    out = BytesIO()
    soundfile.write(out, waveform, SAMPLE_RATE_HZ, format="WAV")
    return out.getvalue()


def utterance(**fields: Any) -> Utterance:
    """An Utterance with sensible fields, each of which the test may replace: `utterance(text="", language=None)`."""
    defaults = {
        "id": "u1",
        "audio": "u1.wav",
        "text": "a small test",
        "language": "English",
        "speaker": "s1",
        "duration_s": 1.0,
        "origin": "test.jsonl:1",
    }
    return Utterance(**{**defaults, **fields})
