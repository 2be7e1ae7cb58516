"""The plan of an epoch, also where it is gone on with by other processes: nothing twice, nothing missing."""

from itertools import chain

import numpy as np
import pytest

from qasr_train.data.buckets import BatchBudget, plan_batches
from qasr_train.data.epoch_plan import DoneSteps, PackedBatches, PlanShape, make_up_number, plan_epoch
from qasr_train.data.length_limits import Limits
from qasr_train.data.mixture import ListPool
from qasr_train.data.training_data import TrainingData
from qasr_train.errors import ConfigError, DataError
from qasr_train.run.processes import Processes
from qasr_train.sources.table import Joined, TableBuilder
from tests.helpers import utterance

DURATIONS_S = np.random.default_rng(3).uniform(0.5, 9.0, 400)


def data(rank: int = 0, num_processes: int = 1, *, num_microbatches: int = 1, batch_seconds: float = 30.0, **fields):
    """Batches of one process; nothing is decoded, so no collator is needed."""
    rows = [utterance(id=f"u{i}", duration_s=float(s)) for i, s in enumerate(fields.pop("durations_s", DURATIONS_S))]
    return TrainingData(
        pools={"main": ListPool("main", rows, fields.pop("passes", 1.0), (7, 0))},
        collator=None,  # type: ignore[arg-type]
        budget=BatchBudget(batch_seconds, None),
        seed=7,
        num_microbatches=num_microbatches,
        processes=Processes(rank, num_processes),
        **fields,
    )


