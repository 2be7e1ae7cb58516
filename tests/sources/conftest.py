"""A folder of recordings and a cache of `datasets` of its own for every test of sources."""

from pathlib import Path

import datasets
import pytest

from tests.helpers import tone, write_wav

datasets.disable_progress_bars()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf_cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with wav/a.wav, wav/b.wav and wav/c.wav."""
    for number, name in enumerate("abc", start=1):
        write_wav(tmp_path / "wav" / f"{name}.wav", tone(0.1 * number, frequency_hz=200 * number))
    return tmp_path


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_wav(tmp_path_factory.mktemp("wav") / "a.wav", tone(0.25)).read_bytes()
