"""Of a dataset with several splits, subsets or revisions only what is asked for is read: here, and from a hub."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qasr_train.audio.decode import load_audio
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances, stream_utterances
from tests.helpers import ROOT, tone, write_wav
from tests.helpers_fake_hub import FakeHub, fake_hub
from tests.helpers_sources import fields, hf_dataset, load

CONVERTED = "refs/convert/parquet"
CARD = """---
configs:
- config_name: one
  data_files: [{split: train, path: a/tr.parquet}, {split: test, path: a/te.parquet}]
- config_name: two
  data_files: [{split: train, path: a/tr.parquet}]
dataset_info:
- config_name: one
  features: [{name: audio, dtype: audio}, {name: transcription, dtype: string}]
  splits: [{name: train, num_bytes: 9000000000000000000, num_examples: 5}, {name: test, num_bytes: 5, num_examples: 77}]
  download_size: 9000000000000000000
  dataset_size: 9000000000000000000
- config_name: two
  features: [{name: audio, dtype: audio}]
---
"""


def write_split(path: Path, *texts: str) -> None:
    """A Parquet file with a tenth of a second of sound for each text; broken where there are none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not texts:
        path.write_bytes(b"no Parquet file")
        return
    sound = write_wav(path.with_suffix(".wav"), tone(0.1))
    rows = [{"audio": {"bytes": sound.read_bytes(), "path": f"{t}.wav"}, "transcription": t} for t in texts]
    sound.unlink()
    pq.write_table(pa.Table.from_pylist(rows), path)


def read(path: str | Path, *, streaming: bool, **settings: Any) -> list[Utterance]:
    """All utterances, or the first two of the stream."""
    config = SourceConfig(path=str(path), streaming=streaming, **settings)
    return stream_utterances(config, "main").take(2) if streaming else load_utterances(config, "main")


def texts(utterances: list[Utterance]) -> list[tuple[str | None, str | None]]:
    return [(utterance.text, utterance.split) for utterance in utterances]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_broken_train_file_does_not_matter_to_the_test_split(tmp_path: Path, streaming: bool) -> None:
    write_split(tmp_path / "d" / "train-00000-of-00001.parquet")
    write_split(tmp_path / "d" / "test-00000-of-00001.parquet", "one", "two")
    assert texts(read(tmp_path / "d", streaming=streaming, split="test")) == [("one", "test"), ("two", "test")]
    with pytest.raises(DataError, match=r"d: cannot be loaded as a dataset \(ArrowInvalid"):
        read(tmp_path / "d", streaming=streaming, split="train")
    with pytest.raises(DataError, match="has no split 'dev'; it has train, test"):
        read(tmp_path / "d", streaming=streaming, split="dev")
    with pytest.raises(DataError, match="slices are not supported"):
        read(tmp_path / "d", streaming=streaming, split="test[:1]")


def test_one_split_read_first_does_not_hide_the_others(tmp_path: Path) -> None:
    write_split(tmp_path / "d" / "train.parquet", "a")
    write_split(tmp_path / "d" / "test.parquet", "b")
    for split, expected in (("test", ["b"]), ("train", ["a"]), (None, ["a", "b"]), ("test", ["b"])):
        assert [u.text for u in read(tmp_path / "d", streaming=False, split=split)] == expected


@pytest.mark.parametrize("streaming", [False, True])
def test_a_card_that_speaks_of_all_splits_does_not_matter_to_one(tmp_path: Path, streaming: bool) -> None:
    write_split(tmp_path / "d" / "a" / "tr.parquet")
    write_split(tmp_path / "d" / "a" / "te.parquet", "one", "two")
    (tmp_path / "d" / "README.md").write_text(CARD)
    assert [u.text for u in read(tmp_path / "d", streaming=streaming, subset="one", split="test")] == ["one", "two"]
    with pytest.raises(DataError, match="d: has several subsets; set subset to one of 'one', 'two'$"):
        read(tmp_path / "d", streaming=streaming, split="test")
    with pytest.raises(DataError, match="d: has no subset 'three'; it has 'one', 'two'$"):
        read(tmp_path / "d", streaming=streaming, subset="three", split="test")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_broken_split_of_a_saved_dataset_does_not_matter_to_another(tmp_path: Path, streaming: bool) -> None:
    one = datasets.Dataset.from_dict({"audio": [str(write_wav(tmp_path / "x.wav"))], "text": ["one"]})
    datasets.DatasetDict(train=one, test=one).save_to_disk(str(tmp_path / "saved"))
    for file in (tmp_path / "saved" / "train").iterdir():
        file.write_bytes(b"broken")
    assert read(tmp_path / "saved", streaming=streaming, split="test")[0].text == "one"
    with pytest.raises(DataError, match="saved/train: cannot be loaded as a dataset"):
        read(tmp_path / "saved", streaming=streaming, split="train")


