"""From sources to batches: limits, exact positions of lists and streams, shares of processes, loader workers."""

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.batch import IGNORED
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.length_limits import Limits, measure_durations
from qasr_train.data.mixture import ListPool
from qasr_train.data.settings import DataConfig, TooLong
from qasr_train.data.source_pools import StreamPool, build_pools
from qasr_train.data.training_data import TrainingData
from qasr_train.data.workers import LoadedBatch
from qasr_train.errors import AudioError, ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.run.processes import Processes
from qasr_train.sources.settings import SourceConfig
from tests.helpers import tone, utterance, write_wav
from tests.helpers_model import tiny_processor

NUM_CLIPS = 12


@pytest.fixture(scope="module")
def collator() -> Qwen3ASRCollator:
    return Qwen3ASRCollator(tiny_processor())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips c0 ... c11 of 0.1, 0.2, ... 1.2 s, whose rows state no duration."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for i in range(NUM_CLIPS):
        write_wav(folder / f"c{i}.wav", tone(0.1 * (i + 1), frequency_hz=200 + 40 * i))
        rows.append({"id": f"c{i}", "audio": f"c{i}.wav", "text": f"clip {i}", "language": "English"})
    path = folder / "clips.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def limits(collator: Qwen3ASRCollator, *, model_max_duration_s: float = 1200.0, **fields: Any) -> Limits:
    return Limits(DataConfig(**fields), collator, model_max_duration_s=model_max_duration_s)


def pools(manifest: Path, keep: Limits, *, stream_window: int = 5, **fields: Any) -> dict[str, Any]:
    sources = {"main": SourceConfig(path=str(manifest), **fields)}
    return build_pools(sources, limits=keep, stream_window=stream_window, seed=7)


def training_data(
    manifest: Path, collator: Qwen3ASRCollator, *, streaming: bool = False, **fields: Any
) -> TrainingData:
    """Batches of at most 1.5 padded seconds."""
    chosen = pools(manifest, limits(collator), streaming=streaming)
    settings: dict[str, Any] = {"budget": BatchBudget(1.5, None), "seed": 7} | fields
    return TrainingData(pools=chosen, collator=collator, **settings)


def ids(utterances: list[Utterance]) -> list[str]:
    return [u.id for u in utterances]


