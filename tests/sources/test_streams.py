"""Streams shared by several processes: every shard is read by one of them, positions are exact, ends are noticed."""

import json
import logging
from pathlib import Path
from typing import Any

import datasets
import pytest

from qasr_train.audio.decode import load_audio
from qasr_train.errors import ConfigError
from qasr_train.run.processes import Processes
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import stream_utterances
from tests.helpers_sources import ALL, shards


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
