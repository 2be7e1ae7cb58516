"""Parquet files: paths, audio bytes that stay on disk, damage."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qasr_train.audio.decode import load_audio
from qasr_train.errors import AudioError, DataError
from tests.helpers_sources import audio_table, fields, load


def test_parquet_with_audio_bytes_stays_on_disk_and_decodes(folder: Path) -> None:
    pq.write_table(audio_table(folder), folder / "m.parquet")
    utterances = load(folder / "m.parquet", language="en")
    assert fields(utterances, "id", "text", "speaker") == [
        ("a", "text 0", "0"),
        ("b", "text 1", "1"),
        ("c", "text 2", "0"),
    ]
    assert all(isinstance(u.audio, str) and len(u.audio) < 400 for u in utterances)
    assert [len(load_audio(u.audio)) for u in utterances] == [1600, 3200, 4800]


def test_a_moved_arrow_file_is_named(folder: Path) -> None:
    with pytest.raises(AudioError, match=r"/gone.arrow: no such file; the dataset was moved"):
        load_audio("arrow:0:audio:/gone.arrow")


def test_parquet_with_paths(folder: Path) -> None:
    pq.write_table(pa.table({"path": ["wav/a.wav", "wav/b.wav"], "text": ["one", "two"]}), folder / "m.parquet")
    assert fields(load(folder / "m.parquet"), "audio", "text") == [
        (str(folder / "wav/a.wav"), "one"),
        (str(folder / "wav/b.wav"), "two"),
    ]


def test_a_broken_parquet_file_is_named(folder: Path) -> None:
    (folder / "m.parquet").write_text("not parquet")
    with pytest.raises(DataError, match=r"m.parquet: cannot be read as Parquet"):
        load(folder / "m.parquet")


def test_text_that_is_no_utf8_is_one_sentence(folder: Path) -> None:
    broken = pa.array([b"a.wa\x9d"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"audio": broken, "text": pa.array(["one"])}), folder / "bad.parquet")
    with pytest.raises(DataError, match=r"bad.parquet: cannot be read as Parquet \(.*invalid start byte"):
        load(folder / "bad.parquet", language="en")