def flat(lists: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


def ids_of_steps(steps: Any) -> list[list[list[str]]]:
    return [[loaded.batch.ids for loaded in step] for step in steps]


# ---- lists


def test_an_epoch_of_a_list_is_the_same_whenever_it_is_drawn(manifest: Path, collator):
    pool = pools(manifest, limits(collator))["main"]
    assert isinstance(pool, ListPool)
    third = ids(pool.draw(2))
    assert sorted(third) == sorted(f"c{i}" for i in range(NUM_CLIPS))
    assert third != ids(pool.draw(0))
    assert ids(pools(manifest, limits(collator))["main"].draw(2)) == third


def test_quarters_of_a_list_show_every_utterance_once_in_four_epochs(manifest: Path, collator):
    pool = pools(manifest, limits(collator), passes_per_epoch=0.25)["main"]
    quarters = [ids(pool.draw(epoch)) for epoch in range(4)]
    assert [len(quarter) for quarter in quarters] == [3, 3, 3, 3]
    assert sorted(flat(quarters)) == sorted(f"c{i}" for i in range(NUM_CLIPS))


def test_a_mixture_draws_each_source_by_its_passes(manifest: Path, collator):
    sources = {
        "target": SourceConfig(path=str(manifest), passes_per_epoch=2.0),
        "replay": SourceConfig(path=str(manifest), passes_per_epoch=0.5),
    }
    mixed = build_pools(sources, limits=limits(collator), stream_window=5, seed=0)
    data = TrainingData(pools=mixed, collator=collator, budget=BatchBudget(3.0, None), seed=0)
    utterances, batches = data.plan(0)
    assert len(utterances) == 24 + 6
    assert sorted(i for batch in batches for i in batch) == list(range(30))
    assert mixed["replay"].describe() == "source replay: 12 utterances, 0.00 h, 0.5 passes an epoch"


# ---- streams


def test_a_stream_gives_its_rows_in_order_window_by_window_and_begins_again(manifest: Path, collator):
    pool = pools(manifest, limits(collator), streaming=True)["main"]
    assert isinstance(pool, StreamPool)
    assert ids(pool.draw(0)) == ["c0", "c1", "c2", "c3", "c4"]
    assert ids(pool.draw(1)) == ["c5", "c6", "c7", "c8", "c9"]
    assert ids(pool.draw(2)) == ["c10", "c11", "c0", "c1", "c2"]
    assert ids(pool.draw(1)) == ["c5", "c6", "c7", "c8", "c9"]
    assert pool.draw(0)[2].duration_s == pytest.approx(0.3)


def test_any_window_of_a_stream_can_be_drawn_first(manifest: Path, collator):
    assert ids(pools(manifest, limits(collator), streaming=True)["main"].draw(2)) == ["c10", "c11", "c0", "c1", "c2"]


def test_a_stream_goes_on_from_a_saved_position_without_reading_what_came_before(manifest: Path, collator):
    straight = training_data(manifest, collator, streaming=True)
    expected = [ids_of_steps(straight.steps(epoch)) for epoch in range(4)]
    stopped = training_data(manifest, collator, streaming=True)
    for epoch in range(2):
        list(stopped.steps(epoch))
    state = json.loads(json.dumps(stopped.state_dict(2)))  # as a checkpoint keeps it

    resumed = training_data(manifest, collator, streaming=True)
    resumed.load_state_dict(state, epoch=2, step_in_epoch=1)
    assert ids_of_steps(resumed.steps(2, first_step=1)) == expected[2][1:]
    assert ids_of_steps(resumed.steps(3)) == expected[3]
    assert 0 not in resumed.pools["main"].starts


def test_a_window_is_read_from_the_stream_once(manifest: Path, collator, monkeypatch: pytest.MonkeyPatch):
    data = training_data(manifest, collator, streaming=True)
    taken: list[int] = []
    take = data.pools["main"].stream.take
    monkeypatch.setattr(data.pools["main"].stream, "take", lambda count: taken.append(count) or take(count))
    data.num_steps(0)
    list(data.steps(0))
    assert taken == [5]


def test_a_saved_stream_must_still_be_streamed(manifest: Path, collator):
    streamed = training_data(manifest, collator, streaming=True)
    list(streamed.steps(0))
    with pytest.raises(ConfigError, match=r"data.train.main: the checkpoint streamed this source"):
        training_data(manifest, collator).load_state_dict(streamed.state_dict(0), epoch=0, step_in_epoch=0)


def test_utterances_outside_the_limits_leave_no_hole_in_a_window(manifest: Path, collator, caplog):
    keep = limits(collator, max_duration_s=0.6, min_duration_s=0.25, too_long=TooLong.drop)
    pool = pools(manifest, keep, streaming=True)["main"]
    with caplog.at_level(logging.INFO):
        assert ids(pool.draw(0)) == ["c2", "c3", "c4", "c5", "c2"]
    assert "source main: dropped 6 of its next utterances: longer than 0.6 s" in caplog.text
    assert ids(pool.draw(1)) == ["c3", "c4", "c5", "c2", "c3"]


def test_a_stream_of_which_nothing_is_within_the_limits_ends(manifest: Path, collator):
    keep = limits(collator, min_duration_s=5.0)
    with pytest.raises(DataError, match=r"source 'main': none of the last 1000 utterances .*shorter than 5 s': 1000"):
        pools(manifest, keep, streaming=True)["main"].draw(0)


def test_a_file_that_cannot_be_opened_is_left_out_of_a_stream_and_told(tmp_path: Path, collator, caplog):
    rows = [{"id": f"r{i}", "audio": f"r{i}.wav", "text": "x"} for i in range(3)]
    for i in (0, 2):
        write_wav(tmp_path / f"r{i}.wav")
    (tmp_path / "r1.wav").write_text("<html>")
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = pools(path, limits(collator), streaming=True, stream_window=2)["main"]
    assert ids(pool.draw(0)) == ["r0", "r2"]
    assert "r1.wav" in caplog.text
    assert pool.keep.dropped == {"the audio cannot be opened": 1}


# ---- limits


def test_a_clip_over_the_limit_is_refused_by_id_and_place(collator):
    keep = limits(collator, max_duration_s=2.0)
    with pytest.raises(
        DataError,
        match=r"^test.jsonl:1: utterance 'long' lasts 2.5 s, over data.max_duration_s=2; .*data.too_long=drop",
    ):
        keep([utterance(id="long", duration_s=2.5)], "main")


def test_a_clip_over_the_models_own_limit_says_so(collator):
    keep = limits(collator, model_max_duration_s=20.0)
    with pytest.raises(DataError, match=r"lasts 25.0 s, over model.max_duration_s=20"):
        keep([utterance(duration_s=25.0)], "main")


def test_what_is_dropped_is_counted_by_reason(collator):
    keep = limits(collator, max_duration_s=2.0, min_duration_s=0.1, too_long=TooLong.drop)
    rows = [utterance(id=f"u{i}", duration_s=s) for i, s in enumerate([0.05, 0.1, 2.0, 2.01, 9.0, 0.0])]
    assert ids(keep(rows, "main")) == ["u1", "u2"]
    assert keep.dropped == {"shorter than 0.1 s": 2, "longer than 2 s": 2}


def test_a_source_of_which_nothing_is_left_is_refused(collator):
    keep = limits(collator, min_duration_s=3.0)
    with pytest.raises(DataError, match=r"source 'main': none of its 1 utterances is within .*shorter than 3 s': 1"):
        keep([utterance()], "main")


def test_the_limit_of_target_tokens_counts_the_tokens_the_model_is_taught(collator):
    fields = {"text": "the quick brown fox takes two small pills a day", "language": "English"}
    batch = collator.for_training([_recording(utterance(**fields))])
    num_tokens = batch.num_targets
    assert limits(collator, max_target_tokens=num_tokens)([utterance(**fields)], "main")
    with pytest.raises(
        DataError,
        match=rf"'u1' has {num_tokens} target tokens, over data.max_target_tokens={num_tokens - 1}",
    ):
        limits(collator, max_target_tokens=num_tokens - 1)([utterance(**fields)], "main")
    dropping = limits(collator, max_target_tokens=num_tokens - 1, too_long=TooLong.drop)
    assert ids(dropping([utterance(**fields), utterance(id="short", text="a")], "main")) == ["short"]
    assert dropping.dropped == {f"more than {num_tokens - 1} target tokens": 1}


def test_a_batch_that_cannot_hold_one_clip_is_refused():
    with pytest.raises(ConfigError, match=r"data.batch_seconds=20 cannot hold one clip of data.max_duration_s=30"):
        DataConfig(batch_seconds=20.0)


def test_durations_are_measured_only_where_the_manifest_does_not_say(tmp_path: Path):
    path = str(write_wav(tmp_path / "a.wav", tone(1.5)))
    rows = [
        utterance(id="stated", audio="gone.wav", duration_s=7.0),
        utterance(id="whole", audio=path, duration_s=None),
        utterance(id="from", audio=path, start_s=0.5, duration_s=None),
        utterance(id="span", audio=path, start_s=0.25, end_s=0.75, duration_s=None),
    ]
    assert [u.duration_s for u in measure_durations(rows)] == [7.0, 1.5, 1.0, 0.5]
    with pytest.raises(AudioError, match="gone.wav"):
        measure_durations([utterance(audio="gone.wav", duration_s=None)])


def _recording(one: Utterance) -> Any:
    from qasr_train.batch import Recording

    return Recording(one, tone(1.0))


# ---- batches, steps, workers


def test_steps_from_a_position_are_the_tail_of_the_epoch(manifest: Path, collator):
    data = training_data(manifest, collator, num_microbatches=2)
    whole = list(data.steps(3))
    assert len(whole) == data.num_steps(3) > 3
    assert sorted(flat(flat(ids_of_steps(whole)))) == sorted(f"c{i}" for i in range(NUM_CLIPS))
    for first in range(len(whole) + 1):
        tail = list(training_data(manifest, collator, num_microbatches=2).steps(3, first))
        assert ids_of_steps(tail) == ids_of_steps(whole)[first:]
    assert all(len(step) == 2 for step in whole[:-1])


def test_batches_keep_to_the_budget(manifest: Path, collator):
    for step in training_data(manifest, collator).steps(0):
        batch = step[0].batch
        assert float(batch.duration_s.max()) * len(batch) <= 1.5 + 1e-6


def test_two_workers_give_the_batches_of_none(manifest: Path, collator):
    alone = [step[0].batch for step in training_data(manifest, collator).steps(1)]
    shared = [step[0].batch for step in training_data(manifest, collator, num_workers=2).steps(1)]
    assert len(alone) == len(shared) > 3
    for one, other in zip(alone, shared, strict=True):
        assert one.ids == other.ids
        for name in ("input_ids", "attention_mask", "labels", "input_features", "input_features_mask", "duration_s"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("settings", [{}, {"streaming": True}, {"mix_temperature": 3.0}])
@pytest.mark.parametrize("num_processes", [1, 2])
def test_batches_name_the_sources_of_their_rows(manifest: Path, collator, settings: dict[str, Any], num_processes: int):
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [{**row, "id": f"r{row['id']}", "language": ["English", "French"][i % 2]} for i, row in enumerate(rows)]
    replay = manifest.with_name("replay.jsonl")
    replay.write_text("".join(json.dumps(row) + "\n" for row in rows))
    streaming = settings.get("streaming", False)
    sources = {
        "target": SourceConfig(path=str(manifest)),
        "replay": SourceConfig(path=str(replay), streaming=streaming),
    }
    temperature = settings.get("mix_temperature")
    chosen = build_pools(sources, limits=limits(collator), stream_window=6, seed=7, mix_temperature=temperature)
    data = TrainingData(
        pools=chosen, collator=collator, budget=BatchBudget(1.5, None), seed=7, processes=Processes(0, num_processes)
    )
    found = {
        (name, source)
        for step in data.steps(0)
        for loaded in step
        for name, source in zip(loaded.batch.ids, loaded.batch.sources, strict=True)
    }
    assert {source for _, source in found} == {"target", "replay"}
    assert all(name.startswith("rc") == (source == "replay") for name, source in found)


@pytest.mark.parametrize("num_processes", [2, 3])
def test_processes_share_an_epoch_without_overlap_or_loss(manifest: Path, collator, num_processes: int):
    whole = ids(training_data(manifest, collator).plan(1)[0])
    shares = []
    for rank in range(num_processes):
        data = training_data(manifest, collator, processes=Processes(rank, num_processes))
        utterances, batches = data.plan(1)
        shares.append([utterances[i].id for batch in batches for i in batch])
        assert data.num_steps(1) == len(batches)
    assert sorted(flat(shares)) == sorted(whole)
    counts = {
        training_data(manifest, collator, processes=Processes(r, num_processes)).num_steps(1)
        for r in range(num_processes)
    }
    assert len(counts) == 1


def broken_data(tmp_path: Path, manifest: Path, collator, broken: set[str], **fields: Any) -> TrainingData:
    """The data of `manifest` in which the files of `broken` have gone since they were measured."""
    data = training_data(manifest, collator, **fields)
    pool = data.pools["main"]
    pool.utterances = [
        replace(u, audio=str(tmp_path / f"{u.id}.wav")) if u.id in broken else u for u in pool.utterances
    ]
    return data


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_clip_that_fails_in_a_worker_is_handed_over_by_name(
    tmp_path: Path, manifest: Path, collator, num_workers: int
):
    data = broken_data(tmp_path, manifest, collator, {"c3"}, num_workers=num_workers)
    loaded: list[LoadedBatch] = [step[0] for step in data.steps(0)]
    failed = [one for batch in loaded for one in batch.failed]
    assert [one.id for one in failed] == ["c3"]
    assert "c3.wav" in failed[0].reason
    read = sorted(utterance_id for one in loaded for utterance_id in one.batch.ids)
    assert read == sorted(f"c{i}" for i in range(NUM_CLIPS) if i != 3)


def test_a_batch_whose_clips_all_fail_has_no_targets_and_no_seconds(tmp_path: Path, manifest: Path, collator):
    data = broken_data(tmp_path, manifest, collator, {f"c{i}" for i in range(NUM_CLIPS)})
    loaded = [step[0] for step in data.steps(0)]
    assert loaded
    for one in loaded:
        assert one.batch.num_targets == 0
        assert (one.batch.labels == IGNORED).all()
        assert (one.batch.ids, one.batch.audio_s, len(one.batch)) == ([], 0.0, 0)
    assert sorted(f.id for one in loaded for f in one.failed) == sorted(f"c{i}" for i in range(NUM_CLIPS))


def test_a_process_without_a_row_still_has_a_batch_to_run(manifest: Path, collator):
    shares = [
        training_data(manifest, collator, budget=BatchBudget(1.5, 1), processes=Processes(rank, 5)) for rank in range(5)
    ]  # 12 rows for 5 processes: three batches empty
    loaded = [step[0] for data in shares for step in data.steps(0)]
    assert len(loaded) == 15
    assert sorted(one.batch.num_targets == 0 for one in loaded) == [False] * 12 + [True] * 3
    assert not any(one.failed for one in loaded)
