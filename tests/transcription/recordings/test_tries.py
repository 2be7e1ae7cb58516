"""Earlier tries of a transcription: which are there, and whether they were of the same model."""

import json
from pathlib import Path

import pytest

from qasr_train.errors import ConfigError
from qasr_train.transcription.recordings.tries import Tries
from tests.helpers import utterance


def begun(folder: Path, **record: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record) if record else "")
    return folder


def test_the_first_try_has_a_directory_and_one_that_never_began_is_used_again(tmp_path: Path) -> None:
    tries = Tries(tmp_path, "s")
    assert tries.rest([utterance()]) == ([utterance()], tmp_path / "run")
    begun(tmp_path / "run")  # killed between the claim and the record
    assert tries.dirs() == []
    assert list((tmp_path / "run").iterdir()) == []


def test_other_weights_than_the_first_tries_are_refused(tmp_path: Path) -> None:
    begun(tmp_path / "run", inputs={"model": {"weights": "a"}})
    same = begun(tmp_path / "run-2", inputs={"model": {"weights": "a"}})
    other = begun(tmp_path / "run-3", inputs={"model": {"weights": "b"}})
    tries = Tries(tmp_path, "s")
    tries.check_same_model(same)
    with pytest.raises(
        ConfigError, match="the weights of model.path, or the precision, are not those it was begun with"
    ):
        tries.check_same_model(other)
