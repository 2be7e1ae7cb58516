"""Owns rows and clips that a tiny Whisper learns, and how one is opened to be trained."""

from pathlib import Path
from typing import Any

from qasr_train.batch import Recording
from qasr_train.models.families import load_trainable
from qasr_train.models.whisper.config import WhisperConfig
from qasr_train.models.whisper.model import Whisper
from tests.helpers import tone, utterance

ROWS: list[dict[str, Any]] = [
    {"text": "two small pills a day", "language": "German"},
    {"text": "fox", "language": "English", "context": "the quick brown"},
    {"text": "", "language": "English"},
    {"text": "brown fox", "language": "Galician"},
]
DURATIONS_S = [0.6, 2.3, 1.1, 0.2]


def recordings(rows: list[dict[str, Any]] = ROWS) -> list[Recording]:
    """A tone of its own for each row."""
    return [
        Recording(utterance(id=f"u{i}", **row), tone(seconds, frequency_hz=170.0 * (i + 1)))
        for i, (row, seconds) in enumerate(zip(rows, DURATIONS_S, strict=False))
    ]


def load(folder: Path, **settings: Any) -> Whisper:
    """A checkpoint to be trained, on the CPU."""
    model = load_trainable(WhisperConfig(path=str(folder), **settings), device="cpu")
    assert isinstance(model, Whisper)
    return model
