"""Searching the largest batch: with an invented memory, and real passes on the two-layer model."""

from pathlib import Path

import pytest
import torch

from qasr_train.data.buckets import BatchBudget
from qasr_train.errors import ConfigError
from qasr_train.training import batch_search
from qasr_train.training.batch_search import Trial, find_budget, refuse_batch_search, search
from qasr_train.training.learner import Learner
from tests.helpers_trainer import make_clips, make_trainer, weights


@pytest.fixture
def no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each trial the search has Python look through all its objects: with all of the tests loaded, a quarter second."""
    monkeypatch.setattr(batch_search.gc, "collect", lambda: 0)


def memory_of(num_rows: int, tried: list[int]):  # type: ignore[no-untyped-def]
    """A machine that holds so many rows."""

    def try_rows(rows: int) -> None:
        tried.append(rows)
        if rows > num_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return try_rows


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("num_rows", "expected_rows"), [(1, 1), (2, 2), (5, 5), (16, 16), (23, 23), (100, 100), (127, 124)]
)
def test_the_largest_that_fits_is_found_to_a_sixteenth(num_rows: int, expected_rows: int):
    tried: list[int] = []
    found_s = search(memory_of(num_rows, tried), max_duration_s=30.0, max_rows=4096)
    assert found_s == max(30.0, int(0.9 * expected_rows * 30.0))
    assert max(tried) <= 2 * num_rows + 1  # never far over
    assert len(tried) <= 14


@pytest.mark.usefixtures("no_collector")
def test_a_limit_of_rows_ends_the_search():
    tried: list[int] = []
    assert search(memory_of(10**6, tried), max_duration_s=10.0, max_rows=12) == int(0.9 * 12 * 10)
    assert max(tried) == 12


def test_a_clip_that_does_not_fit_is_one_sentence():
    with pytest.raises(ConfigError, match="one clip of data.max_duration_s=30 does not fit"):
        search(memory_of(0, []), max_duration_s=30.0, max_rows=64)


def test_another_failure_is_not_taken_for_a_full_memory():
    def break_down(rows: int) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        search(break_down, max_duration_s=30.0, max_rows=64)


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
def test_the_search_changes_nothing_and_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str):
    """Real passes; memory is full from the fourth row on."""
    trainer = make_trainer(tmp_path, make_clips(tmp_path, 2), family=family)
    before, generator = weights(trainer), torch.get_rng_state()
    call, tried = Trial.__call__, []

    def limited(trial: Trial, rows: int) -> None:
        tried.append(rows)
        call(trial, rows)
        if rows > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trial, "__call__", limited)
    shared = trainer.step.shared
    learner = Learner(shared.accelerator, shared.model, trainer.step.objective)
    found = [find_budget(tmp_path, learner, BatchBudget(99.0, 50), max_duration_s=2.0) for _ in range(2)]
    assert found == 2 * [BatchBudget(5.0, 50)]  # nine tenths of three times two seconds
    assert tried == [1, 2, 4, 3]
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())
    assert all(p.grad is None for p in shared.model.module.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def test_it_is_refused_without_a_gpu_and_with_shards():
    with pytest.raises(ConfigError, match="on a CPU the system kills"):
        refuse_batch_search(torch.device("cpu"), is_sharded=False)
    with pytest.raises(ConfigError, match="with FSDP or DeepSpeed every process needs the others"):
        refuse_batch_search(torch.device("cuda"), is_sharded=True)
