"""Which recordings paths mean, and what their results are called."""

from pathlib import Path

import pytest

from qasr_train.errors import DataError
from qasr_train.transcription.recordings.find import find_recordings


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_gives_its_recordings_and_a_file_itself_each_once(tmp_path: Path) -> None:
    touch(tmp_path, "d/b.mp4", "d/in/a.wav", "d/notes.txt", "d/._a.wav", "odd.name")
    found = find_recordings([str(tmp_path / "odd.name"), str(tmp_path / "d"), str(tmp_path / "d" / "b.mp4")])
    assert [one.name for one in found] == ["odd", "b", "in/a"]
    assert found[2].path == tmp_path / "d" / "in" / "a.wav"


def test_names_that_would_be_one_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.wav", "x/A.mp3", "y/a.wav", "y/b.wav")
    found = find_recordings([str(tmp_path / "x"), str(tmp_path / "y")])
    assert [one.name for one in found] == ["A.mp3", "a.wav", "a.wav-2", "b"]


def test_an_empty_folder_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no recording, in it or below"):
        find_recordings([str(tmp_path / "empty")])
    with pytest.raises(DataError, match=r"gone\.wav: no such file or folder"):
        find_recordings([str(tmp_path / "gone.wav")])
