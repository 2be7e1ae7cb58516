"""Collections of noises and rooms: found by folder, glob and manifest, refused in one sentence before training."""

import json
from pathlib import Path

import numpy as np
import pytest

from qasr_train.augment.sounds import open_sounds, read_stretch
from qasr_train.errors import DataError
from tests.helpers import tone, write_wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.wav of 1 s, deep/b.wav of 2 s and two channels at 8 kHz, and a text file."""
    write_wav(tmp_path / "a.wav", tone(1.0))
    write_wav(tmp_path / "deep" / "b.wav", np.stack([tone(4.0)[::2], tone(4.0)[::2]], axis=1), sample_rate_hz=16_000)
    (tmp_path / "LICENSE.txt").write_text("not a sound")
    return tmp_path


def test_folder_glob_manifest_and_file_find_the_same_recordings(folder: Path) -> None:
    (folder / "noise.jsonl").write_text(
        json.dumps({"audio": "deep/b.wav"}) + "\n" + json.dumps({"audio": "a.wav"}) + "\n"
    )
    (folder / "noise.csv").write_text("file_name,license\na.wav,CC0\ndeep/b.wav,CC0\n")
    (folder / "noise.json").write_text(json.dumps([{"audio": "a.wav"}, {"audio": str(folder / "deep/b.wav")}]))
    found = [
        [(s.name, s.duration_s, s.num_channels) for s in open_sounds(str(path), "k")]
        for path in (folder, folder / "**/*.wav", folder / "noise.jsonl", folder / "noise.csv", folder / "noise.json")
    ]
    assert found == [[("a.wav", 1.0, 1), ("b.wav", 2.0, 2)]] * 5
    assert [s.name for s in open_sounds(str(folder / "a.wav"), "k")] == ["a.wav"]


def test_what_cannot_be_drawn_from_is_refused_with_its_key(folder: Path) -> None:
    key = "augment.noise.path"
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=rf"{key}=.*/nowhere: no such file or folder; check the path"):
        open_sounds(str(folder / "nowhere"), key)
    for path in ("empty", "*.mp3"):
        with pytest.raises(DataError, match=rf"{key}=.*{path[-4:]}: holds no recording"):
            open_sounds(str(folder / path), key)
    (folder / "broken.flac").write_bytes(b"fLaC" + b"\0" * 100)
    with pytest.raises(DataError, match=rf"{key}=.*broken\.flac"):
        open_sounds(str(folder), key)
    (folder / "rows.jsonl").write_text('{"audio": "a.wav"}\n{"text": "no sound"}\n')
    with pytest.raises(DataError, match=rf"{key}: .*rows\.jsonl:2 names no recording"):
        open_sounds(str(folder / "rows.jsonl"), key)
    (folder / "gone.jsonl").write_text('{"audio": "gone.wav"}\n')
    with pytest.raises(DataError, match=rf"{key}=.*gone\.wav.*no such file"):
        open_sounds(str(folder / "gone.jsonl"), key)


def test_a_stretch_is_cut_from_a_long_recording_and_a_short_one_comes_whole(folder: Path) -> None:
    sound = open_sounds(str(folder / "a.wav"), "k")[0]
    stretch = read_stretch(sound, 4_000, np.random.default_rng(0))
    assert stretch.shape == (4_000,)
    whole = np.lib.stride_tricks.sliding_window_view(tone(1.0), 4_000)
    assert np.abs(whole - stretch).max(axis=1).min() < 1e-4  # 16 bits: it is a part of the recording as it stands
    assert read_stretch(sound, 40_000, np.random.default_rng(0)).shape == (16_000,)
