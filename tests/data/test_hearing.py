"""What the first epoch has heard: summed by clip, drawn by from the second on, kept by a checkpoint."""

import pytest

from qasr_train.data.hearing import FirstEpoch, Heard
from qasr_train.data.mixture import ListPool
from qasr_train.data.settings import DataConfig, SampleByErrorConfig
from qasr_train.errors import ConfigError, DataError
from tests.helpers import utterance


def first_epoch(num_clips: int = 4, **fields: object) -> FirstEpoch:
    clips = [utterance(id=f"c{i}", text=f"text {i}", duration_s=1.0) for i in range(num_clips)]
    pools = {name: ListPool(name, clips, 1.0, (7, 0)) for name in ("main/English", "replay")}
    return FirstEpoch(SampleByErrorConfig(first_epoch=True, sources=["main"], **fields), pools)


def heard() -> list[Heard]:
    """c0 twice; c3 not at all; silence, and a clip of a source that is not drawn by errors."""
    rows = [("main", "c0", 10.0), ("main", "c0", 30.0), ("main", "c1", 0.0), ("main", "c2", 100.0)]
    return [Heard(*row) for row in [*rows, ("", "silence-1", 300.0), ("replay", "c1", 50.0)]]


def test_a_clip_has_the_mean_of_its_hearings_and_one_not_heard_that_of_the_pool() -> None:
    first = first_epoch()
    first.note(heard()[:3])
    first.note(heard()[3:])
    later = first.later()
    draws = later["main/English"].draws
    assert draws is not None and draws.percents.tolist() == pytest.approx([20.0, 0.0, 100.0, 140.0 / 4])
    # Weights with the floor of 5: 25, 5, 105, 40; four draws are shared by them, from epoch 1 on.
    assert draws.expected(1, 1.0).tolist() == pytest.approx([4 * weight / 175 for weight in (25, 5, 105, 40)])
    assert later["replay"].draws is None
    assert "1 not heard by themselves" in later["main/English"].describe()
    assert "draws in epoch 1 by error rate" in later["main/English"].describe()


def test_ranges_of_a_curriculum_begin_with_the_second_epoch() -> None:
    first = first_epoch(max_percent=[30.0, 100.0])
    first.note(heard())
    pool = first.later()["main/English"]
    drawn = [sorted({one.id for one in pool.draw(epoch)}) for epoch in (1, 2)]
    assert "c2" not in drawn[0] and "c2" in drawn[1]


def test_a_checkpoint_keeps_the_sums_to_the_bit() -> None:
    straight, stopped = first_epoch(), first_epoch()
    straight.note([*heard(), Heard("main", "c1", 1 / 3), Heard("main", "c1", 1 / 7)])
    stopped.note([*heard(), Heard("main", "c1", 1 / 3)])
    resumed = first_epoch()
    resumed.load_state_dict(stopped.state_dict())
    resumed.note([Heard("main", "c1", 1 / 7)])
    assert resumed.state_dict() == straight.state_dict()
    with pytest.raises(
        DataError, match=r"data.train.main/English: holds 5 clips, and 4 when the checkpoint was written"
    ):
        first_epoch(5).load_state_dict(stopped.state_dict())


def test_what_was_not_heard_at_all_is_refused() -> None:
    with pytest.raises(DataError, match=r"no clip of data.train.main/English was heard by itself"):
        first_epoch().later()


def test_both_ways_of_telling_at_once_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="first_epoch=true hears the clips itself, and .*predictions=runs/a tells of them"
    ):
        SampleByErrorConfig(first_epoch=True, predictions="runs/a")
    assert not DataConfig().sample_by_error.is_on
