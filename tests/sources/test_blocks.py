"""Reading a manifest in blocks gives what reading it row by row gives, or leaves it to that."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qasr_train.errors import DataError
from qasr_train.sources.blocks import jsonl_blocks, read_block
from qasr_train.sources.rows import RowReader
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import _load_blocks, _load_rows, load_table, load_utterances, open_source, row_reader
from tests.helpers import write_wav

PLAIN = [
    {"id": "a", "audio": "a.wav", "text": " one two ", "language": "en", "speaker": "s1", "duration_s": 1.5},
    {"id": "b", "audio": "b.wav", "text": "", "language": "German", "speaker": "", "duration_s": 2},
    {"id": "c", "audio": "sub/c.wav", "text": "2020-01-01", "language": None, "speaker": None, "duration_s": None},
]


def write(path: Path, rows: list[Any]) -> Path:
    write_wav(path.parent / "a.wav")
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def is_read_in_blocks(path: Path, config: SourceConfig) -> bool:
    reader = RowReader(
        {}, language=config.language, new_languages=[], audio_folder="", source_name="main", has_unique_ids=True
    )
    return all(read_block(block, line, reader) is not None for line, block in jsonl_blocks(path))


def in_blocks(config: SourceConfig):
    """(table, what became of the rows, the reader) by blocks; None: left to the rows."""
    return read_by(_load_blocks, config)


def by_rows(config: SourceConfig):
    return read_by(_load_rows, config)


def read_by(load: Callable[..., Any], config: SourceConfig):
    source = open_source(config)
    reader = row_reader(source, config, "main", has_unique_ids=True, key="")
    table = load(source, config, reader)
    return None if table is None else (table, table.intake, reader)


def with_id(i: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"u{i}", "audio": "a.wav", "text": "x"} | fields


READ_IN_BLOCKS: dict[str, list[Any]] = {
    "plain": PLAIN,
    "blank lines": [PLAIN[0], "", PLAIN[1], "", ""],
    "carriage returns": [json.dumps(PLAIN[0]) + "\r", PLAIN[1]],
    "texts that look like dates": [with_id(i, text=f"2020-01-0{i + 1}") for i in range(3)],
    "numbers as ids and speakers": [with_id(0, id=7, speaker=3), with_id(0, id=8, speaker=4)],
    "NeMo, spans": [
        {"audio_filepath": f"f{i}.wav", "duration": 1.25, "offset": 0.1 * i, "text": "x"} for i in range(3)
    ],
    "spans": [with_id(0, start=0.25, end=0.75), with_id(1, start=None, end=2.0), with_id(2, end=1.0, duration=9.0)],
    "channels": [with_id(0, channel=1), with_id(1, channel=0), with_id(2, channel=None)],
    "contexts": [with_id(0, context="warfarin"), with_id(1, context=""), with_id(2)],
    "lists of words": [with_id(0, context=["a", "b"]), with_id(1, context=[]), with_id(2, context=None)],
    "names of files as ids": [{"audio": f"x/y.z/u{i}.tar.wav", "text": "x"} for i in range(3)],
    "splits": [with_id(0, split="train"), with_id(1, split="dev"), with_id(2, split=""), with_id(3, split="train")],
    "not ASCII": [with_id(0, text="Grüße, 你好 \u2028", id="ü")],
    "other columns": [with_id(0, extra={"deep": [1]}), with_id(1, words=3)],
    "official text": [
        with_id(0, text="language English<asr_text> hello\nyou "),
        with_id(1, text="  language  de <asr_text>"),
        with_id(2, text="language None<asr_text>x"),
    ],
    "upper case": [{"ID": "a", "Audio": "a.wav", "TEXT": "x", "LANG": "de"}],
}

LEFT_TO_ROWS: dict[str, list[Any]] = {
    "an unknown transcript": [with_id(0), with_id(1, text=None)],
    "official text beside other": [with_id(0, text="language English<asr_text>hello"), with_id(1)],
    "official text and a column": [with_id(0, text="language English<asr_text>hello", language="en")],
    "an id missing": [with_id(0), {"audio": "b.wav", "text": "x"}],
    "channels as text": [with_id(0, channel="1"), with_id(1, channel="B"), with_id(2, channel=" a")],
    "channels in lists": [with_id(0, channel_selector=[1]), with_id(1, channel_selector=0)],
    "seconds as text": [with_id(0, duration="1.5")],
    "an id that is a fraction": [with_id(0, id=1.5)],
    "another column for a row": [with_id(0, sentence="y"), {"id": "u1", "audio": "a.wav", "sentence": "z"}],
    "a home folder": [with_id(0, audio="a.wav"), with_id(1, audio="~/b.wav")],
    "files without suffix": [{"audio": "a", "text": "x"}],
    "names that repeat": [{"audio": f"{folder}/a.wav", "text": "x"} for folder in "xyz"],
}

REFUSED: dict[str, list[Any]] = {
    "no JSON": [PLAIN[0], "{broken"],
    "two objects in a line": [json.dumps(PLAIN[0]) + json.dumps(PLAIN[1])],
    "an object over two lines": ['{"id": "a", "audio": "a.wav",', '"text": "x"}', ""],
    "no object": [PLAIN[0], "[1]"],
    "an id twice": [with_id(0), with_id(1), with_id(0)],
    "no audio": [with_id(0), with_id(1, audio="")],
    "negative seconds": [with_id(0, duration=-1)],
    "NaN": ['{"id": "a", "audio": "a.wav", "text": "x", "duration": NaN}'],
    "an end before the start": [with_id(0, start=2, end=1)],
    "an unknown language": [with_id(0, language="Klingon")],
    "a text that is none": [with_id(0, text=5)],
    "half a pair": ['{"id": "a", "audio": "a.wav", "text": "\\ud800"}'],
    "no text column": [{"id": "a", "audio": "a.wav"}],
    "several channels": [with_id(0, channel=[0, 1])],
    "a channel below 0": [with_id(0, channel=-1)],
    "another kind of channel": [with_id(0, channel="telephone")],
    "a true speaker": [with_id(0, speaker=True)],
}


@pytest.mark.parametrize("name", READ_IN_BLOCKS)
@pytest.mark.parametrize("settings", [{}, {"language": "French", "split": None}], ids=["", "language"])
def test_blocks_give_what_rows_give(tmp_path: Path, name: str, settings: dict[str, Any]):
    path = write(tmp_path / "m.jsonl", READ_IN_BLOCKS[name])
    config = SourceConfig(path=str(path), **settings)
    assert is_read_in_blocks(path, config)
    blocks, rows = in_blocks(config), by_rows(config)
    assert blocks is not None
    assert list(blocks[0]) == list(rows[0])
    assert [blocks[0][i] for i in range(len(blocks[0]))] == list(rows[0])
    assert blocks[1] == rows[1]
    assert blocks[2].seen_columns == rows[2].seen_columns


@pytest.mark.parametrize("name", LEFT_TO_ROWS)
def test_what_blocks_leave_to_rows_comes_out_the_same(tmp_path: Path, name: str, monkeypatch):
    path = write(tmp_path / "m.jsonl", LEFT_TO_ROWS[name])
    monkeypatch.setattr("qasr_train.sources.source._refuse_lost_audio", lambda *_: None)
    config = SourceConfig(path=str(path))
    assert not is_read_in_blocks(path, config) or name == "names that repeat"
    assert load_utterances(config, "main") == list(by_rows(config)[0])


@pytest.mark.parametrize("name", REFUSED)
def test_a_row_that_is_wrong_is_told_by_its_line(tmp_path: Path, name: str):
    path = write(tmp_path / "m.jsonl", REFUSED[name])
    with pytest.raises(DataError, match=r"m\.jsonl:\d+: "):
        load_table(SourceConfig(path=str(path)), "main")


def test_the_last_of_many_lines_is_checked_and_named(tmp_path: Path):
    path = write(tmp_path / "m.jsonl", [with_id(i) for i in range(3000)] + [with_id(3000, duration="soon")])
    with pytest.raises(DataError, match=r"m\.jsonl:3001: duration='soon'"):
        load_table(SourceConfig(path=str(path)), "main")


def test_an_id_that_repeats_outside_the_split_is_refused_all_the_same(tmp_path: Path):
    path = write(tmp_path / "m.jsonl", [with_id(0, split="dev"), with_id(1, split="train"), with_id(0, split="dev")])
    with pytest.raises(DataError, match=r"m\.jsonl:3: the id 'u0' stands twice"):
        load_table(SourceConfig(path=str(path), split="train"), "main")


@pytest.mark.parametrize("num_bytes", [1, 100, 5000])
def test_blocks_hold_whole_lines_and_count_them(tmp_path: Path, num_bytes: int):
    path = write(tmp_path / "m.jsonl", [*PLAIN, "", *[with_id(i) for i in range(30)]])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    blocks = list(jsonl_blocks(path, num_bytes))
    assert b"".join(block for _, block in blocks) == path.read_bytes()[3:]
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    for first_line, block in blocks:
        assert block.decode().split("\n")[0] == lines[first_line - 1]


def test_an_odd_block_among_plain_ones_keeps_order_split_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [with_id(i, split="train" if i % 3 else "dev", speaker=f"s{i}") for i in range(60)]
    rows[30]["text"] = "language German<asr_text>hallo"
    path = write(tmp_path / "m.jsonl", rows)
    monkeypatch.setattr("qasr_train.sources.files.jsonl_blocks", lambda path: jsonl_blocks(path, 900))
    config = SourceConfig(path=str(path), split="train")
    blocks = in_blocks(SourceConfig(path=str(path), split="dev"))
    assert blocks is not None
    assert [u.id for u in blocks[0]] == [f"u{i}" for i in range(0, 60, 3)]
    assert list(blocks[0])[10].language == "German"
    assert load_utterances(config, "main") == list(by_rows(config)[0])