@pytest.mark.parametrize("streaming", [False, True])
def test_broken_metadata_of_another_split_of_an_audio_folder_does_not_matter(tmp_path: Path, streaming: bool) -> None:
    write_wav(tmp_path / "d" / "test" / "x.wav")
    (tmp_path / "d" / "test" / "metadata.csv").write_text("file_name,transcription\nx.wav,one\n")
    (tmp_path / "d" / "train").mkdir()
    (tmp_path / "d" / "train" / "metadata.csv").write_bytes(b"\xff\xfe\x00broken")
    assert texts(read(tmp_path / "d", streaming=streaming, split="test"))[0] == ("one", "test")
    with pytest.raises(DataError, match=r"train/metadata.csv: is not UTF-8 text"):
        read(tmp_path / "d", streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_download_of_the_hubs_parquet_copy_has_a_folder_for_each_subset(
    tmp_path: Path, streaming: bool, caplog: pytest.LogCaptureFixture
) -> None:
    write_split(tmp_path / "d" / "en_us" / "train" / "0000.parquet")
    write_split(tmp_path / "d" / "en_us" / "test" / "0000.parquet", "one", "two")
    write_split(tmp_path / "d" / "ko_kr" / "test" / "0000.parquet", "drei")
    found = read(tmp_path / "d", streaming=streaming, subset="en_us", split="test", revision=CONVERTED)
    assert [u.text for u in found] == ["one", "two"]
    assert f"d: is read as it lies here; revision={CONVERTED} is for hub ids" in caplog.text
    with pytest.raises(DataError, match="d: has no subset 'de_de'; it has 'default'$"):
        read(tmp_path / "d", streaming=streaming, subset="de_de", split="test")


def test_a_dataset_with_a_script_of_its_own_is_named(tmp_path: Path) -> None:
    (tmp_path / "fleurs").mkdir()
    (tmp_path / "fleurs" / "fleurs.py").write_text("")
    with pytest.raises(
        DataError, match=r"fleurs: is read by a script of its own, .* set revision=refs/convert/parquet"
    ):
        read(tmp_path / "fleurs", streaming=False, split="test")


READ_FROM_HUB = """
import json, sys
from qasr_train.errors import DataError
from qasr_train.config.command_line import end_process
from qasr_train.sources.source import SourceConfig
from tests.sources.test_hub import read, texts
for settings in json.loads(sys.argv[1]):
    try:
        print("RESULT", json.dumps(texts(read(**settings))))
    except DataError as error:
        print("RESULT", json.dumps(str(error)))
end_process(0)
"""


def read_from_hub(hub: FakeHub, home: Path, *sources: dict[str, Any], **environment: str) -> list[Any]:
    """What each source holds, or the sentence that refused it; a process of its own, as the address is read once."""
    environ = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
    environ = {**environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", READ_FROM_HUB, json.dumps(sources)]
    done = subprocess.run(
        command, env={**environ, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]


def test_a_hub_sends_the_files_of_one_split_at_one_revision(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("script", "converted", "new", "old")}
    write_split(folders["converted"] / "en_us" / "train" / "0000.parquet")
    write_split(folders["converted"] / "en_us" / "test" / "0000.parquet", "one", "two")
    folders["script"].mkdir()
    (folders["script"] / "fleurs.py").write_text("")
    for name in ("new", "old"):
        write_split(folders[name] / "a" / "tr.parquet")
        write_split(folders[name] / "a" / "te.parquet", f"{name} one", f"{name} two")
        (folders[name] / "README.md").write_text(CARD)
    repositories = {("google/fleurs", "main"): "script", ("google/fleurs", CONVERTED): "converted"}
    repositories |= {("own/card", "main"): "new", ("own/card", "v1"): "old"}
    fleurs = {"path": "google/fleurs", "subset": "en_us", "split": "test"}
    card = {"path": "own/card", "subset": "one", "split": "test"}
    with fake_hub({repository: folders[name] for repository, name in repositories.items()}) as hub:
        for streaming in (False, True):
            hub.sent.clear()
            sources = [fleurs, {**fleurs, "revision": CONVERTED}, card, {**card, "revision": "v1"}]
            found = read_from_hub(hub, tmp_path / "hf", *({**s, "streaming": streaming} for s in sources))
            assert "google/fleurs: is read by a script of its own" in found[0]
            assert found[1] == [["one", "test"], ["two", "test"]]
            assert found[2] == [["new one", "test"], ["new two", "test"]]
            assert found[3] == [["old one", "test"], ["old two", "test"]]
            sent = {file for file in hub.sent if file.endswith(".parquet")}
            assert sent == {f"{CONVERTED}:en_us/test/0000.parquet", "main:a/te.parquet", "v1:a/te.parquet"}
        # What was read once can be read without the hub, and the revision is the one asked for.
        again = [{**card, "streaming": False, "revision": "v1"}, {**card, "streaming": False, "revision": "v2"}]
        found = read_from_hub(hub, tmp_path / "hf", *again, HF_HUB_OFFLINE="1")
        assert found[0] == [["old one", "test"], ["old two", "test"]]
        assert "own/card: the hub cannot be reached" in found[1] and "set path=DIR" in found[1]


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


def test_a_bare_folder_of_recordings_is_a_source_without_transcripts(folder: Path) -> None:
    write_wav(folder / "wav" / "deeper" / "b.wav")
    (folder / "wav" / "notes.txt").write_text("no recording")
    found = load(folder / "wav", columns={"text": ""}, language="de")
    assert fields(found, "id", "text", "language") == [(name, None, "German") for name in ("a", "b", "c", "b-2")]
    assert [Path(str(one.audio)).relative_to(folder) for one in found[2:]] == [
        Path("wav/c.wav"),
        Path("wav/deeper/b.wav"),
    ]


def test_a_streamed_dataset_with_several_splits_asks_for_one(folder: Path) -> None:
    dataset = hf_dataset(folder)
    datasets.DatasetDict(train=dataset, test=dataset).save_to_disk(str(folder / "saved"))
    with pytest.raises(DataError, match=r"is streamed and has several splits; set split to one of train, test"):
        stream_utterances(SourceConfig(path=str(folder / "saved"), streaming=True), "main")
