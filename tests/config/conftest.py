"""What the tests of experiments train: a random model, and clips to train on and to watch."""

import json
from pathlib import Path

import pytest

from qasr_train.models.qwen3_asr.layouts import save_native
from tests.helpers import tone, write_wav
from tests.helpers_model import tiny_model, tiny_processor

TEXTS = ["two small pills", "the quick brown fox", "takes a day", "a fox"]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_native(tiny_model(), tiny_processor(), folder)
    return folder


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """target and general: eight clips to train on and two to watch, each of half a second."""
    folder = tmp_path_factory.mktemp("manifests")
    found = {}
    for number, name in enumerate(("target", "general")):
        rows = []
        for i in range(10):
            path = write_wav(folder / name / f"{i}.wav", tone(0.5, frequency_hz=200 + 30 * i + 300 * number))
            split = "train" if i < 8 else "dev"
            rows.append(
                {"id": f"{name}{i}", "audio": str(path), "text": TEXTS[i % 4], "language": "English", "split": split}
            )
        found[name] = folder / f"{name}.jsonl"
        found[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return found
