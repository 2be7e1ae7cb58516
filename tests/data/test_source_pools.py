"""Pools of streamed sources in a run of several processes."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qasr_train.data.buckets import BatchBudget
from qasr_train.data.length_limits import Limits
from qasr_train.data.settings import DataConfig
from qasr_train.data.source_pools import StreamPool, build_pools, open_sources
from qasr_train.data.training_data import TrainingData
from qasr_train.errors import ConfigError, DataError
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.run.processes import Processes
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.streams import UtteranceStream
from tests.helpers import tone, write_wav
from tests.helpers_model import tiny_processor
from tests.helpers_sources import ALL, shards, write_tar


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_wav(tmp_path_factory.mktemp("wav") / "a.wav", tone(0.25)).read_bytes()


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
    max_target_tokens = None

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
