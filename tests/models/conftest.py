"""Owns checkpoints of Whisper that several test files read and none changes: two tiny ones, and the genuine whisper-base."""

import os
from pathlib import Path

import pytest

from tests.helpers import ROOT, SHARED
from tests.models.tiny_families import save_tiny_whisper


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights; English, German, Filipino, Galician; 64 positions."""
    folder = tmp_path_factory.mktemp("tiny_whisper")
    save_tiny_whisper(folder)
    return folder


@pytest.fixture(scope="session")
def english_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, English only."""
    folder = tmp_path_factory.mktemp("english_whisper")
    save_tiny_whisper(folder, is_multilingual=False)
    return folder


@pytest.fixture(scope="session")
def whisper_base() -> Path:
    """openai/whisper-base as `scripts/real/whisper_weights.py` makes it: at WHISPER_BASE, in runs/, or beside ../shared."""
    places = [os.environ.get("WHISPER_BASE"), ROOT / "runs/whisper-base", ROOT / "runs/real/whisper-base"]
    places += [SHARED.parent / "whisper-base"] if SHARED else []
    found = next((Path(place) for place in places if place and (Path(place) / "model.safetensors").is_file()), None)
    if found is None:
        pytest.skip("needs whisper-base: scripts/real/whisper_weights.py --size base --out runs/whisper-base makes it")
    return found
