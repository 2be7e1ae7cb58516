"""Which utterances go into which batch."""

import numpy as np
import pytest

from qasr_train.data.buckets import BatchBudget, epoch_indices, padded_fraction, plan_batches, sorted_batches
from qasr_train.errors import ConfigError
from scripts.bench.bench_batches import mixes


def durations(num_items: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).lognormal(1.5, 0.7, num_items).clip(0.3, 30).tolist()


def test_every_utterance_is_in_exactly_one_batch():
    plan = plan_batches(durations(1000), BatchBudget(120, None), seed=(0, 0))
    assert sorted(i for batch in plan for i in batch) == list(range(1000))


def test_no_batch_exceeds_the_padded_budget_or_the_row_limit():
    seconds = durations(1000)
    plan = plan_batches(seconds, BatchBudget(100, 16), seed=(0, 0))
    assert all(len(batch) * max(seconds[i] for i in batch) <= 100 for batch in plan)
    assert max(len(batch) for batch in plan) == 16


def test_shares_of_a_batch_count_as_their_windows():
    """Of clips of a second half counts as half a minute: (1 + 30) / 2 seconds a row, six rows of 93 s, a seventh is too much."""
    budget = BatchBudget(100.0, windows=((0.5, 0.5), (0.5, 30.0)))
    assert budget.counted_s(1.0) == pytest.approx(15.5)
    assert budget.counted_s(40.0) == pytest.approx(40.0)
    assert [len(batch) for batch in sorted_batches([1.0] * 14, budget)] == [2, 6, 6]
    assert [len(batch) for batch in sorted_batches([1.0] * 14, BatchBudget(100.0))] == [14]


def test_where_no_rows_are_apart_all_count_as_the_widest_window():
    """A batch with one full window is then full windows alone: of 100 s three."""
    windows = ((0.96, 0.5), (0.04, 30.0))
    apart, together = (BatchBudget(100.0).hearing(windows, are_apart=are_apart) for are_apart in (True, False))
    assert apart.counted_s(1.0) == pytest.approx(0.96 + 1.2)
    assert [len(batch) for batch in sorted_batches([1.0] * 6, together)] == [3, 3]


@pytest.mark.parametrize("mix", ["LibriSpeech-like", "CommonVoice-like", "long-tail"])
@pytest.mark.parametrize(("batch_seconds", "most"), [(60, 0.08), (120, 0.08), (480, 0.05), (1000, 0.05)])
def test_little_of_a_batch_is_padding(mix: str, batch_seconds: float, most: float):
    # facts: 25-68 % without buckets on such mixes
    seconds = mixes(20_000)[mix].tolist()
    plan = plan_batches(seconds, BatchBudget(batch_seconds, None), seed=(0, 0))
    assert sorted(i for batch in plan for i in batch) == list(range(20_000))
    assert padded_fraction(seconds, plan) < most


def test_padded_fraction_by_hand():
    # two batches: (1 + 3 of 2 * 3) and (2 of 2): 6 of 8 seconds are real
    assert padded_fraction([1.0, 3.0, 2.0], [[0, 1], [2]]) == pytest.approx(0.25)


def test_same_seed_same_plan_and_another_epoch_another():
    seconds = durations(300)
    plans = [plan_batches(seconds, BatchBudget(60, None), seed=(7, epoch)) for epoch in (0, 0, 1)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


@pytest.mark.parametrize("num_processes", [2, 3, 8])
def test_processes_get_equally_many_batches(num_processes: int):
    plan = plan_batches(durations(101), BatchBudget(60, None), seed=(0, 0), num_processes=num_processes)
    assert len(plan) % num_processes == 0
    assert sorted(i for batch in plan for i in batch) == list(range(101))


def test_single_rows_that_do_not_divide_are_made_up_with_empty_batches():
    plan = plan_batches(durations(10), BatchBudget(60, 1), seed=(0, 0), num_processes=4)
    assert sorted(plan) == [[], [], *([i] for i in range(10))]


def test_fewer_utterances_than_processes_is_refused():
    with pytest.raises(ConfigError, match="3 utterances cannot be shared by 4 processes"):
        plan_batches([1.0, 1.0, 1.0], BatchBudget(60, None), seed=(0,), num_processes=4)


def test_sorted_batches_begin_with_the_longest():
    assert sorted_batches([1.0, 5.0, 2.0], BatchBudget(5, None)) == [[1], [0, 2]]


def test_a_quarter_pass_shows_everything_once_in_four_epochs():
    epochs = [epoch_indices(40, passes=0.25, epoch=e, seed=(0,)) for e in range(4)]
    assert [len(e) for e in epochs] == [10, 10, 10, 10]
    assert sorted(i for e in epochs for i in e) == list(range(40))


def test_two_passes_show_everything_twice_and_uneven_shares_add_up():
    assert sorted(epoch_indices(5, passes=2, epoch=3, seed=(0,))) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    uneven = [i for e in range(10) for i in epoch_indices(7, passes=0.3, epoch=e, seed=(1,))]
    assert sorted(uneven) == sorted(list(range(7)) * 3)


def test_a_source_is_never_silently_absent():
    assert all(len(epoch_indices(3, passes=0.01, epoch=e, seed=(0,))) >= 1 for e in range(5))
