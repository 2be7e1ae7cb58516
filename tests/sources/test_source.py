"""Sources: every format gives the same Utterances; columns, ids, languages, splits; a sentence for each mistake; streams."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qasr_train.audio.decode import load_audio
from qasr_train.errors import AudioError, ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.sources.files import FileRows
from qasr_train.sources.settings import SourceConfig, SourceFormat
from qasr_train.sources.source import FORMATS, Format, load_utterances, stream_utterances
from tests.helpers import SHARED, needs_shared, tone, write_wav

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf_cache")


def write_rows(path: Path, *rows: Any) -> str:
    """Rows as JSON lines; a string row is written as it is."""
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n", encoding="utf-8"
    )
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with wav/a.wav, wav/b.wav and wav/c.wav."""
    for number, name in enumerate("abc", start=1):
        write_wav(tmp_path / "wav" / f"{name}.wav", tone(0.1 * number, frequency_hz=200 * number))
    return tmp_path


def load(path: str | Path, **settings: Any) -> list[Utterance]:
    """The utterances of a source called "main"."""
    return load_utterances(SourceConfig(path=str(path), **settings), "main")


def fields(utterances: list[Utterance], *names: str) -> list[tuple[Any, ...]]:
    """The named fields of each utterance."""
    return [tuple(getattr(utterance, name) for name in names) for utterance in utterances]


# -- JSONL dialects -------------------------------------------------------------------------------------------------


def test_our_own_manifest_gives_every_field(folder: Path) -> None:
    row = {
        "version": 1,
        "id": "u1",
        "audio": "wav/a.wav",
        "text": " good day ",
        "language": "en-US",
        "speaker": 7,
        "start_s": 0.02,
        "end_s": 0.08,
        "context": ["aspirin", "ibuprofen"],
        "split": "train",
    }
    (utterance,) = load(write_rows(folder / "m.jsonl", row))
    assert utterance == Utterance(
        id="u1",
        audio=str(folder / "wav/a.wav"),
        text="good day",
        language="English",
        speaker="7",
        duration_s=0.06,
        start_s=0.02,
        end_s=0.08,
        context="aspirin, ibuprofen",
        split="train",
        origin=f"{folder / 'm.jsonl'}:1",
    )


def test_official_text_prefix_states_the_language(folder: Path) -> None:
    path = write_rows(
        folder / "official.jsonl",
        {"audio": "wav/a.wav", "text": "language English<asr_text>good day"},
        {"audio": "wav/b.wav", "text": "language None<asr_text>who knows"},
        {"audio": "wav/c.wav", "text": "language None<asr_text>"},
        {"audio": "wav/a.wav", "text": "no prefix"},
    )
    # An explicit None stays unknown; the default is for rows that state nothing.
    assert fields(load(path, language="de"), "text", "language") == [
        ("good day", "English"),
        ("who knows", None),
        ("", None),
        ("no prefix", "German"),
    ]


def test_prefix_and_column_that_disagree_are_refused(folder: Path) -> None:
    row = {"audio": "wav/a.wav", "text": "language English<asr_text>good day", "language": "fr"}
    with pytest.raises(DataError, match=r"m.jsonl:1: the text says language 'English', the language column 'fr'"):
        load(write_rows(folder / "m.jsonl", row))


def test_nemo_offset_and_duration_cut_the_recording(folder: Path) -> None:
    path = write_rows(
        folder / "nemo.json",
        {"audio_filepath": "wav/c.wav", "duration": 0.1, "text": "one", "offset": 0.15},
        {"audio_filepath": "wav/c.wav", "duration": 0.3, "text": "two"},
    )
    assert fields(load(path), "id", "start_s", "end_s", "duration_s") == [
        ("c", 0.15, 0.25, 0.1),
        ("c-2", None, None, 0.3),
    ]


def test_empty_text_is_no_speech_and_null_text_is_not_known(folder: Path) -> None:
    path = write_rows(
        folder / "m.jsonl",
        {"audio": "wav/a.wav", "text": ""},
        {"audio": "wav/b.wav", "text": None},
    )
    assert fields(load(path), "text") == [("",), (None,)]


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


# -- CSV, TSV, Parquet, datasets ------------------------------------------------------------------------------------


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


def audio_table(folder: Path, *, rows: int = 3) -> pa.Table:
    """A table as `datasets` writes it: audio as a struct of bytes and path."""
    names = [f"{'abc'[i % 3]}.wav" for i in range(rows)]
    return pa.table(
        {
            "audio": [{"bytes": (folder / "wav" / name).read_bytes(), "path": name} for name in names],
            "sentence": [f"text {i}" for i in range(rows)],
            "client_id": [i % 2 for i in range(rows)],
        }
    )


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


def hf_dataset(folder: Path, rows: int = 5) -> Any:
    """A dataset with an Audio column and languages as class labels."""
    dataset = datasets.Dataset(audio_table(folder, rows=rows))
    dataset = dataset.add_column("language", [i % 2 for i in range(rows)])
    dataset = dataset.cast_column("language", datasets.ClassLabel(names=["English", "de"]))
    return dataset.cast_column("audio", datasets.Audio())


