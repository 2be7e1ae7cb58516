"""Rows of JSON lines, JSON arrays, CSV, TSV and folders of recordings."""

import json
from pathlib import Path

import pytest

from qasr_train.errors import DataError
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import stream_utterances
from tests.helpers import write_wav
from tests.helpers_sources import fields, load


def test_a_json_array_gives_its_objects(folder: Path) -> None:
    rows = [{"audio": f"wav/{name}.wav", "text": f"text {name}"} for name in "ab"]
    (folder / "m.json").write_text("\ufeff\n " + json.dumps(rows, indent=2), encoding="utf-8")
    assert fields(load(folder / "m.json"), "id", "text", "origin") == [
        ("a", "text a", f"{folder / 'm.json'}:item 1"),
        ("b", "text b", f"{folder / 'm.json'}:item 2"),
    ]
    stream = stream_utterances(SourceConfig(path=str(folder / "m.json"), streaming=True), "main")
    assert [(u.id, u.text) for u in stream.take(3)] == [("a-1", "text a"), ("b-2", "text b"), ("a-1", "text a")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"audio": "wav/a.wav", "text": "x"}, 5]', r"m.json:item 2: expected a JSON object, got int"),
        ('[{"audio": "wav/a.wav", "text": "x"}, {"audio": "wav/b.wav"}]', r"m.json:item 2: lacks a column for `text`"),
        (
            '[{"audio": "wav/a.wav",\n"text": "x"},',
            r"m.json:2: begins as a JSON array but is none .*; expected a list of",
        ),
        ('[{"audio": 1}]\n[{"audio": 2}]', r"m.json:2: begins as a JSON array but is none \(Extra data\)"),
        ("[" * 100_000, r"m.json: is a JSON array nested too deep"),
        ("[]", r"m.json: holds no rows"),
    ],
)
def test_a_json_array_of_something_else_is_named(folder: Path, content: str, words: str) -> None:
    (folder / "m.json").write_text(content)
    with pytest.raises(DataError, match=words):
        load(folder / "m.json")


def test_a_json_array_too_large_to_be_read_whole_is_refused(folder: Path) -> None:
    with open(folder / "m.json", "wb") as file:  # a hole: takes no space on disk
        file.write(b"[")
        file.truncate(300_000_000)
    with pytest.raises(DataError, match=r"m.json: is one JSON array of 300 MB, too large .* \(`jq -c '\.\[\]' FILE"):
        load(folder / "m.json")


def test_csv_with_quotes_newlines_and_a_byte_order_mark(folder: Path) -> None:
    (folder / "m.csv").write_text(
        '\ufeffPath;Sentence;Locale;Duration\nwav/a.wav;"he said ""no""; twice";de-DE;0.1\nwav/b.wav;"two\nlines";de;\n',
        encoding="utf-8",
    )
    assert fields(load(folder / "m.csv"), "text", "language", "duration_s") == [
        ('he said "no"; twice', "German", 0.1),
        ("two\nlines", "German", None),
    ]


def test_a_lone_quotation_mark_in_a_tsv_swallows_nothing(folder: Path) -> None:
    lines = ["path\tsentence", 'wav/a.wav\t"no, he said', "wav/b.wav\tnext", 'wav/c.wav\t"say ""no"" now"']
    (folder / "cv.tsv").write_text("\n".join(lines), encoding="utf-8")
    assert fields(load(folder / "cv.tsv"), "text") == [('"no, he said',), ("next",), ('say "no" now',)]


def test_a_csv_row_of_the_wrong_width_is_named(folder: Path) -> None:
    (folder / "m.csv").write_text("path,text\nwav/a.wav,hello\nwav/b.wav,hello, world\n")
    with pytest.raises(DataError, match=r"m.csv:3: has 3 columns, the header 2 \(path, text\)"):
        load(folder / "m.csv")


def test_an_audio_folder_with_metadata(folder: Path) -> None:
    for split in ("train", "test"):
        write_wav(folder / "data" / split / "x.wav")
        (folder / "data" / split / "metadata.csv").write_text(f"file_name,transcription\nx.wav,hello {split}\n")
    assert fields(load(folder / "data"), "audio", "text", "split", "id") == [
        (str(folder / "data/test/x.wav"), "hello test", "test", "x"),
        (str(folder / "data/train/x.wav"), "hello train", "train", "x-2"),
    ]


@pytest.mark.parametrize(
    "table",
    [
        'path,sentence\nwav/a.wav,"Nande he said\nwav/b.wav,plain one\nwav/c.wav,the end"\n',
        'path|sentence\nwav/a.wav|"Printing, he said\nwav/b.wav|plain one\n',  # never closed
        'id;sentence;path\nu1;"x;wav/a.wav\nu2;"y";wav/b.wav\n',
        'id,sentence,audio\nLJ001,"a\nLJ002,b,c"\n',
    ],
)
def test_a_lone_quotation_mark_swallows_no_rows_without_a_word(folder: Path, table: str) -> None:
    (folder / "m.csv").write_text(table)
    with pytest.raises(DataError, match="a quotation mark in this row is closed lines later"):
        load(folder / "m.csv")


def test_the_advice_on_quotation_marks_works(folder: Path) -> None:
    (folder / "m.csv").write_text(
        'path,sentence\nwav/a.wav,"""Nande he said"\nwav/b.wav,plain one\nwav/c.wav,"the end"""\n'
    )
    expected = [('"Nande he said',), ("plain one",), ('the end"',)]
    assert fields(load(folder / "m.csv"), "text") == expected
    (folder / "m.tsv").write_text(
        'path\tsentence\nwav/a.wav\t"Nande he said\nwav/b.wav\tplain one\nwav/c.wav\tthe end"\n'
    )
    assert fields(load(folder / "m.tsv"), "text") == expected


def test_line_breaks_in_a_transcript_are_text_where_they_look_like_no_row(folder: Path) -> None:
    (folder / "m.csv").write_text('path,sentence\nwav/a.wav,"Well,\nhe said, go"\nwav/b.wav,"one\ntwo"\n')
    assert fields(load(folder / "m.csv"), "text") == [("Well,\nhe said, go",), ("one\ntwo",)]


def test_split_folders_may_lie_in_a_folder_data(folder: Path) -> None:
    for split, name in (("train", "a"), ("test", "b")):
        (folder / "set" / "data" / split).mkdir(parents=True)
        (folder / "wav" / f"{name}.wav").rename(folder / "set" / "data" / split / f"{name}.wav")
        (folder / "set" / "data" / split / "metadata.csv").write_text(f"file_name,text\n{name}.wav,said in {split}\n")
    rows = [
        (str(folder / "set/data/test/b.wav"), "said in test", "test"),
        (str(folder / "set/data/train/a.wav"), "said in train", "train"),
    ]
    assert fields(load(folder / "set"), "audio", "text", "split") == rows
    assert fields(load(folder / "set", split="train"), "audio", "text", "split") == rows[1:]
    assert fields(load(folder / "set" / "data", split="test"), "audio", "text", "split") == rows[:1]


def test_recordings_that_no_row_of_the_metadata_names_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "wav" / "metadata.csv").write_text("file_name,text\n./a.wav,one\n")
    assert [u.text for u in load(folder / "wav")] == ["one"]
    assert (
        f"{folder / 'wav'}: 2 recordings that no row of its metadata names are not used, such as b.wav" in caplog.text
    )
    caplog.clear()
    (folder / "wav" / "metadata.csv").write_text("file_name,text\na.wav,one\nb.wav,two\nc.wav,three\n")
    assert len(load(folder / "wav")) == 3
    assert "no row of its metadata" not in caplog.text
