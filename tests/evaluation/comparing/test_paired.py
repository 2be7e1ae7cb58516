"""The paired test, what it could have shown and what would decide, against hand-made figures, scipy's, and simulation."""

import math

import numpy as np
import pytest

from qasr_train.evaluation.comparing.paired import more_units, paired_test
from qasr_train.evaluation.scoring.significance import error_rate_interval


def _counts(*values):
    return np.asarray(values, dtype=np.int64)


def _speakers(num_speakers, num_utterances):
    return [f"s{number % num_speakers}" for number in range(num_utterances)]


def test_paired_test_by_hand():
    # Differences per speaker of 10 words: -1 -2 0 -1 -1; mean -1, sample deviation sqrt(0.5), so -10 points with a standard
    # error of 3.1623, t = sqrt(10) with 4 degrees of freedom. Closed form of the t distribution: p = 0.034109.
    lengths = _counts(5, 5).repeat(5)
    speakers = ["a", "b", "c", "d", "e"] * 2
    baseline = _counts(2, 2, 1, 1, 2, 1, 2, 1, 2, 1)
    candidate = _counts(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    test = paired_test((baseline, lengths), (candidate, lengths), speakers)
    assert (test.baseline_percent, test.candidate_percent, test.delta_percent) == (30.0, 20.0, -10.0)
    assert test.error_points == pytest.approx(3.1623, abs=1e-4)
    assert test.p_value == pytest.approx(0.034109, abs=1e-6)
    # t(4) is 2.776445 at 97.5 %, 2.131847 at 95 %, 0.940965 at 80 %.
    assert (test.interval.low_percent, test.interval.high_percent) == pytest.approx((-18.7799, -1.2201), abs=1e-3)
    assert test.one_sided_upper_percent == pytest.approx(-3.2585, abs=1e-3)
    assert test.detectable_points == pytest.approx(11.7555, abs=1e-3)
    assert (test.interval.unit, test.interval.num_units) == ("speaker", 5)
    assert test.num_more_units == 0  # it is shown


@pytest.mark.parametrize(
    ("effect", "error", "num_units", "tail", "expected"),
    [
        (2, 1.5, 10, 0.025, 37),
        (2, 1.5, 10, 0.05, 27),  # one-sided
        (1, 1, 9, 0.025, 64),
        (0.5, 1, 30, 0.025, 914),
        (3, 1.2, 7, 0.0125, 7),
        (10, 9, 12, 0.025, 67),
        (10, 3.1623, 3, 0.025, 2),
    ],
)
def test_units_that_would_show_an_effect_agree_with_the_noncentral_t(effect, error, num_units, tail, expected):
    # The smallest n with scipy.stats.nct.sf(t.ppf(1 - tail, n - 1), n - 1, effect / error * sqrt(n / num_units)) >= 0.8.
    assert more_units(effect, error, num_units, tail) == expected


def test_units_that_no_spread_can_tell():
    assert more_units(10.0, math.inf, 1, 0.025) is None
    assert more_units(0.0, 1.0, 9, 0.025) is None
    # All alike: signs need 2 / 2**n < 0.05, so six units in all.
    assert more_units(10.0, 0.0, 2, 0.025) == 4
    # The more the spread, the more units; where the effect is nothing beside it, a number that nobody counts, at once.
    assert more_units(1e-6, 10.0, 9, 0.025) > 10_000_000


@pytest.mark.parametrize("num_units", [2, 3, 4])
def test_so_few_units_show_no_difference_however_large(num_units):
    lengths = _counts(*[10] * num_units)
    test = paired_test((lengths, lengths), (_counts(*range(num_units)), lengths), [None] * num_units)
    assert test.detectable_points is None and test.p_value >= 2 / 2**num_units
    loose = paired_test((lengths, lengths), (_counts(*range(num_units)), lengths), [None] * num_units, confidence=0.49)
    assert loose.detectable_points is not None or num_units == 2


@pytest.mark.parametrize("num_units", [1, 2, 3, 4, 7, 60])
def test_nothing_that_differs_alike_is_surer_than_signs(num_units):
    lengths = _counts(*[5] * num_units)
    test = paired_test((lengths // 2, lengths), (0 * lengths, lengths), [None] * num_units)
    assert test.p_value == pytest.approx(max(1e-12, 2 / 2**num_units))
    assert (test.interval.high_percent < 0) is (test.p_value < 0.05)
    assert test.interval.low_percent < test.interval.high_percent


def test_a_system_with_itself_is_no_difference_within_what_so_many_utterances_show():
    errors, lengths = _counts(1, 0, 2, 1), _counts(5, 5, 5, 5)
    test = paired_test((errors, lengths), (errors, lengths), [None] * 4)
    assert (test.delta_percent, test.p_value) == (0.0, 1.0)
    # None of 4 utterances: at most 1 - 0.025 ** (1 / 4) = 60.24 % of them, an error each, of five words: 12.05 points.
    assert test.interval.high_percent == pytest.approx(12.05, abs=0.01)
    assert paired_test((errors, 0 * lengths), (errors, 0 * lengths), [None] * 4) is None


def test_units_without_anything_to_count_are_none():
    test = paired_test(
        (_counts(1, 0, 2, 0), _counts(2, 0, 2, 0)), (_counts(1, 0, 0, 0), _counts(2, 0, 2, 0)), [None] * 4
    )
    assert test.interval.num_units == 2


def test_a_steady_small_gain_is_seen_that_unpaired_intervals_do_not_show():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 20, 400)
    baseline = rng.binomial(lengths, rng.beta(1, 4, size=400))  # utterances differ widely
    candidate = np.maximum(baseline - (np.arange(400) % 10 == 0), 0)  # one error fewer in every tenth
    test = paired_test((baseline, lengths), (candidate, lengths), [None] * 400)
    assert test.delta_percent == round(100 * (candidate.sum() - baseline.sum()) / lengths.sum(), 4)
    assert test.delta_percent < test.one_sided_upper_percent < test.interval.high_percent < 0
    assert test.p_value < 0.001
    alone = [error_rate_interval(errors, lengths, [None] * 400) for errors in (baseline, candidate)]
    assert alone[1].high_percent > alone[0].low_percent


@pytest.mark.parametrize("num_speakers", [3, 5, 9])
def test_what_is_promised_is_held_with_few_speakers(num_speakers):
    """A small sister of scripts/bench/coverage.py, through the functions themselves: speakers differ by a log sd of 0.5."""
    rng = np.random.default_rng(num_speakers)
    num_runs, speakers = 300, _speakers(num_speakers, 10 * num_speakers)
    lengths = np.full(len(speakers), 40)
    held = alarms = 0
    for _ in range(num_runs):
        rates = 0.1 * np.exp(0.5 * rng.standard_normal((2, num_speakers)) - 0.125)
        ours, theirs = rng.binomial(lengths, np.tile(rates, 10))
        interval = error_rate_interval(ours, lengths, speakers)
        held += interval.low_percent <= 10.0 <= interval.high_percent
        alarms += paired_test((ours, lengths), (theirs, lengths), speakers).p_value < 0.05
    assert held / num_runs > 0.91
    assert alarms / num_runs < (0.01 if num_speakers < 5 else 0.085)
