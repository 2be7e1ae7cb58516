"""Streams shared by several processes: every shard is read by one of them, positions are exact, ends are noticed."""

import io
import json
import logging
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qasr_train.audio.decode import load_audio
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.length_limits import Limits
from qasr_train.data.settings import DataConfig
from qasr_train.data.source_pools import StreamPool, build_pools, open_sources
from qasr_train.data.training_data import TrainingData
from qasr_train.errors import ConfigError, DataError
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.run.processes import Processes
from qasr_train.sources.settings import SourceConfig, SourceFormat
from qasr_train.sources.source import load_table, stream_utterances
from qasr_train.sources.streams import UtteranceStream
from qasr_train.sources.tar import TarRows
from tests.helpers import tone, write_wav
from tests.helpers_model import tiny_processor

NUM_SHARDS, PER_SHARD = 5, 6
ALL = sorted(f"s{shard}-{i}" for shard in range(NUM_SHARDS) for i in range(PER_SHARD))


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_wav(tmp_path_factory.mktemp("wav") / "a.wav", tone(0.25)).read_bytes()


def write_tar(path: Path, samples: list[dict[str, bytes]], names: list[str]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, members in zip(names, samples, strict=True):
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{name}.{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def shards(folder: Path, kind: str, wav: bytes) -> SourceConfig:
    """Thirty utterances in five tar files, five Parquet files, or one JSONL file."""
    folder.mkdir(exist_ok=True)
    rows = [[{"id": f"s{s}-{i}", "text": f"text {s} {i}"} for i in range(PER_SHARD)] for s in range(NUM_SHARDS)]
    for number, shard in enumerate(rows):
        if kind == "tar":
            members = [{"wav": wav, "json": json.dumps(row | {"duration": 0.25}).encode()} for row in shard]
            write_tar(folder / f"{number}.tar", members, [row["id"] for row in shard])
        elif kind == "parquet":
            table = [row | {"audio": {"bytes": wav, "path": "a.wav"}, "duration": 0.25} for row in shard]
            pq.write_table(pa.Table.from_pylist(table), folder / f"{number}.parquet")
    if kind == "jsonl":
        (folder / "a.wav").write_bytes(wav)
        lines = [json.dumps(row | {"audio": "a.wav", "duration": 0.25}) for shard in rows for row in shard]
        (folder / "m.jsonl").write_text("\n".join(lines) + "\n")
        return SourceConfig(path=str(folder / "m.jsonl"), streaming=True)
    return SourceConfig(
        path=str(folder), streaming=True, format=SourceFormat.parquet if kind == "parquet" else SourceFormat.auto
    )


def ids_of_pass(config: SourceConfig, number: int, **share: Any) -> list[str]:
    """What one process takes in a pass."""
    stream = stream_utterances(config, "main", **share)
    while stream.pass_number < number:
        assert stream.take(1)
    held = []
    if number:  # the last one taken began this pass
        stream = stream_utterances(config, "main", **share)
        stream._start_pass(number)
    while (one := stream._next()) is not None:
        held.append(one.id)
    return held


@pytest.mark.parametrize("kind", ["tar", "parquet", "jsonl"])
@pytest.mark.parametrize("num_ranks", [1, 2, 5, 7])
def test_a_pass_is_shared_without_overlap_or_loss(tmp_path: Path, wav: bytes, kind: str, num_ranks: int):
    config = shards(tmp_path / kind, kind, wav)
    for number in (0, 1):
        taken = [
            one
            for rank in range(num_ranks)
            for one in ids_of_pass(config, number, processes=Processes(rank, num_ranks), seed=3)
        ]
        assert sorted(taken) == ALL


def test_passes_come_in_other_orders_and_the_same_pass_in_the_same(tmp_path: Path, wav: bytes):
    config = shards(tmp_path / "tar", "tar", wav)
    first, second, again = (ids_of_pass(config, number, seed=3) for number in (0, 1, 0))
    assert first == again != second
    assert ids_of_pass(config, 0) == ALL  # without a seed, as the files are called


@pytest.mark.parametrize("kind", ["tar", "parquet", "jsonl"])
@pytest.mark.parametrize("share", [Processes(0, 1), Processes(1, 2), Processes(6, 7)], ids=str)
def test_a_position_is_exact_wherever_it_is_saved(tmp_path: Path, wav: bytes, kind: str, share: Processes):
    config = shards(tmp_path / kind, kind, wav)
    straight = [u.id for u in stream_utterances(config, "main", seed=1, processes=share).take(40)]
    for num_taken in (0, 1, 5, 6, 7, 12, 13, 30, 31):
        first = stream_utterances(config, "main", seed=1, processes=share)
        first.take(num_taken)
        state = json.loads(json.dumps(first.state_dict()))
        resumed = stream_utterances(config, "main", seed=1, processes=share)
        resumed.load_state_dict(state)
        assert [u.id for u in resumed.take(40 - num_taken)] == straight[num_taken:], num_taken


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_streamed_bytes_decode(tmp_path: Path, wav: bytes, kind: str):
    one = stream_utterances(shards(tmp_path / kind, kind, wav), "main").take(1)[0]
    assert len(load_audio(one.audio, name=one.id)) == 4000
    assert (one.id, one.text, one.duration_s) == ("s0-0", "text 0 0", 0.25)


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


def test_fewer_shards_than_processes_is_said_once(tmp_path: Path, wav: bytes, caplog):
    config = shards(tmp_path / "tar", "tar", wav)
    with caplog.at_level(logging.WARNING):
        for rank in range(7):
            stream_utterances(config, "main", processes=Processes(rank, 7))
    assert caplog.text.count("5 shards for 7 processes; each process reads all of them") == 1


def test_max_utterances_is_of_all_processes_together(tmp_path: Path, wav: bytes):
    config = shards(tmp_path / "tar", "tar", wav)
    config.max_utterances = 8
    taken = [one for rank in range(3) for one in ids_of_pass(config, 0, processes=Processes(rank, 3), seed=3)]
    assert sorted(taken) == ALL[:8]


def test_another_number_of_shards_ends_a_resume(tmp_path: Path, wav: bytes):
    config = shards(tmp_path / "tar", "tar", wav)
    stream = stream_utterances(config, "main")
    stream.take(3)
    (tmp_path / "tar" / "4.tar").unlink()
    with pytest.raises(ConfigError, match=r"source main: had 5 shards .* and has 4 now"):
        stream_utterances(config, "main").load_state_dict(stream.state_dict())


def test_a_saved_dataset_is_shared_by_rows(tmp_path: Path, wav: bytes):
    rows = [{"id": f"r{i}", "text": "x", "audio": {"bytes": wav, "path": None}} for i in range(2500)]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    config = SourceConfig(path=str(tmp_path / "saved"), streaming=True)
    parts = [set(ids_of_pass(config, 0, processes=Processes(rank, 2))) for rank in range(2)]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {f"r{i}" for i in range(2500)}


# ---- what stands in a tar file


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


# ---- streams in a run of several processes


class Ranks:
    """Processes played by threads: `gather` waits for all of them, as a collective does."""

    def __init__(self, num_ranks: int) -> None:
        self.num_ranks, self.values = num_ranks, list[Any]([None] * num_ranks)
        self.barrier = threading.Barrier(num_ranks, timeout=20)

    def processes(self, rank: int) -> Processes:
        return Thread(rank, self.num_ranks, self)

    def run(self, job: Callable[[int], Any]) -> list[Any]:
        with ThreadPoolExecutor(self.num_ranks) as threads:
            return list(threads.map(job, range(self.num_ranks)))


@dataclass(frozen=True)
class Thread(Processes):
    """One of them."""

    ranks: Ranks

    def gather(self, values: list[Any]) -> list[Any]:
        self.ranks.values[self.rank] = values
        self.ranks.barrier.wait()
        gathered = [one for held in self.ranks.values for one in held]
        self.ranks.barrier.wait()
        return gathered


class NoTokens:
    def num_target_tokens(self, one: Any) -> int:
        return 1


def training_data(ranks: Ranks, rank: int, sources: dict[str, SourceConfig], **fields: Any) -> TrainingData:
    opened = open_sources(sources, processes=ranks.processes(rank), seed=5)
    limits = Limits(DataConfig(), NoTokens(), model_max_duration_s=99.0)  # type: ignore[arg-type]
    pools = build_pools(sources, limits=limits, stream_window=13, seed=5, opened=opened)
    settings = {"budget": BatchBudget(0.75, None), "seed": 5} | fields
    return TrainingData(pools=pools, collator=None, processes=ranks.processes(rank), **settings)  # type: ignore[arg-type]


def planned(data: TrainingData, epoch: int) -> list[list[str]]:
    utterances, batches = data.plan(epoch)
    return [[utterances[i].id for i in batch] for batch in batches]


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_processes_read_their_own_and_make_equally_many_batches(tmp_path: Path, wav: bytes, num_ranks: int):
    mapped = shards(tmp_path / "map", "jsonl", wav)
    mapped.streaming = False
    sources = {"stream": shards(tmp_path / "tar", "tar", wav), "list": mapped}
    ranks = Ranks(num_ranks)
    plans = ranks.run(lambda rank: planned(training_data(ranks, rank, sources), 0))
    assert len({len(plan) for plan in plans}) == 1
    drawn = [one for plan in plans for batch in plan for one in batch]
    # the whole list, and a window of 13 of the stream, 7 and 6 or 5, 4 and 4
    assert len(drawn) == 30 + 13
    assert set(ALL) <= set(drawn)
    assert max(drawn.count(one) for one in ALL) == 2


def test_each_process_goes_on_from_its_own_position(tmp_path: Path, wav: bytes):
    sources = {"stream": shards(tmp_path / "tar", "tar", wav)}
    ranks = Ranks(2)

    def straight(rank: int) -> tuple[list[list[list[str]]], dict[str, Any]]:
        data = training_data(ranks, rank, sources)
        epochs = [planned(data, epoch) for epoch in range(4)]
        return epochs, data.state_dict(2)

    (first, state), (second, other_state) = ranks.run(straight)
    assert state == other_state
    state = json.loads(json.dumps(state))

    def resumed(rank: int) -> list[list[list[str]]]:
        data = training_data(ranks, rank, sources)
        data.load_state_dict(state, epoch=2, step_in_epoch=1)
        return [planned(data, epoch) for epoch in (2, 3)]

    assert ranks.run(resumed) == [first[2:], second[2:]]
    assert first != second


def test_a_stream_on_another_number_of_processes_or_another_cut_is_refused(tmp_path: Path, wav: bytes):
    sources = {"stream": shards(tmp_path / "tar", "tar", wav)}
    ranks = Ranks(2)
    state = ranks.run(lambda rank: training_data(ranks, rank, sources).state_dict(0))[0]
    with pytest.raises(ConfigError, match="written by 2 processes, this run has 1; .* launch 2 processes"):
        training_data(Ranks(1), 0, sources).load_state_dict(state, epoch=0, step_in_epoch=1)
    other = training_data(ranks, 0, sources, budget=BatchBudget(1.0))
    with pytest.raises(ConfigError, match="data.batch_seconds, .* must stay as they are"):
        other.load_state_dict(state, epoch=0, step_in_epoch=1)


def test_more_processes_than_utterances_is_one_sentence_before_any_model(tmp_path: Path, wav: bytes):
    mapped = shards(tmp_path / "map", "jsonl", wav)
    mapped.streaming, mapped.passes_per_epoch = False, 0.1
    with pytest.raises(ConfigError, match="3 utterances an epoch cannot be shared by 4 processes; launch fewer"):
        open_sources({"main": mapped}, processes=Processes(0, 4))
    assert open_sources({"main": mapped}, processes=Processes(0, 3))


def test_a_stream_with_less_than_one_utterance_for_each_process_says_so(tmp_path: Path, wav: bytes):
    path = write_tar(tmp_path / "a.tar", [{"wav": wav, "txt": b"x"}], ["a"])
    opened = open_sources({"main": SourceConfig(path=str(path), streaming=True)}, processes=Processes(1, 2))
    stream = opened["main"]
    assert isinstance(stream, UtteranceStream)
    pool = StreamPool("main", stream, 3, Limits(DataConfig(), NoTokens(), model_max_duration_s=9.0))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="the stream gave process 1 of 2 no utterance"):
        pool.draw(0)


def test_a_temperature_over_a_stream_is_refused(tmp_path: Path, wav: bytes):
    sources = {"s": shards(tmp_path / "tar", "tar", wav)}
    limits = Limits(DataConfig(), NoTokens(), model_max_duration_s=9.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="data.mix_temperature=2 needs the hours of every source, and s is streamed"):
        build_pools(sources, limits=limits, stream_window=5, seed=0, mix_temperature=2.0)


def test_what_a_stream_could_not_open_is_counted_with_the_first_batch_of_its_window(tmp_path: Path, wav: bytes):
    members = [
        {"wav": b"<html>" if i in (1, 4) else wav, "txt": b"x"} for i in range(8)
    ]  # no durations: headers are read
    write_tar(tmp_path / "a.tar", members, [f"r{i}" for i in range(8)])
    sources = {"main": SourceConfig(path=str(tmp_path / "a.tar"), streaming=True)}
    data = training_data(Ranks(1), 0, sources, num_microbatches=2)
    data.collator = Qwen3ASRCollator(tiny_processor())
    steps = list(data.steps(0))
    failed = [[one.id for one in loaded.failed] for step in steps for loaded in step]
    assert failed[0] == ["r1", "r4", "r1", "r4"]  # a window of 13 good ones of 8: twice round
    assert not any(failed[1:])
    assert not any(loaded.failed for step in data.steps(0, 1) for loaded in step)
