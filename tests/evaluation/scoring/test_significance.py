"""Intervals of rates and of means against hand-made figures, formulas, and kaldialign."""

import dataclasses
import math
import random

import kaldialign
import numpy as np
import pytest

from qasr_train.evaluation.scoring.significance import (
    Interval,
    ResampleBy,
    error_rate_interval,
    independent_units,
    interval_text,
    mean_interval,
)


def _counts(*values):
    return np.asarray(values, dtype=np.int64)


def _speakers(num_speakers, num_utterances):
    return [f"s{number % num_speakers}" for number in range(num_utterances)]


def test_interval_of_three_utterances_by_hand():
    # Errors 1 2 3 of 10 words each. Half an error added: logit(6.5 / 31) = ln(6.5 / 24.5) = -1.326919; without each unit
    # ln(5.5 / 15.5) = -1.036092, ln(4.5 / 16.5) = -1.299283, ln(3.5 / 17.5) = -1.609438. Squares of what that changes:
    # 0.084580 + 0.000764 + 0.079817 = 0.165161; times 2 / 3, root: 0.331824. t(2) 4.302653: -1.326919 -+ 1.427724.
    interval = error_rate_interval(_counts(1, 2, 3), _counts(10, 10, 10), [None] * 3)
    assert interval.low_percent == pytest.approx(100 / (1 + math.exp(1.326919 + 1.427724)), abs=0.01)
    assert interval.high_percent == pytest.approx(100 / (1 + math.exp(1.326919 - 1.427724)), abs=0.01)
    assert (interval.unit, interval.num_units) == ("utterance", 3)


@pytest.mark.parametrize("max_length", [20, 20_000])
def test_interval_agrees_with_the_normal_formula(max_length):
    rng = np.random.default_rng(5)
    lengths = rng.integers(5, max_length, 1500)
    errors = rng.binomial(lengths, rng.beta(2, 18, size=1500))
    rate = errors.sum() / lengths.sum()
    # Variance of a ratio estimate (Cochran): sum of squared residuals over the squared total length.
    deviation = math.sqrt(((errors - rate * lengths) ** 2).sum()) / lengths.sum()
    interval = error_rate_interval(errors, lengths, [None] * 1500)
    half_width = (interval.high_percent - interval.low_percent) / 2
    assert half_width == pytest.approx(100 * 1.96 * deviation, rel=0.05)
    assert interval.low_percent < 100 * rate < interval.high_percent


def test_interval_agrees_with_kaldialigns():
    rng = random.Random(2)
    references = [[rng.choice("abcdefgh") for _ in range(rng.randint(3, 20))] for _ in range(300)]
    hypotheses = [[word if rng.random() > 0.15 else "x" for word in reference] for reference in references]
    errors = [kaldialign.edit_distance(*pair)["total"] for pair in zip(references, hypotheses, strict=True)]
    ours = error_rate_interval(_counts(*errors), _counts(*map(len, references)), [None] * 300)
    theirs = kaldialign.bootstrap_wer_ci(references, hypotheses)
    assert ours.low_percent == pytest.approx(100 * theirs["ci95min"], abs=0.3)
    assert ours.high_percent == pytest.approx(100 * theirs["ci95max"], abs=0.3)


def test_speakers_are_the_units_once_there_are_two():
    units = independent_units(["a", "b", "a", None])
    assert (units.numbers.tolist(), units.unit) == ([0, 1, 0, 2], "speaker")
    assert units.because == "2 speakers are named, 1 utterances have none"
    alone = independent_units(["a", "a"])
    assert (alone.numbers.tolist(), alone.unit) == ([0, 1], "utterance")
    assert independent_units([None, None]).because.startswith("no speakers are named")
    assert independent_units(["a", "b"], ResampleBy.utterance).unit == "utterance"


def test_errors_that_hang_together_by_speaker_widen_the_interval():
    # Four speakers of 50 utterances; two err often, two seldom.
    speakers = _speakers(4, 200)
    errors, lengths = _counts(*[(1, 6)[number % 2] for number in range(200)]), _counts(*[10] * 200)
    by_speaker = error_rate_interval(errors, lengths, speakers)
    by_utterance = error_rate_interval(errors, lengths, [None] * 200)
    assert by_speaker.num_units == 4
    assert by_speaker.high_percent - by_speaker.low_percent > 5 * (by_utterance.high_percent - by_utterance.low_percent)


def test_no_error_is_not_no_doubt():
    # Clopper-Pearson: none of 50 utterances, so at most 1 - 0.025 ** (1 / 50) = 7.11 % of them, an error in each, of ten words.
    interval = error_rate_interval(_counts(*[0] * 50), _counts(*[10] * 50), [None] * 50)
    assert (interval.low_percent, interval.high_percent) == (0.0, pytest.approx(0.711, abs=0.001))
    one = error_rate_interval(_counts(0), _counts(10), [None])
    assert (one.low_percent, one.high_percent) == (0.0, pytest.approx(100 * (1 - 0.025**0.1), abs=0.001))
    assert error_rate_interval(_counts(1), _counts(0), [None]) is None