def test_a_saved_dataset_needs_no_torchcodec_and_names_its_labels(folder: Path) -> None:
    hf_dataset(folder).select([4, 2, 0]).save_to_disk(str(folder / "saved"), num_shards=2)
    utterances = load(folder / "saved")
    assert fields(utterances, "id", "text", "language") == [
        ("b", "text 4", "English"),
        ("c", "text 2", "English"),
        ("a", "text 0", "English"),
    ]
    assert [len(load_audio(u.audio)) for u in utterances] == [3200, 4800, 1600]


def test_a_relative_path_gives_references_that_hold_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hf_dataset(folder).save_to_disk(str(folder / "saved"))
    monkeypatch.chdir(folder)
    utterances = load("saved")
    monkeypatch.chdir("/")
    assert len(load_audio(utterances[0].audio)) == 1600


def test_splits_of_a_saved_dataset(folder: Path) -> None:
    dataset = hf_dataset(folder)
    datasets.DatasetDict(train=dataset, test=dataset.select([1])).save_to_disk(str(folder / "saved"))
    assert fields(load(folder / "saved", split="test"), "text", "split", "language") == [("text 1", "test", "German")]
    assert [u.split for u in load(folder / "saved")] == ["train"] * 5 + ["test"]
    with pytest.raises(DataError, match=r"saved: has no split 'dev'; it has train, test"):
        load(folder / "saved", split="dev")
    with pytest.raises(DataError, match=r"slices are not supported, use max_utterances"):
        load(folder / "saved", split="train[:10%]")


def test_a_folder_of_parquet_files_has_their_splits(folder: Path) -> None:
    (folder / "hub").mkdir()
    hf_dataset(folder).to_parquet(folder / "hub" / "train-00000-of-00001.parquet")
    hf_dataset(folder, rows=1).to_parquet(folder / "hub" / "test-00000-of-00001.parquet")
    assert len(load(folder / "hub", split="train")) == 5
    assert [len(load_audio(u.audio)) for u in load(folder / "hub", split="test")] == [1600]


def test_an_audio_folder_with_metadata(folder: Path) -> None:
    for split in ("train", "test"):
        write_wav(folder / "data" / split / "x.wav")
        (folder / "data" / split / "metadata.csv").write_text(f"file_name,transcription\nx.wav,hello {split}\n")
    assert fields(load(folder / "data"), "audio", "text", "split", "id") == [
        (str(folder / "data/test/x.wav"), "hello test", "test", "x"),
        (str(folder / "data/train/x.wav"), "hello train", "train", "x-2"),
    ]


def test_a_source_to_be_transcribed_needs_no_text_and_shows_none(folder: Path) -> None:
    without = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav"}, {"audio": "wav/b.wav"})
    with_text = write_rows(folder / "n.jsonl", {"audio": "wav/a.wav", "text": "x"}, {"audio": "wav/b.wav", "text": "y"})
    for path in (without, with_text):
        assert fields(load(path, columns={"text": ""}), "id", "text") == [("a", None), ("b", None)]
    with pytest.raises(DataError, match="a column for `text`"):
        load(without)


def test_a_bare_folder_of_recordings_is_a_source_without_transcripts(folder: Path) -> None:
    write_wav(folder / "wav" / "deeper" / "b.wav")
    (folder / "wav" / "notes.txt").write_text("no recording")
    found = load(folder / "wav", columns={"text": ""}, language="de")
    assert fields(found, "id", "text", "language") == [(name, None, "German") for name in ("a", "b", "c", "b-2")]
    assert [Path(str(one.audio)).relative_to(folder) for one in found[2:]] == [
        Path("wav/c.wav"),
        Path("wav/deeper/b.wav"),
    ]


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


# -- columns, ids, languages, splits ---------------------------------------------------------------------------------


def test_a_named_column_wins_over_a_guessed_one(folder: Path) -> None:
    path = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav", "text": "Good day.", "normalized": "good day"})
    assert load(path, columns={"text": "normalized"})[0].text == "good day"


def test_a_missing_column_lists_those_there_are(folder: Path) -> None:
    path = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav", "words": "good day", "who": "x"})
    with pytest.raises(DataError) as error:
        load(path)
    assert str(error.value) == (
        f"{path}:1: lacks a column for `text`; it has audio, words, who; name the right one with columns.text=COLUMN"
    )
    with pytest.raises(DataError, match=r"lacks the column 'wrds' that columns.text names; it has audio, words, who"):
        load(path, columns={"text": "wrds"})
    with pytest.raises(DataError, match=r"no row has the column 'spaeker' that columns.speaker names"):
        load(path, columns={"text": "words", "speaker": "spaeker"})
    with pytest.raises(ConfigError, match=r"source.columns.txet: no such field; choose from id, audio, text"):
        load(path, columns={"txet": "words"})


