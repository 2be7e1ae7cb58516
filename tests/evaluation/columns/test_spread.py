"""The test of spread: p values that can be counted by hand, what cannot be told, and figures that do not depend on luck."""

import numpy as np
import pytest

from qasr_train.evaluation.columns.spread import spread_test
from qasr_train.evaluation.scoring.significance import independent_units


def test(errors, groups, speakers=None, strata=None, lengths=None):
    n = len(errors)
    units = independent_units(speakers or [None] * n)
    counts = np.array(errors), np.array(lengths or [10] * n)
    return spread_test(counts, groups, units, strata or ["one"] * n)


test.__test__ = False


def test_the_p_value_is_the_share_of_ways_to_deal_out_the_groups():
    # Six speakers, three in each group; all errors are with the second. Of 20 ways to choose three of six, 2 part them so.
    found = test([0, 0, 0, 5, 5, 5], list("aaabbb"), [f"s{i}" for i in range(6)])
    assert found.p_value == pytest.approx(2 / 20, abs=0.015)
    assert (found.unit, found.num_units, found.points) == ("speaker", 6, 50.0)
    # One-sided, that b is worse: only one of the 20 ways.
    assert found.worse["b"] == pytest.approx(2 / 20, abs=0.015)  # or a is, as far: the test is of all groups together
    assert found.worse["a"] == 1.0


def test_where_speakers_are_in_both_groups_their_signs_are_drawn():
    # Each of six speakers has 0 of 10 wrong in a and 4 of 10 in b: of 2^6 = 64 ways to sign them two are as far apart.
    speakers = [f"s{i}" for i in range(6)] * 2
    found = test([0] * 6 + [4] * 6, ["a"] * 6 + ["b"] * 6, speakers)
    assert found.p_value == pytest.approx(2 / 64, abs=0.01)
    assert "signs of 6 speakers" in found.because


def test_equal_groups_are_not_told_apart():
    assert test([1, 2, 3, 1, 2, 3], list("aaabbb"), [f"s{i}" for i in range(6)]).p_value == 1.0


def test_what_sets_differ_by_is_not_what_groups_differ_by():
    # Set x is easy, set y hard, and group b has more of y; inside of each set groups are alike.
    errors, sets, groups = [1, 1, 1, 1, 6, 6, 6, 6], list("xxxxyyyy"), list("aaababbb")
    speakers = [f"s{i}" for i in range(8)]
    assert test(errors, groups, speakers, sets).p_value == 1.0
    assert test(errors, groups, speakers).points == 25.0  # a: 9 of 40, b: 19 of 40


@pytest.mark.parametrize(
    ("groups", "strata", "because"),
    [
        ("aaaa", "xxxx", "all are of one group"),
        ("aabb", "xxyy", "groups cannot be told from sets"),
        ("abcd", "xxxx", "each group is one speaker"),
    ],
)
def test_what_cannot_be_told_says_why(groups, strata, because):
    found = test([1, 2, 3, 4], list(groups), [f"s{i}" for i in range(4)], list(strata))
    assert found.p_value is None
    assert because in found.because
    assert found.worse == {}


def test_without_reference_words_there_is_nothing_to_test():
    found = test([1, 1, 0, 0], list("aabb"), lengths=[0, 0, 0, 0])
    assert (found.p_value, found.points, found.because) == (None, None, "no reference words")


def test_many_units_take_fewer_draws_in_pieces():
    groups = [("a", "b")[i % 2] for i in range(21_000)]
    found = test([0, 1] * 10_500, groups)
    assert found.because.endswith("199 draws")
    assert found.p_value == 1 / 200  # every error is in b: no draw comes near


def test_the_same_figures_give_the_same_p():
    errors, groups = [0, 3, 1, 4, 1, 5, 2, 6], list("aabbccdd")
    assert test(errors, groups) == test(errors, groups)


def test_false_alarms_stay_near_what_is_promised():
    rng = np.random.default_rng(1)
    speakers = [f"s{i}" for i in range(12)]
    alarms = 0
    for _ in range(60):
        errors = rng.binomial(100, np.minimum(0.9, 0.1 * np.exp(0.5 * rng.standard_normal(12))))
        alarms += test(list(errors), list("aaabbbcccddd"), speakers, lengths=[100] * 12).p_value < 0.05
    assert alarms <= 9  # 60 draws: 3 expected; 10 or more come by chance in 0.03 % of such tests
