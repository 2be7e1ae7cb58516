"""Owns what every client script does: reads the clips, writes the texts in their order. Scripts import it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

MAX_NEW_TOKENS = 80  # of the bundled Qwen3-ASR, as our own evaluation of it in exports.py
# Qwen3-ASR's prompt with an empty system turn, as it was trained, and what a given language adds to it.
PROMPT = (
    "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n"
    "<|im_start|>assistant\nlanguage {language}<asr_text>"
)


def read_clips(file: str) -> Iterator[tuple[np.ndarray, str]]:
    """(float32 [S] at 16 kHz, name of the language) of each clip."""
    for clip in json.loads(Path(file).read_text(encoding="utf-8")):
        yield soundfile.read(clip["audio"], dtype="float32")[0], clip["language"]


def read_files(file: str) -> Iterator[tuple[str, str]]:
    """(path of the sound, name of the language) of each clip."""
    for clip in json.loads(Path(file).read_text(encoding="utf-8")):
        yield clip["audio"], clip["language"]


def write_texts(file: str, texts: Sequence[str]) -> None:
    """As a list."""
    Path(file).write_text(json.dumps([text.strip() for text in texts]), encoding="utf-8")