def test_ids_are_the_rows_own_or_the_file_names(folder: Path) -> None:
    path = write_rows(
        folder / "m.jsonl",
        {"audio": "wav/a.wav", "text": "1"},
        {"audio": "other/a.wav", "text": "2"},
        {"audio": "wav/b.wav", "text": "3", "id": "a-3"},
        {"audio": "wav/a.wav", "text": "4"},
    )
    assert [u.id for u in load(path)] == ["a", "a-2", "a-3", "a-4"]


def test_an_id_that_repeats_is_refused_and_the_way_out_works(folder: Path) -> None:
    path = write_rows(
        folder / "m.jsonl",
        {"id": 5, "audio": "wav/a.wav", "text": "1"},
        {"id": 5, "audio": "wav/b.wav", "text": "2"},
    )
    with pytest.raises(DataError, match=r"m.jsonl:2: the id '5' stands twice in this source"):
        load(path)
    assert [u.id for u in load(path, columns={"id": ""})] == ["a", "b"]


def test_relative_paths_start_at_the_manifest_or_at_audio_root(folder: Path, tmp_path: Path) -> None:
    (folder / "lists").mkdir()
    path = write_rows(folder / "lists" / "m.jsonl", {"audio": "a.wav", "text": "1"})
    assert load(path, audio_root=str(folder / "wav"))[0].audio == str(folder / "wav" / "a.wav")
    with pytest.raises(DataError, match=r"m.jsonl:1: audio file .*lists/a.wav does not exist, nor .* set audio_root"):
        load(path)
    with pytest.raises(DataError, match=r"audio_root=/nowhere: no such folder"):
        load(path, audio_root="/nowhere")


def test_an_unknown_language_is_named_and_can_be_added(folder: Path) -> None:
    path = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav", "text": "x", "lang": "Swahili"})
    with pytest.raises(DataError, match=r"m.jsonl:1: unknown language 'Swahili'; use one of Chinese, English"):
        load(path)
    assert load(path, new_languages=["Swahili"])[0].language == "Swahili"
    with pytest.raises(ConfigError, match=r"source.language: unknown language 'Klingon'"):
        load(path, language="Klingon")


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


# -- mistakes in rows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{oops", r":2: this line is not JSON .*; expected one JSON object a line"),
        ("[1, 2]", r":2: expected a JSON object, got list"),
        ({"audio": "wav/b.wav", "text": 5}, r":2: the transcript is 5 \(int\); expected text"),
        (
            {"audio": "wav/b.wav", "text": "x", "duration": -1},
            r":2: utterance 'b' has duration_s=-1.0; expected seconds",
        ),
        ({"audio": "wav/b.wav", "text": "x", "duration": "long"}, r":2: duration='long' \(str\); expected seconds"),
        ('{"audio": "wav/b.wav", "text": "x", "duration": NaN}', r":2: utterance 'b' has duration_s=nan"),
        (
            {"audio": "wav/b.wav", "text": "x", "start": 2, "end": 1},
            r":2: utterance 'b' ends at 1.0 s, not after its start",
        ),
        ({"audio": "", "text": "x"}, r":2: audio='' \(str\); expected the path or the bytes"),
        ({"audio": 3, "text": "x"}, r":2: audio=3 \(int\); expected the path or the bytes"),
        ({"audio": {"array": [0.1], "sampling_rate": 16000}, "text": "x"}, r":2: audio=.*dict.*expected the path"),
        ({"audio": "wav/b.wav", "text": "x", "speaker": {"name": "y"}}, r":2: speaker=.*expected text or a number"),
        ({"audio": "wav/b.wav", "text": "x", "language": 3}, r":2: the language is 3 \(int\); expected a name"),
        ({"audio": "wav/b.wav", "text": "x", "context": 3}, r":2: the context is 3 \(int\); expected text or a list"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(folder: Path, row: Any, words: str) -> None:
    path = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav", "text": "fine"}, row)
    with pytest.raises(DataError, match=r"m.jsonl" + words) as error:
        load(path)
    assert "\n" not in str(error.value)


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


def test_a_streamed_dataset_with_several_splits_asks_for_one(folder: Path) -> None:
    dataset = hf_dataset(folder)
    datasets.DatasetDict(train=dataset, test=dataset).save_to_disk(str(folder / "saved"))
    with pytest.raises(DataError, match=r"is streamed and has several splits; set split to one of train, test"):
        stream_utterances(SourceConfig(path=str(folder / "saved"), streaming=True), "main")


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
    with pytest.raises(DataError, match="set format to jsonl, csv, parquet, webdataset or pairs"):
        load(write_rows(folder / "m.list", {"audio": "wav/a.wav", "text": "x"}))


def test_the_table_has_a_line_for_every_format_a_config_can_name() -> None:
    assert {*FORMATS, "auto"} == {format.value for format in SourceFormat}