def trained(run: TrainingData, epoch: int, first: int, last: int) -> list[str]:
    """Ids of the steps first ... last - 1 of an epoch on one process."""
    num_before = run.num_steps(epoch) - -(-len(run.plan(epoch)[1]) // run.num_microbatches)
    utterances, batches = run.plan(epoch)
    chosen = batches[(first - num_before) * run.num_microbatches : (last - num_before) * run.num_microbatches]
    return [utterances[i].id for batch in chosen for i in batch]


def run_in_legs(legs: list[dict], epoch: int, *, passes: float = 1.0) -> tuple[list[str], list[int]]:
    """(ids trained on, steps an epoch has in the eyes of each leg); a leg is a shape and the steps after which it stops."""
    state, step, seen, totals = {}, 0, [], []
    for leg in legs:
        settings = dict(leg)
        stop = settings.pop("steps", None)
        num_processes = settings.pop("num_processes", 1)
        ranks = [data(rank, num_processes, passes=passes, **settings) for rank in range(num_processes)]
        for run in ranks:
            run.load_state_dict(state, epoch=epoch, step_in_epoch=step)
        counts = {run.num_steps(epoch) for run in ranks}
        assert len(counts) == 1
        total = counts.pop()
        last = total if stop is None else step + stop
        seen += list(chain.from_iterable(trained(run, epoch, step, last) for run in ranks))
        state, step = ranks[0].state_dict(epoch), last
        totals.append(total)
    return seen, totals


CHANGES = {
    "1, 2, 3 processes": [{"steps": 20}, {"num_processes": 2, "steps": 9}, {"num_processes": 3}],
    "3, 1, 2 processes": [{"num_processes": 3, "steps": 5}, {"steps": 10}, {"num_processes": 2}],
    "other microbatches": [{"num_microbatches": 3, "steps": 7}, {"num_microbatches": 2}],
    "other batches": [{"batch_seconds": 60.0, "steps": 11}, {"batch_seconds": 20.0, "num_processes": 4}],
    "back again": [{"steps": 12}, {"num_processes": 2, "steps": 3}, {"steps": 4}, {"num_processes": 2}],
    "the same": [{"num_processes": 2, "steps": 9}, {"num_processes": 2, "steps": 1}, {"num_processes": 2}],
}


@pytest.mark.parametrize("name", CHANGES)
def test_no_utterance_of_the_epoch_comes_twice_or_is_missed(name: str):
    seen, _ = run_in_legs(CHANGES[name], epoch=2)
    assert len(seen) == 400
    assert set(seen) == {f"u{i}" for i in range(400)}


def test_a_source_of_two_passes_still_gives_every_utterance_twice():
    seen, _ = run_in_legs(CHANGES["1, 2, 3 processes"], epoch=1, passes=2.0)
    assert sorted(seen) == sorted([f"u{i}" for i in range(400)] * 2)


def test_as_many_processes_go_on_with_the_very_same_batches():
    _, totals = run_in_legs(CHANGES["the same"], epoch=2)
    assert len(set(totals)) == 1
    straight, resumed = data(1, 2), data(1, 2)
    resumed.load_state_dict(straight.state_dict(2), epoch=2, step_in_epoch=9)
    assert list(resumed.plan(2)[1]) == list(straight.plan(2)[1])


def test_twice_the_processes_take_half_the_remaining_steps():
    _, (alone, both) = run_in_legs([{"steps": 20}, {"num_processes": 2}], epoch=0)
    assert both - 20 == pytest.approx((alone - 20) / 2, abs=1)


@pytest.mark.parametrize("num_left", [1, 2, 5])
def test_the_tail_of_an_epoch_may_hold_less_than_there_are_processes(num_left: int):
    # one utterance a batch: 40 steps in all
    durations_s = np.full(40, 10.0)
    first = data(durations_s=durations_s, batch_seconds=10.0)
    state = first.state_dict(0)
    seen = trained(first, 0, 0, 40 - num_left)
    for rank in range(8):
        run = data(rank, 8, durations_s=durations_s, batch_seconds=10.0)
        run.load_state_dict(state, epoch=0, step_in_epoch=40 - num_left)
        assert run.num_steps(0) == 40 - num_left + 1
        seen += trained(run, 0, 40 - num_left, 41 - num_left)
    assert sorted(seen) == sorted(f"u{i}" for i in range(40))


def test_the_next_epoch_knows_nothing_of_the_change():
    run = data(0, 2)
    run.load_state_dict(data().state_dict(0), epoch=0, step_in_epoch=20)
    assert list(run.plan(1)[1]) == list(data(0, 2).plan(1)[1])
    at_the_end = data(0, 2)
    at_the_end.load_state_dict(data().state_dict(0), epoch=1, step_in_epoch=0)
    assert list(at_the_end.plan(1)[1]) == list(data(0, 2).plan(1)[1])


def test_other_utterances_than_before_are_refused_in_the_middle_of_an_epoch():
    state = data().state_dict(0)
    changed = data(durations_s=DURATIONS_S[:-1])
    with pytest.raises(DataError, match="the sources hold other utterances than when the checkpoint was written"):
        changed.load_state_dict(state, epoch=0, step_in_epoch=3)
    changed.load_state_dict(state, epoch=1, step_in_epoch=0)


def test_a_plan_without_a_past_is_that_of_plan_batches():
    shape = PlanShape(2, 3, BatchBudget(30.0, 5))
    expected = plan_batches(DURATIONS_S, BatchBudget(30.0, 5), seed=(1, 2), num_processes=2)
    assert plan_epoch(DURATIONS_S, shape, seed=(1, 2)) == expected


def test_what_was_done_is_what_the_first_steps_held():
    shape, other = PlanShape(2, 2, BatchBudget(30.0, None)), PlanShape(1, 1, BatchBudget(30.0, None))
    first = plan_epoch(DURATIONS_S, shape, seed=(1, 0))
    rest = plan_epoch(DURATIONS_S, other, seed=(1, 0), done=[DoneSteps(shape, 3)])
    seen = set(chain.from_iterable(first[: 3 * 2 * 2]))
    assert set(chain.from_iterable(rest)) == set(range(400)) - seen


def test_more_processes_than_utterances_is_refused_at_the_start():
    with pytest.raises(ConfigError, match="3 utterances cannot be shared by 4 processes"):
        plan_epoch(np.ones(3), PlanShape(4, 1, BatchBudget(30.0, None)), seed=(0, 0))


def test_batches_are_made_up_to_a_number_by_halving_the_largest():
    assert make_up_number([[1, 2, 3, 4], [5]], 3) == [[1, 2], [3, 4], [5]]
    assert make_up_number([[1, 2], [5]], 4) == [[1], [2], [5], []]
    assert make_up_number([], 2) == [[], []]
    assert make_up_number([[1]], 1) == [[1]]


def test_packed_batches_are_the_batches():
    batches = [[3, 1], [], [2], [5, 4, 0]]
    packed = PackedBatches(batches)
    assert list(packed) == batches
    assert packed[-1] == [5, 4, 0]
    assert list(packed[1:3]) == [[], [2]]
    assert list(PackedBatches([])) == []
    with pytest.raises(IndexError):
        packed[4]


def test_joined_lists_and_tables_are_one_list():
    rows = [utterance(id=f"u{i}", duration_s=1.0 + i) for i in range(5)]
    builder = TableBuilder()
    for row in rows[2:]:
        builder.add(row)
    joined = Joined([rows[:2], [], builder.finish()])
    assert list(joined) == rows
    assert joined[-1] == rows[4]
    assert joined[1:3] == rows[1:3]
    assert joined.durations_s.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_limits_treat_a_table_as_they_treat_a_list():
    from qasr_train.data.settings import DataConfig, TooLong

    class Tokens:
        max_target_tokens = None

        def num_target_tokens(self, one) -> int:
            return len(one.text.split())

    rows = [utterance(id=f"u{i}", duration_s=0.1 * i, text="a " * i) for i in range(40)]
    builder = TableBuilder()
    for row in rows:
        builder.add(row)
    config = DataConfig(min_duration_s=0.45, max_duration_s=3.0, max_target_tokens=20, too_long=TooLong.drop)
    of_list, of_table = (Limits(config, Tokens(), model_max_duration_s=99.0) for _ in range(2))
    kept = of_list(rows, "main")
    assert [u.id for u in kept] == [f"u{i}" for i in range(5, 21)]  # 20 tokens at most
    assert [u.id for u in of_table(builder.finish(), "main")] == [u.id for u in kept]
    assert of_table.dropped == of_list.dropped == {
        "shorter than 0.45 s": 5, "more than 20 target tokens": 10, "longer than 3 s": 9,
    }  # fmt: skip


def test_max_steps_ends_a_run_whatever_num_epochs_says_and_the_difference_is_said(tmp_path):
    from qasr_train.training.trainer import count_steps

    said: list[str] = []
    per_epoch = data().num_steps(0)
    assert count_steps(3.0, 7 * per_epoch, data(), say=said.append) == 7 * per_epoch
    assert said == [
        f"note: trainer.max_steps={7 * per_epoch} ends this run, after 7.0 epochs; trainer.num_epochs=3 (about {3 * per_epoch} "
        "steps) does not count beside it"
    ]
    assert count_steps(3.0, 5, data()) == count_steps(None, 5, data()) == 5
    assert count_steps(None, 5, data(), say=said.append) == 5 and len(said) == 1


def test_a_run_that_began_under_the_rule_of_whichever_comes_first_ends_by_it(tmp_path):
    import json

    from qasr_train.training.trainer import count_steps

    (tmp_path / "state").mkdir()
    state = {"step": 2, "epoch": 0, "step_in_epoch": 2, "data": data().state_dict(0)}
    whole = sum(data().num_steps(epoch) for epoch in range(3))
    for rule, expected in (({}, whole), ({"max_steps_alone": True}, 7 * whole)):
        (tmp_path / "state" / "train_state.json").write_text(json.dumps(state | rule))
        assert count_steps(3.0, 7 * whole, data(), tmp_path) == expected


def test_the_steps_of_a_resumed_run_are_those_done_and_those_left(tmp_path):
    import json

    from qasr_train.training.trainer import count_steps

    alone = data()
    per_epoch = [alone.num_steps(epoch) for epoch in range(3)]
    done = per_epoch[0] + 20
    (tmp_path / "state").mkdir()
    state = {"step": done, "epoch": 1, "step_in_epoch": 20, "data": alone.state_dict(1)}
    (tmp_path / "state" / "train_state.json").write_text(json.dumps(state))
    assert count_steps(3.0, None, data()) == count_steps(3.0, None, data(), tmp_path) == sum(per_epoch)
    twice = data(0, 2)
    left = sum(1 for _ in twice.plan(2)[1])
    resumed = data(0, 2)
    resumed.load_state_dict(state["data"], epoch=1, step_in_epoch=20)
    left += resumed.num_steps(1) - 20
    assert count_steps(3.0, None, data(0, 2), tmp_path) == done + left < sum(per_epoch)
