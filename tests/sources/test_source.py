"""Sources: every format gives the same Utterances; columns, ids, languages, splits; a sentence for each mistake; streams."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from qasr_train.audio.decode import load_audio
from qasr_train.errors import ConfigError, DataError
from qasr_train.sources.files import FileRows
from qasr_train.sources.settings import SourceConfig, SourceFormat
from qasr_train.sources.source import FORMATS, Format, load_utterances, stream_utterances
from tests.helpers import SHARED, needs_shared
from tests.helpers_sources import audio_table, fields, hf_dataset, load, write_rows

# -- what is found ------------------------------------------------------------------------------------


def test_a_source_to_be_transcribed_needs_no_text_and_shows_none(folder: Path) -> None:
    without = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav"}, {"audio": "wav/b.wav"})
    with_text = write_rows(folder / "n.jsonl", {"audio": "wav/a.wav", "text": "x"}, {"audio": "wav/b.wav", "text": "y"})
    for path in (without, with_text):
        assert fields(load(path, columns={"text": ""}), "id", "text") == [("a", None), ("b", None)]
    with pytest.raises(DataError, match="a column for `text`"):
        load(without)


def test_an_empty_folder_and_a_missing_path_are_named(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: holds no data; expected recordings, Parquet files"):
        load(folder / "empty")
    with pytest.raises(DataError, match=r"wav: holds recordings but no metadata.csv"):
        load(folder / "wav")
    with pytest.raises(DataError, match=r"nowhere.jsonl: no such file"):
        load(folder / "nowhere.jsonl")
    with pytest.raises(DataError, match=r"no_such_folder: no such file or folder"):
        load(folder / "no_such_folder")


# -- paths, splits ---------------------------------------------------------------------------------


def test_relative_paths_start_at_the_manifest_or_at_audio_root(folder: Path, tmp_path: Path) -> None:
    (folder / "lists").mkdir()
    path = write_rows(folder / "lists" / "m.jsonl", {"audio": "a.wav", "text": "1"})
    assert load(path, audio_root=str(folder / "wav"))[0].audio == str(folder / "wav" / "a.wav")
    with pytest.raises(DataError, match=r"m.jsonl:1: audio file .*lists/a.wav does not exist, nor .* set audio_root"):
        load(path)
    with pytest.raises(DataError, match=r"audio_root=/nowhere: no such folder"):
        load(path, audio_root="/nowhere")


def test_a_split_that_no_row_has_lists_those_there_are(folder: Path) -> None:
    rows = [
        {"audio": f"wav/{n}.wav", "text": n, "split": s} for n, s in zip("abc", ["train", "train", "dev"], strict=True)
    ]
    path = write_rows(folder / "m.jsonl", *rows)
    assert [u.text for u in load(path, split="train")] == ["a", "b"]
    assert [u.text for u in load(path, split="train", max_utterances=1)] == ["a"]
    with pytest.raises(DataError, match=r"no row is of split 'test'; it holds train \(2\), dev \(1\)"):
        load(path, split="test")
    bare = write_rows(folder / "bare.jsonl", {"audio": "wav/a.wav", "text": "x"})
    with pytest.raises(DataError, match=r"no row is of split 'test'; its rows name no split"):
        load(bare, split="test")


def test_using_every_split_at_once_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"audio": f"wav/{n}.wav", "text": n, "split": s} for n, s in zip("ab", ["train", "test"], strict=True)]
    with caplog.at_level(logging.WARNING):
        load(write_rows(folder / "m.jsonl", *rows))
    assert "source main: all its splits are used; it holds train (1), test (1)" in caplog.text


def test_an_empty_manifest_is_refused(folder: Path) -> None:
    (folder / "m.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match=r"m.jsonl: holds no rows; expected one row for each utterance"):
        load(folder / "m.jsonl")
    (folder / "m.csv").write_text("")
    with pytest.raises(DataError, match=r"m.csv: holds no header line"):
        load(folder / "m.csv")
    (folder / "m.csv").write_text("path,text\n")
    with pytest.raises(DataError, match=r"m.csv: holds no rows"):
        load(folder / "m.csv")


def test_an_unknown_suffix_asks_for_the_format(folder: Path) -> None:
    path = write_rows(folder / "m.list", {"audio": "wav/a.wav", "text": "x"})
    with pytest.raises(DataError, match=r"m.list: cannot tell its format by the suffix '.list'; set format"):
        load(path)
    assert len(load(path, format=SourceFormat.jsonl)) == 1


# -- streams ---------------------------------------------------------------------------------------------------------


def sources_to_stream(folder: Path) -> dict[str, SourceConfig]:
    """The same seven utterances in three formats."""
    rows = [{"audio": f"wav/{'abc'[i % 3]}.wav", "text": f"text {i}"} for i in range(7)]
    pq.write_table(audio_table(folder, rows=7), folder / "m.parquet")
    hf_dataset(folder, rows=7).save_to_disk(str(folder / "saved"))
    paths = [write_rows(folder / "m.jsonl", *rows), str(folder / "m.parquet"), str(folder / "saved")]
    return {Path(path).name: SourceConfig(path=path, streaming=True) for path in paths}


@pytest.mark.parametrize("kind", ["m.jsonl", "m.parquet", "saved"])
def test_a_stream_goes_on_exactly_from_a_saved_position(folder: Path, kind: str) -> None:
    config = sources_to_stream(folder)[kind]
    stream = stream_utterances(config, "main")
    straight = [u.text for u in stream.take(17)]
    assert straight == [f"text {i % 7}" for i in range(17)]  # after its end it begins again
    for num_taken in (0, 3, 7, 10):
        first = stream_utterances(config, "main")
        taken = [u.text for u in first.take(num_taken)]
        state = json.loads(json.dumps(first.state_dict()))
        first.take(4)  # what is taken after the save does not matter
        resumed = stream_utterances(config, "main")
        resumed.load_state_dict(state)
        assert taken + [u.text for u in resumed.take(17 - num_taken)] == straight
        first.load_state_dict(state)
        assert taken + [u.text for u in first.take(17 - num_taken)] == straight


@pytest.mark.parametrize("kind", ["m.jsonl", "m.parquet", "saved"])
def test_streamed_audio_decodes(folder: Path, kind: str) -> None:
    stream = stream_utterances(sources_to_stream(folder)[kind], "main")
    utterances = stream.take(3)
    assert [len(load_audio(u.audio, name=u.id)) for u in utterances] == [1600, 3200, 4800]
    assert [u.id for u in utterances] == ["a-1", "b-2", "c-3"]


def test_max_utterances_ends_each_pass_of_a_stream(folder: Path) -> None:
    config = sources_to_stream(folder)["m.jsonl"]
    config.max_utterances = 2
    assert [u.text for u in stream_utterances(config, "main").take(5)] == [
        "text 0",
        "text 1",
        "text 0",
        "text 1",
        "text 0",
    ]


def test_an_empty_stream_gives_nothing_instead_of_waiting(folder: Path) -> None:
    config = SourceConfig(path=write_rows(folder / "m.jsonl", "", ""), streaming=True)
    assert stream_utterances(config, "main").take(5) == []


# -- the real recordings, and size -----------------------------------------------------------------------------------


@needs_shared
def test_the_shared_speech_manifest() -> None:
    utterances = load(SHARED / "speech" / "manifest.jsonl", split="test")
    assert len(utterances) == 250
    assert all(u.language and u.duration_s and Path(u.audio).is_file() for u in utterances)


def test_a_hundred_thousand_rows_take_a_second_or_two(folder: Path) -> None:
    path = folder / "big.jsonl"
    audio = str(folder / "wav" / "a.wav")
    with path.open("w") as file:
        for i in range(100_000):
            row = f'{{"id": "u{i}", "audio": "{audio}", "text": "hello {i}", "language": "en", "duration": 1.5}}\n'
            file.write(row)
    begin = time.perf_counter()
    utterances = load(path)
    assert time.perf_counter() - begin < 10  # 1 s on one idle core; a slow, busy machine may take longer
    assert len(utterances) == 100_000 and utterances[-1].text == "hello 99999"
    assert np.unique([id(u.language) for u in utterances]).size == 1  # one string, not a hundred thousand


def test_only_keeps_the_rows_that_match_every_pattern(tmp_path: Path):
    rows = [("a_1", "fay"), ("a_2", "max"), ("b_1", "fay"), ("a_10", "fay")]
    lines = [json.dumps({"id": i, "audio": "x.wav", "text": "t", "speaker": s}) for i, s in rows]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(lines))
    (tmp_path / "x.wav").write_bytes(b"")
    config = SourceConfig(path=str(manifest), only={"id": r"re:a_\d", "speaker": "f*"})
    assert [u.id for u in load_utterances(config, "main")] == ["a_1"]
    assert [u.id for u in stream_utterances(config, "main").take(1)] == ["a_1"]
    with pytest.raises(DataError, match="no row matches only="):
        load_utterances(SourceConfig(path=str(manifest), only={"id": "c*"}), "main")
    with pytest.raises(ConfigError, match="'text' cannot be filtered by; choose from id, speaker"):
        SourceConfig(path="m.jsonl", only={"text": "x"})


# -- A new format ---------------------------------------------------------------------------------------------------


class PairsSource:
    """A format of two words a line: the recording and its text. All that a new format must bring."""

    def __init__(self, path: Path, config: SourceConfig) -> None:
        self.path = path

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, line in enumerate(self.path.read_text().splitlines(), start=1):
            yield f"{self.path}:{number}", dict(zip(("audio", "text"), line.split(), strict=True))

    def blocks(self) -> None:
        return None

    def shards(self) -> FileRows:
        return FileRows(self.rows)


def test_a_format_is_a_class_and_a_line_of_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "pairs", Format(PairsSource, (".pairs",)))
    (folder / "m.pairs").write_text("wav/a.wav one\nwav/b.wav two\n")
    config = SourceConfig(path=str(folder / "m.pairs"))
    expected = [("a", str(folder / "wav/a.wav"), "one"), ("b", str(folder / "wav/b.wav"), "two")]
    assert fields(load_utterances(config, "main"), "id", "audio", "text") == expected
    stream = stream_utterances(config, "main")
    assert [utterance.text for utterance in stream.take(3)] == ["one", "two", "one"]
    with pytest.raises(DataError, match="set format to jsonl, csv, parquet, webdataset, timed or pairs"):
        load(write_rows(folder / "m.list", {"audio": "wav/a.wav", "text": "x"}))


def test_the_table_has_a_line_for_every_format_a_config_can_name() -> None:
    assert {*FORMATS, "auto"} == {format.value for format in SourceFormat}


# -- what no manifest should hold ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('"meta": ' + "[" * 90_000 + "]" * 90_000, "this line is not JSON (nested too deep)"),
        ('"meta": ' + '{"a":' * 90_000 + "1" + "}" * 90_000, "this line is not JSON (nested too deep)"),
        ('"id": ' + "7" * 5000, "this line is not JSON (a whole number of thousands of digits)"),
        ('"duration": ' + "7" * 400, "duration=777"),
        ('"duration": 1e308', "has duration_s=1e+308, which is years; expected seconds"),
        ('"duration": 1e999', "has duration_s=inf; expected seconds, 0 or more"),
        ('"start": 0, "end": 1e10', "has duration_s=1e+10, which is years; expected seconds"),
        ('"audio": "a\\u0000b.wav"', "holds a NUL character"),
        ('"audio": "a\0b.wav"', "this line is not JSON (Invalid control character at)"),
    ],
    ids=["arrays", "objects", "digits", "no float", "1e308", "1e999", "span", "NUL", "raw NUL"],
)
@pytest.mark.parametrize("is_streamed", [False, True], ids=["list", "stream"])
def test_a_hostile_row_is_one_sentence_with_its_line(folder: Path, fault: str, words: str, is_streamed: bool) -> None:
    good = '{"audio": "wav/a.wav", "text": "x"}'
    path = write_rows(folder / "m.jsonl", good, f'{{"audio": "wav/b.wav", "text": "y", {fault}}}')
    with pytest.raises(DataError) as caught:
        if is_streamed:
            stream_utterances(SourceConfig(path=path, streaming=True), "main").take(2)
        else:
            load(path)
    assert f"{path}:2" in str(caught.value)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 600


def test_many_brackets_beside_each_other_are_no_depth(folder: Path) -> None:
    words = json.dumps([[number] for number in range(5000)])  # word times, as aligners write them
    path = write_rows(folder / "m.jsonl", f'{{"audio": "wav/a.wav", "text": "x", "words": {words}}}')
    assert fields(load(path), "id", "text") == [("a", "x")]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s3://bucket/m.jsonl", "s3://bucket/m.jsonl: is an address; download it"),
        ("https://example.org/m.csv", "is an address; download it, and set path to the file or folder here"),
        ("https://huggingface.co/datasets/owner/name", "is an address; of a dataset of the hub, name owner/name"),
        ("m.jsonl.gz", r"m.jsonl.gz: is compressed; unpack it \(`gunzip -k .*m.jsonl.gz`\)"),
    ],
)
@pytest.mark.parametrize("format", ["auto", "jsonl"])
def test_what_lies_elsewhere_or_is_packed_is_told_with_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, words: str, format: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "m.jsonl.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match=words):
        load(path, format=SourceFormat(format))


def test_a_recording_at_an_address_is_told_by_its_line(folder: Path) -> None:
    good = {"audio": "wav/a.wav", "text": "x"}
    path = write_rows(folder / "m.jsonl", good, {"audio": "https://example.org/b.wav", "text": "y"})
    with pytest.raises(
        DataError, match=r"m.jsonl:2: audio='https://example.org/b.wav' \(str\) is an address; download"
    ):
        load(path)


def test_rows_set_aside_are_not_trained_on_where_no_split_is_chosen(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        {"audio": f"wav/{name}.wav", "text": "x", "split": split}
        for name, split in zip("abc", ("train", "test", "train"), strict=True)
    ]
    path = write_rows(folder / "m.jsonl", *rows)
    trained = load_utterances(SourceConfig(path=path), "main", is_trained_on=True)
    assert fields(trained, "id", "split") == [("a", "train"), ("c", "train")]
    assert caplog.messages == [
        "source main: it holds train (2), test (1); only those of train are trained on; split=NAME chooses others, "
        "columns.split= (empty) takes all"
    ]
    for chosen, ids in (({"split": "test"}, ["b"]), ({"columns": {"split": ""}}, ["a", "b", "c"])):
        config = SourceConfig(path=path, **chosen)
        assert [u.id for u in load_utterances(config, "main", is_trained_on=True)] == ids
