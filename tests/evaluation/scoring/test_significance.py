"""Intervals and tests of significance against hand-made figures, formulas, kaldialign, and simulation."""

import math
import random

import kaldialign
import numpy as np
import pytest

from qasr_train.evaluation.scoring.significance import (
    MIN_SPEAKERS,
    error_rate_interval,
    matched_pairs_p_value,
    paired_test,
    resampling_units,
    segment_differences,
)


def _counts(*values):
    return np.asarray(values, dtype=np.int64)


def test_one_utterance_has_no_width_and_equal_rates_neither():
    interval = error_rate_interval(_counts(1, 1, 1), _counts(4, 4, 4), [None] * 3)
    assert (interval.low_percent, interval.high_percent) == (25.0, 25.0)


def test_interval_equals_the_exact_bootstrap_of_two_utterances():
    # Rates 0 and 100 %, equal lengths: a resample of two is 0, 50 or 100 % with chances 1/4, 1/2, 1/4.
    interval = error_rate_interval(_counts(0, 4), _counts(4, 4), [None, None])
    assert (interval.low_percent, interval.high_percent) == (0.0, 100.0)
    narrow = error_rate_interval(_counts(0, 4), _counts(4, 4), [None, None], confidence=0.4)
    assert (narrow.low_percent, narrow.high_percent) == (50.0, 50.0)


@pytest.mark.parametrize("max_length", [20, 20_000])  # many utterances alike, and all different: two ways of drawing
def test_interval_agrees_with_the_normal_formula(max_length):
    rng = np.random.default_rng(5)
    lengths = rng.integers(5, max_length, 1500)
    errors = rng.binomial(lengths, rng.beta(2, 18, size=1500))
    rate = errors.sum() / lengths.sum()
    # Variance of a ratio estimate (Cochran): sum of squared residuals over the squared total length.
    deviation = math.sqrt(((errors - rate * lengths) ** 2).sum()) / lengths.sum()
    interval = error_rate_interval(errors, lengths, [None] * 1500, num_resamples=4000)
    half_width = (interval.high_percent - interval.low_percent) / 2
    assert half_width == pytest.approx(100 * 1.96 * deviation, rel=0.05)
    assert interval.low_percent < 100 * rate < interval.high_percent


def test_interval_agrees_with_kaldialigns():
    rng = random.Random(2)
    references = [[rng.choice("abcdefgh") for _ in range(rng.randint(3, 20))] for _ in range(300)]
    hypotheses = [[word if rng.random() > 0.15 else "x" for word in reference] for reference in references]
    errors = [kaldialign.edit_distance(*pair)["total"] for pair in zip(references, hypotheses, strict=True)]
    ours = error_rate_interval(_counts(*errors), _counts(*map(len, references)), [None] * 300, num_resamples=10_000)
    theirs = kaldialign.bootstrap_wer_ci(references, hypotheses)
    assert ours.low_percent == pytest.approx(100 * theirs["ci95min"], abs=0.3)
    assert ours.high_percent == pytest.approx(100 * theirs["ci95max"], abs=0.3)


def test_speakers_are_resampled_whole_once_there_are_enough():
    few = ["a", "b"] * 10
    many = [f"speaker {number % MIN_SPEAKERS}" for number in range(20)]
    assert resampling_units(few)[1] == "utterance"
    units, unit = resampling_units(many)
    assert unit == "speaker"
    assert units.tolist() == [number % MIN_SPEAKERS for number in range(20)]
    units, _ = resampling_units([*many, None, None])
    assert units.tolist()[-2:] == [MIN_SPEAKERS, MIN_SPEAKERS + 1]


