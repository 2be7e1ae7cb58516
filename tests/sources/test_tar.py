"""What stands in a tar file."""

import io
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
    parse = tarfile.TarInfo.frombuf.__func__  # of every header that is read
    monkeypatch.setattr(
        tarfile.TarInfo,
        "frombuf",
        classmethod(lambda cls, *given: seen.append(found := parse(cls, *given)) or found),
    )
    resumed = stream_utterances(config, "main")
    resumed.load_state_dict(state)
    assert resumed.take(1)[0].id == "s0-5"
    assert [header.name for header in seen] == ["s0-5.wav", "s0-5.json"]


def members(path: Path, *named: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in named:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("order", [("wav", "txt"), ("txt", "wav")], ids=" ".join)
def test_names_with_dots_in_them_are_samples_of_their_own(tmp_path: Path, wav: bytes, order: tuple[str, str]):
    named = []
    for day in ("01", "02", "03"):
        content = {"wav": wav + day.encode(), "txt": f"day {day}".encode()}
        named += [(f"take.2024.05.{day}.{suffix}", content[suffix]) for suffix in order]
    path = members(tmp_path / "a.tar", *named, ("next.wav", wav), ("next.txt", b"no dots"))
    rows = rows_of(path)
    assert [row["id"] for row in rows] == ["take.2024.05.01", "take.2024.05.02", "take.2024.05.03", "next"]
    assert [row["text"] for row in rows] == ["day 01", "day 02", "day 03", "no dots"]
    assert [row["audio"]["bytes"][-2:] for row in rows[:3]] == [b"01", b"02", b"03"]
    # From behind the first sample on, as a resume does.
    shard = TarRows([str(path)])
    next(shard.rows(0, None))
    assert [row for _, row in TarRows([str(path)]).rows(0, shard.state_dict())] == rows[1:]


@pytest.mark.parametrize(
    "names",
    [("a.wav", "a.wav"), ("a.wav", "a.flac"), ("a.txt", "a.txt", "a.wav"), ("a.wav", "a.json", "a.json")],
    ids=" ".join,
)
def test_of_two_members_that_claim_one_place_none_is_chosen_silently(
    tmp_path: Path, wav: bytes, names: tuple[str, ...]
):
    path = members(tmp_path / "a.tar", *((name, b"{}") for name in names))
    with pytest.raises(DataError, match=r"a\.tar:a: this sample has more than one recording or a name twice"):
        rows_of(path)


def lying_header(size: int, **pax: str) -> bytes:
    info = tarfile.TarInfo("bomb.wav")
    info.size, info.pax_headers = size, pax
    return info.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


def pax_header_of(size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.size, info.type = size, tarfile.XHDTYPE
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (lying_header(512, **{"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "bomb.wav",
                              "GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,512"}), "bomb.wav is a sparse member"),
        (lying_header(2**60), "bomb.wav is said to have 1152921504606846976 bytes, more than the file holds"),
        (lying_header(4096), "bomb.wav is said to have 4096 bytes, more than the file holds"),
        (pax_header_of(2**40), "a header is said to have 1099511627776 bytes"),
    ],
    ids=["sparse", "2^60", "a little too much", "pax"],
)  # fmt: skip
def test_a_header_that_lies_about_its_size_is_refused_before_anything_is_read(tmp_path: Path, head: bytes, words: str):
    path = tmp_path / "a.tar"
    path.write_bytes(head + b"x" * 512 + b"\0" * 1024)
    with pytest.raises(DataError, match=words.replace("^", r"\^")):
        rows_of(path)


def test_a_text_of_a_hundred_megabytes_is_refused_unread(tmp_path: Path):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("a.json")
    info.size = 100_000_000
    with open(path, "wb") as file:
        file.write(info.tobuf())
        file.truncate(512 + 100_000_256 + 1024)  # of zeros, which take no place on the disk
    with pytest.raises(DataError, match=r"a\.tar:a\.json: has 100 MB; a recording may have 537, a text 17: cut it"):
        rows_of(path)
