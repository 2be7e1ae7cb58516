"""Owns what every client script does: reads the clips, writes the texts in their order. Scripts import it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile


def read_clips(file: str) -> Iterator[tuple[np.ndarray, str]]:
    """(float32 [S] at 16 kHz, name of the language) of each clip."""
    for clip in json.loads(Path(file).read_text(encoding="utf-8")):
        yield soundfile.read(clip["audio"], dtype="float32")[0], clip["language"]


def write_texts(file: str, texts: Sequence[str]) -> None:
    """As a list."""
    Path(file).write_text(json.dumps([text.strip() for text in texts]), encoding="utf-8")
