"""Columns that an Utterance has no field for: by id, as text, of any format, read once."""

import csv
import json
from pathlib import Path

import pytest

from qasr_train.errors import DataError
from qasr_train.sources.base import OpenSource
from qasr_train.sources.columns import read_columns
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import open_source
from tests.helpers_sources import write_rows

ROWS = [
    {"id": "a", "audio": "x.wav", "text": "one", "zone": "north", "age": 30, "native": True},
    {"id": "b", "audio": "y.wav", "text": "two", "zone": "", "age": None, "native": False},
    {"id": "c", "audio": "z.wav", "text": "three", "zone": "south"},
]


def test_rows_of_the_ids_are_kept_also_those_that_state_nothing(tmp_path: Path) -> None:
    source = SourceConfig(path=write_rows(tmp_path / "m.jsonl", *ROWS))
    found, missing = read_columns(source, ["zone", "age", "accent"], {"a", "b"}, "s", key="k")
    assert found == {"a": {"zone": "north", "age": "30"}, "b": {}}
    assert missing == ["accent"]


def test_a_truth_value_is_text_as_in_predictions(tmp_path: Path) -> None:
    source = SourceConfig(path=write_rows(tmp_path / "m.jsonl", *ROWS))
    assert read_columns(source, ["native"], {"a", "b", "c"}, "s", key="k") == (
        {"a": {"native": "true"}, "b": {"native": "false"}, "c": {}},
        [],
    )


def test_a_column_may_be_that_of_a_field(tmp_path: Path) -> None:
    rows = [{"audio": "x.wav", "text": "one", "gender": "f", "speaker": "p"}]
    path = tmp_path / "m.csv"
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found, _ = read_columns(SourceConfig(path=str(path)), ["speaker", "gender"], {"x"}, "s", key="k")
    assert found == {"x": {"speaker": "p", "gender": "f"}}


def test_ids_are_those_of_the_utterances_where_files_repeat_and_are_filtered(tmp_path: Path) -> None:
    rows = [{"audio": "x.wav", "text": str(i), "split": ("dev", "test")[i % 2], "take": i} for i in range(4)]
    source = SourceConfig(path=write_rows(tmp_path / "m.jsonl", *rows), split="test")
    found, _ = read_columns(source, ["take"], {"x-2", "x-4"}, "s", key="k")
    assert found == {"x-2": {"take": "1"}, "x-4": {"take": "3"}}


def test_a_source_is_read_once_and_not_past_the_last_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.jsonl"
    write_rows(path, *ROWS)
    path.write_text(path.read_text() + "no JSON\n")
    opened = []

    def counted(config: SourceConfig) -> OpenSource:
        opened.append(config.path)
        return open_source(config)

    monkeypatch.setattr("qasr_train.sources.columns.open_source", counted)
    found, _ = read_columns(SourceConfig(path=str(path)), ["zone", "age"], {"a", "c"}, "s", key="k")
    assert (list(found), opened) == (["a", "c"], [str(path)])


def test_a_list_is_no_value_of_a_column(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"audio": "x.wav", "text": "one", "zone": ["north"]}) + "\n")
    with pytest.raises(DataError, match=r"m.jsonl:1: column 'zone' is \['north'\]; expected text or a number"):
        read_columns(SourceConfig(path=str(path)), ["zone"], {"x"}, "s", key="k")
