"""What stands in a tar file."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qasr_train.errors import DataError
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_table, stream_utterances
from qasr_train.sources.tar import TarRows
from tests.helpers_sources import shards, write_tar


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in TarRows([str(path)]).rows(0, None)]


def test_members_of_a_sample_are_put_together(tmp_path: Path, wav: bytes):
    samples = [
        {"flac": wav, "txt": b"one  "},
        {"json": b'{"text": "two", "language": "de", "audio": "/gone/b.wav"}', "wav": wav},
        {"json": b'{"text": "in json", "id": "own"}', "txt": b"in txt", "mp3": wav, "png": b"?"},
    ]
    path = write_tar(tmp_path / "a.tar", samples, ["dir.v1/a", "b", "c.old"])
    rows = rows_of(path)
    assert [row["id"] for row in rows] == ["dir.v1/a", "b", "own"]
    assert [row["text"] for row in rows] == ["one  ", "two", "in txt"]
    assert [row["audio"]["bytes"] for row in rows] == [wav] * 3
    assert rows[1]["language"] == "de"
    one = stream_utterances(SourceConfig(path=str(path), streaming=True), "main").take(2)[1]
    assert (one.id, one.language, one.audio) == ("b", "German", wav)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1024], "ends without the mark of a whole tar file"),
        (lambda data: data[:-9000], "cannot be read as a tar file|ends without the mark"),
        (lambda data: b"<html>" + data, "cannot be read as a tar file"),
        (lambda data: b"", "cannot be read as a tar file"),
    ],
    ids=["at a member", "inside a member", "no tar", "empty"],
)
def test_a_shard_that_is_cut_off_is_named_not_taken_for_shorter(
    tmp_path: Path, wav: bytes, damage: Callable[[bytes], bytes], words: str
):
    path = write_tar(tmp_path / "a.tar", [{"wav": wav, "txt": b"x"}] * 3, ["a", "b", "c"])
    data = path.read_bytes().rstrip(b"\0")
    data += b"\0" * (-len(data) % 512) + b"\0" * 1024  # as short as a whole one can be
    path.write_bytes(data)
    assert len(rows_of(path)) == 3
    path.write_bytes(damage(data))
    with pytest.raises(DataError, match=words) as caught:
        rows_of(path)
    assert "a.tar" in str(caught.value)


def test_a_sample_that_is_no_utterance_is_named(tmp_path: Path, wav: bytes):
    path = write_tar(tmp_path / "a.tar", [{"wav": wav, "txt": b"x"}, {"wav": wav, "json": b"{"}], ["a", "b"])
    stream = stream_utterances(SourceConfig(path=str(path), streaming=True), "main")
    with pytest.raises(DataError, match=r"a\.tar:b\.json: cannot be read"):
        stream.take(2)
    write_tar(path, [{"wav": wav}], ["a"])
    stream = stream_utterances(SourceConfig(path=str(path), streaming=True), "main")
    with pytest.raises(DataError, match=r"a\.tar:a: lacks a column for `text`"):
        stream.take(1)


def test_tar_shards_as_a_list_ask_for_streaming(tmp_path: Path, wav: bytes):
    config = shards(tmp_path / "tar", "tar", wav)
    config.streaming = False
    with pytest.raises(DataError, match="tar shards are read as they come; set streaming=true"):
        load_table(config, "main")


def test_a_resumed_tar_shard_is_not_read_from_its_beginning(tmp_path: Path, wav: bytes, monkeypatch):
    config = shards(tmp_path / "tar", "tar", wav)
    stream = stream_utterances(config, "main")
    stream.take(5)
    state = stream.state_dict()
    assert state["shard"]["num_bytes"] > 4 * len(wav)
    seen = []
    extract = tarfile.TarFile.extractfile
    monkeypatch.setattr(tarfile.TarFile, "extractfile", lambda self, m: seen.append(m.name) or extract(self, m))
    resumed = stream_utterances(config, "main")
    resumed.load_state_dict(state)
    assert resumed.take(1)[0].id == "s0-5"
    assert seen == ["s0-5.wav", "s0-5.json"]
