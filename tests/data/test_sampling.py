"""How often a clip is drawn by its expected error rate: by hand, the same on every process, and after a resume."""

from collections import Counter

import numpy as np
import pytest

from qasr_train.data.buckets import BatchBudget
from qasr_train.data.mixture import ListPool, apply_temperature, describe_shares
from qasr_train.data.sampling import ExpectedErrors, sample
from qasr_train.data.settings import DataConfig, MixBy, SampleByErrorConfig, Unpredicted
from qasr_train.data.source_pools import sampled_by_error
from qasr_train.data.training_data import TrainingData
from qasr_train.errors import ConfigError, DataError
from qasr_train.run.processes import Processes
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.table import TableBuilder
from tests.helpers import utterance

PERCENTS = [0.0, 10.0, 20.0, 60.0, 120.0]  # of the clips c0 to c4


def clips(percents: list[float] = PERCENTS) -> list:
    return [utterance(id=f"c{i}", text=f"text {i}", duration_s=1.0 + i) for i in range(len(percents))]


def expected(percents: list[float] = PERCENTS) -> ExpectedErrors:
    known = {(one.id, one.text): percent for one, percent in zip(clips(percents), percents, strict=True)}
    return ExpectedErrors(known, "runs/base", "d")


def config(**fields) -> SampleByErrorConfig:
    return SampleByErrorConfig(predictions="runs/base", **fields)


def pool(percents: list[float] = PERCENTS, *, passes: float = 1.0, **fields) -> ListPool:
    return sampled_by_error(ListPool("main", clips(percents), passes, (7, 0)), config(**fields), expected(percents))


def ids(utterances) -> list[str]:
    return [one.id for one in utterances]


def test_clips_are_drawn_in_proportion_to_their_error_rate_and_the_floor() -> None:
    # c4 is over 100 %. Weights 5, 15, 25, 65 make 110; four draws an epoch are shared out by them.
    draws = pool().expected_draws()
    assert draws == pytest.approx([4 * weight / 110 for weight in (5, 15, 25, 65)])
    counts = Counter(ids(one for epoch in range(110) for one in pool().draw(epoch)))
    assert counts == {"c0": 20, "c1": 60, "c2": 100, "c3": 260}


def test_no_clip_is_drawn_more_often_than_allowed() -> None:
    hard = pool([0.0] * 99 + [100.0], floor_percent=1.0, max_draws=3.0)
    # Weights 99 of 1 and one of 101 make 200: the hard one would come 50.5 times in an epoch of 100 draws.
    assert hard.expected_draws() == pytest.approx([0.5] * 99 + [3.0])


def test_power_zero_draws_every_clip_of_the_range_once_in_an_order_of_its_own() -> None:
    drawn = [ids(pool(power=0.0, max_percent=[]).draw(epoch)) for epoch in range(3)]
    assert [sorted(one) for one in drawn] == [[f"c{i}" for i in range(5)]] * 3
    assert drawn[0] != drawn[1]
    quarters = [one.id for epoch in range(4) for one in pool([50.0] * 8, passes=0.25).draw(epoch)]
    assert sorted(quarters) == [f"c{i}" for i in range(8)]


def test_a_curriculum_lets_harder_clips_in_by_and_by() -> None:
    harder = pool(max_percent=[10.0, 30.0, 70.0], power=0.0)
    assert [sorted(ids(harder.draw(epoch))) for epoch in range(4)] == [
        ["c0", "c1"],
        ["c0", "c1", "c2"],
        ["c0", "c1", "c2", "c3"],
        ["c0", "c1", "c2", "c3"],
    ]
    assert "from epoch 2 on draws in epoch 2" in harder.describe()


def test_clips_too_easy_or_without_prediction_are_left_out_and_counted() -> None:
    rows = [*clips(), utterance(id="new", text="not predicted")]
    kept, draws, told = sample(rows, config(min_percent=10, unpredicted=Unpredicted.drop), expected(), "main")
    assert ids(kept) == ["c1", "c2", "c3"] and draws.percents.tolist() == [10.0, 20.0, 60.0]
    assert told == "3 of 6 clips, left out 1 below 10 %, 1 above 100 %, 1 without a prediction"