def test_a_rate_above_100_percent_has_an_interval_around_it():
    interval = error_rate_interval(_counts(12, 15, 11, 14, 13), _counts(10, 10, 10, 10, 10), [None] * 5)
    assert 100 < interval.low_percent < 130 < interval.high_percent < 170


def test_an_end_that_may_lie_anywhere_is_said_so() -> None:
    wide = Interval(0.0, 2576323.6, 0.95, "utterance", 2, "no speakers are named")
    assert interval_text(wide) == "0.00 to over 1000"
    assert interval_text(dataclasses.replace(wide, high_percent=117.666)) == "0.00 to 117.67"


def _set_of(rates, speakers, num_utterances=10):
    """(errors, lengths) of ten words an utterance, and the speakers, each with a rate of whole words in ten."""
    errors = _counts(*[rate for rate in rates for _ in range(num_utterances)])
    return (errors, _counts(*[10] * len(errors))), [name for name in speakers for _ in range(num_utterances)]


def _mean_of(*sets, **options):
    ids = [[str(number) for number in range(len(speakers))] for _, speakers in sets]
    return mean_interval([counts for counts, _ in sets], [speakers for _, speakers in sets], ids, **options)


RATES = (1, 2, 3, 1, 2, 4)


def test_the_mean_of_one_set_has_its_interval():
    counts, speakers = _set_of(RATES, "abcdef")
    alone = error_rate_interval(*counts, speakers)
    mean = _mean_of((counts, speakers))
    assert (mean.low_percent, mean.high_percent) == pytest.approx((alone.low_percent, alone.high_percent), abs=1e-3)
    assert (mean.unit, mean.num_units) == ("speaker", 6)
    assert mean_interval([], [], []) is None


def test_sets_of_the_same_speakers_are_no_more_sure_than_one_and_those_of_others_are():
    counts, speakers = _set_of(RATES, "abcdef")
    alone = error_rate_interval(*counts, speakers)
    # The same errors of the same people twice: nothing was learned from the second set.
    same = _mean_of((counts, speakers), (counts, speakers))
    assert (same.low_percent, same.high_percent) == pytest.approx((alone.low_percent, alone.high_percent), abs=1e-3)
    assert same.num_units == 6
    # Other people: halves shrink by sqrt(2), and by t with 10 instead of 5 degrees of freedom (2.228 for 2.571): on the scale of
    # the logit the half is alone's times 2.228 / 2.571.
    others = _mean_of((counts, speakers), (counts, [f"other {one}" for one in speakers]))
    assert others.num_units == 12
    logits = [math.log(end / (100 - end)) for end in (alone.low_percent, alone.high_percent)]
    center, half = sum(logits) / 2, (logits[1] - logits[0]) / 2 * 2.228139 / 2.570582
    high = 100 / (1 + math.exp(-center - half))
    rate = 100 * sum(RATES) / 60
    assert others.high_percent == pytest.approx(rate + (high - rate) / math.sqrt(2), abs=1e-3)


def test_clips_under_several_conditions_are_known_by_their_ids():
    errors, lengths = _counts(1, 2, 3, 1, 2, 4, 0, 1), _counts(*[10] * 8)
    alone = error_rate_interval(errors, lengths, [None] * 8)
    names, ids = [[None] * 8] * 2, [str(number) for number in range(8)]
    noisy = mean_interval([(errors, lengths)] * 2, names, [ids, ids])
    assert (noisy.high_percent, noisy.num_units) == (pytest.approx(alone.high_percent, abs=1e-3), 8)
    apart = mean_interval([(errors, lengths)] * 2, names, [ids, [f"x{one}" for one in ids]])
    assert apart.num_units == 16 and apart.high_percent < noisy.high_percent


def test_sets_without_errors_or_of_one_unit_leave_the_mean_in_doubt():
    clean = (_counts(*[0] * 20), _counts(*[10] * 20)), [f"c{n // 4}" for n in range(20)]
    single = (_counts(1), _counts(10)), ["only"]
    mean = _mean_of(clean, single)
    # The mean of 0 and 10 %; the single one by words alone (Clopper-Pearson, 1 of 10: 0.25 to 44.50 %), the clean one up to none
    # of 20 utterances, 1 - 0.025 ** (1 / 20) = 16.84 % of them with an error of ten words each: halves of 1.684 and 34.50.
    assert mean.low_percent == pytest.approx(5 - 9.75 / 2, abs=0.01)
    assert mean.high_percent >= 5 + math.hypot(1.684, 34.50) / 2 - 0.01


def test_a_recall_without_a_miss_is_not_surely_perfect():
    # The mirror image of no error: none of 50 utterances missed its term, so at most 7.11 % of them do.
    found = error_rate_interval(_counts(*[1] * 50), _counts(*[1] * 50), [None] * 50)
    assert (found.low_percent, found.high_percent) == (pytest.approx(100 - 7.11, abs=0.01), 100.0)
    some = [
        error_rate_interval(_counts(*one), _counts(*[4] * 5), list("abcde"))
        for one in ((1, 0, 1, 2, 0), (3, 4, 3, 2, 4))
    ]
    assert some[1].low_percent == pytest.approx(100 - some[0].high_percent, abs=1e-3)
