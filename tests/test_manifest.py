"""The manifest contract: what an Utterance refuses, and that writing and reading give the same back."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from qasr_train.errors import DataError
from qasr_train.manifest import Utterance, read_jsonl, utterance_to_row, write_manifest
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances
from tests.helpers import utterance, write_wav


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav")
    written = [
        Utterance(id="u1", audio=str(tmp_path / "a.wav"), text="", language=None),
        Utterance(
            id="u2",
            audio=str(tmp_path / "a.wav"),
            text='naïve "quotes"\tand\nlines 文件',
            language="Chinese",
            speaker="s",
            duration_s=0.25,
            start_s=0.5,
            end_s=0.75,
            context="hot, words",
            split="dev",
        ),
    ]
    assert write_manifest(tmp_path / "out" / "m.jsonl", written) == 2
    read = load_utterances(SourceConfig(path=str(tmp_path / "out" / "m.jsonl")), "main")
    assert [utterance_to_row(u) for u in read] == [utterance_to_row(u) for u in written]
    assert not list((tmp_path / "out").glob("*.part"))


def test_a_row_holds_the_version_and_only_what_is_set() -> None:
    row = utterance_to_row(Utterance(id="u1", audio="a.wav", text="", origin="m.jsonl:1"))
    assert row == {"version": 1, "id": "u1", "audio": "a.wav", "text": ""}


def test_bytes_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'u1': audio bytes cannot stand in a JSONL manifest"):
        write_manifest(tmp_path / "m.jsonl", [utterance(audio=b"RIFF")])
    assert not (tmp_path / "m.jsonl").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": ""}, "test.jsonl:1: an utterance has an empty id"),
        ({"audio": ""}, "test.jsonl:1: utterance 'u1' names no audio"),
        ({"duration_s": -1.0}, "duration_s=-1.0; expected seconds, 0 or more"),
        ({"start_s": float("nan")}, "start_s=nan; expected seconds"),
        ({"end_s": float("inf")}, "end_s=inf; expected seconds"),
        ({"start_s": 2.0, "end_s": 2.0}, "ends at 2.0 s, not after its start at 2.0 s"),
    ],
)
def test_an_impossible_utterance_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        utterance(**fields)


def test_audio_is_named_by_path_or_id() -> None:
    assert utterance().audio_name == "u1.wav"
    assert utterance(audio=b"RIFF").audio_name == "<bytes of u1>"


def test_read_jsonl_skips_blank_lines_and_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('\ufeff{"a": 1}\n\n  \n{"a": 2}\n', encoding="utf-8")
    assert list(read_jsonl(path)) == [(f"{path}:1", {"a": 1}), (f"{path}:4", {"a": 2})]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1}\n{"a": \n', ":2: this line is not JSON"),
        (b'{"a": 1}\n"text"\n', ":2: expected a JSON object, got str"),
        (b"\xff\xfe{\x00", "is not UTF-8 text"),
    ],
)
def test_read_jsonl_names_file_and_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(read_jsonl(tmp_path / "m.jsonl"))


def test_read_jsonl_names_a_path_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; check the path of the manifest"):
        list(read_jsonl(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match="is a directory, expected a JSONL file"):
        list(read_jsonl(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_read_jsonl_names_a_file_it_may_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({}))
    path.chmod(0)
    with pytest.raises(DataError, match="permission denied"):
        list(read_jsonl(path))
