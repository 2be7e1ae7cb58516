"""What a path leads to: the family of config.json."""

import json
from pathlib import Path

from qasr_train.models.found import model_as_found
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.whisper.config import WhisperConfig


def checkpoint(folder: Path, model_type: str) -> str:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return str(folder)


def test_the_family_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "w", "whisper")
    assert model_as_found(Qwen3ASRConfig(path=path)) == WhisperConfig(path=path)
    asked = WhisperConfig(path=path, max_duration_s=20.0)
    assert model_as_found(asked) is asked


def test_what_is_not_known_here_stays(tmp_path: Path) -> None:
    for path in ("Qwen/Qwen3-ASR-0.6B", checkpoint(tmp_path / "x", "other")):
        model = Qwen3ASRConfig(path=path)
        assert model_as_found(model) is model