def test_a_table_is_matched_as_a_list_is() -> None:
    builder = TableBuilder()
    for one in clips():
        builder.add(one)
    kept, draws, _ = sample(builder.finish(), config(), expected(), "main")
    assert ids(kept) == ["c0", "c1", "c2", "c3"] and draws.percents.tolist() == PERCENTS[:4]


def data(rank: int = 0, number: int = 1) -> TrainingData:
    machine = Processes(rank=rank, num_processes=number)
    return TrainingData({"main": pool([5.0, 50.0] * 10)}, None, BatchBudget(40.0), seed=3, processes=machine)


def test_two_processes_share_one_plan_and_a_resume_finds_it_again() -> None:
    for epoch in (0, 1):
        whole, batches = data().plan(epoch)
        drawn = Counter(whole[i].id for batch in batches for i in batch)
        parts = [data(rank, 2).plan(epoch) for rank in (0, 1)]
        assert Counter(rows[i].id for rows, batches in parts for batch in batches for i in batch) == drawn
    resumed = data()
    resumed.load_state_dict(data().state_dict(1), epoch=1, step_in_epoch=1)
    assert [list(one) for one in resumed.plan(1)[1]] == [list(one) for one in data().plan(1)[1]]


def test_a_temperature_evens_out_what_the_draws_leave() -> None:
    pools = {"main": pool([50.0] * 4), "b": ListPool("b", clips([0.0]), 1.0, (7, 1))}
    mixed = apply_temperature(pools, 1e9, MixBy.source)
    assert mixed["main"].epoch_s == pytest.approx(mixed["b"].epoch_s)
    assert describe_shares(list(mixed.values())).startswith(
        "an epoch holds 0.00 h: main 0.00 h (50.0 %), b 0.00 h (50.0 %)"
    )


def test_an_epoch_is_never_empty() -> None:
    assert len(pool([50.0] * 3, passes=0.01).draw(0)) == 1


@pytest.mark.parametrize(
    ("rows", "fields", "sentence"),
    [
        (
            [utterance(id="x")],
            {},
            "holds predictions of other rows than data.train.main: the first of its 1, 'x', has no pred",
        ),
        (
            [utterance(id="c0", text="other")],
            {},
            "'c0', has another transcript there; evaluate the model on this manifest",
        ),
        (
            [*clips(), utterance(id="x")],
            {},
            "1 of the 6 clips of data.train.main have no prediction of their id and transcript",
        ),
        (
            clips(),
            {"min_percent": 70.0},
            "in epoch 0 none of the 5 clips of data.train.main is within the range of min_p",
        ),
        (clips(), {"min_percent": 5.0, "max_percent": [8.0, 90.0]}, "in epoch 0 none of the 5 clips"),
    ],
)
def test_predictions_that_cannot_say_what_to_draw_are_refused(rows, fields, sentence) -> None:
    with pytest.raises(DataError, match=r"^data.sample_by_error.*" + sentence):
        sample(rows, config(**fields), expected(), "main")


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_percent=5 is below data.sample_by_error.min_percent=10; exchange"):
        config(min_percent=10.0, max_percent=[5.0])
    source = SourceConfig(path="m.jsonl", streaming=True)
    with pytest.raises(
        ConfigError, match=r"^data.train.main.streaming=true: a draw by error rate has to know all rows"
    ):
        DataConfig(train={"main": source}, sample_by_error=config())
    with pytest.raises(ConfigError, match=r"sources=\['x'\] matches no source of data.train \(main\)"):
        DataConfig(train={"main": source}, sample_by_error=config(sources=["x"]))
    assert DataConfig(train={"main": source, "b": SourceConfig(path="b.jsonl")}, sample_by_error=config(sources=["b"]))


def test_draws_of_a_part_are_those_of_its_clips() -> None:
    part = pool().part("main/English", np.array([1, 3]), (7, 0, 0))
    assert part.draws is not None and part.draws.percents.tolist() == [10.0, 60.0]