def test_errors_that_hang_together_by_speaker_widen_the_interval():
    # Twelve speakers of 50 utterances; six always err, six never do.
    speakers = [f"s{number // 50}" for number in range(600)]
    errors = _counts(*[number // 50 % 2 for number in range(600)])
    lengths = _counts(*[1] * 600)
    by_speaker = error_rate_interval(errors, lengths, speakers)
    by_utterance = error_rate_interval(errors, lengths, [None] * 600)
    assert by_speaker.num_units == 12
    assert by_speaker.high_percent - by_speaker.low_percent > 5 * (by_utterance.high_percent - by_utterance.low_percent)


def test_the_same_seed_gives_the_same_interval_and_no_words_none():
    errors, lengths = _counts(0, 1, 2, 0, 3), _counts(5, 6, 7, 8, 9)
    first = error_rate_interval(errors, lengths, [None] * 5, seed=4)
    assert first == error_rate_interval(errors, lengths, [None] * 5, seed=4)
    assert error_rate_interval(_counts(1), _counts(0), [None]) is None


def test_paired_bootstrap_sees_a_steady_small_gain_that_unpaired_intervals_do_not():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 20, 400)
    baseline = rng.binomial(lengths, rng.beta(1, 4, size=400))  # utterances differ widely
    candidate = np.maximum(baseline - (np.arange(400) % 10 == 0), 0)  # one error fewer in every tenth
    test = paired_test((baseline, lengths), (candidate, lengths), [None] * 400, [])
    assert test.delta_percent == round(100 * (candidate.sum() - baseline.sum()) / lengths.sum(), 4)
    assert test.interval.high_percent < 0
    assert test.delta_percent < test.upper_percent < test.interval.high_percent
    assert test.p_bootstrap < 0.001
    alone = [error_rate_interval(errors, lengths, [None] * 400) for errors in (baseline, candidate)]
    assert alone[1].high_percent > alone[0].low_percent


def test_paired_bootstrap_of_a_system_with_itself_is_no_difference():
    errors, lengths = _counts(1, 0, 2), _counts(5, 5, 5)
    test = paired_test((errors, lengths), (errors, lengths), [None] * 3, [])
    assert (test.interval.low_percent, test.interval.high_percent, test.p_bootstrap, test.p_segments) == (
        0.0,
        0.0,
        1.0,
        None,
    )
    assert paired_test((errors, 0 * lengths), (errors, 0 * lengths), [None] * 3, []) is None


def test_paired_bootstrap_is_wrong_about_equal_systems_one_time_in_twenty():
    rng = np.random.default_rng(11)
    lengths = np.full(200, 10)
    p_values = []
    for _ in range(200):
        pair = rng.binomial(10, 0.1, size=(2, 200))
        test = paired_test((pair[0], lengths), (pair[1], lengths), [None] * 200, [], num_resamples=500)
        p_values.append(test.p_bootstrap)
    assert 0.01 <= np.mean(np.asarray(p_values) < 0.05) <= 0.10


def test_matched_pairs_by_hand():
    # Differences -1 -1 0 -1 1: mean -0.4, sample deviation sqrt(0.8), z = 0.4 / (sqrt(0.8) / sqrt(5)) = 1.0, p = 0.31731.
    assert matched_pairs_p_value([-1, -1, 0, -1, 1]) == pytest.approx(0.3173105, abs=1e-6)
    assert matched_pairs_p_value([1, -1]) == 1.0
    assert matched_pairs_p_value([2, 2, 2]) == 0.0
    assert matched_pairs_p_value([3]) is None


@pytest.mark.parametrize(
    ("baseline", "candidate", "expected"),
    [
        ("a b c d e f g h", "a b c d e f g h", []),
        ("a x c d e y g h", "a b c d e f g h", [-1, -1]),  # three right words apart
        ("a x c y e f g h", "a b c d e f g h", [-2]),  # one right word between: still one stretch
        ("a x c d y f g h", "a b c d e f g h", [-1, -1]),  # two right words apart
        ("a b c d e f g h", "z a b c d e f g h z", [1, 1]),  # insertions at both ends
        ("b c d e f g h", "a b c d e f g", [-1, 1]),
        ("", "a b c d e f g h", [-8]),
    ],
)
def test_segments_of_one_utterance(baseline, candidate, expected):
    reference = "a b c d e f g h".split()
    assert segment_differences(reference, baseline.split(), candidate.split()) == expected


def test_segment_differences_add_up_to_the_difference_of_errors():
    rng = random.Random(1)
    for merges in (False, True):
        for _ in range(300):
            reference, first, second = (
                rng.choices(["a", "b", "ab", "c", "abc", "d"], k=rng.randint(0, 12)) for _ in range(3)
            )
            total = sum(segment_differences(reference, first, second, merges_compounds=merges))
            errors = [
                kaldialign.edit_distance(reference, hyp, merge_compounds=merges)["total"] for hyp in (first, second)
            ]
            assert total == errors[1] - errors[0]
