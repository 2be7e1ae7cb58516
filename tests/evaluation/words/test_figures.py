"""NCE, ECE, reading and calibration against hand-made and independent figures."""

import math
import random

import numpy as np
import pytest

from qasr_train.errors import DataError
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.significance import error_rate_interval
from qasr_train.evaluation.words.calibration import LEAST, Calibration, fit_calibration
from qasr_train.evaluation.words.confidences import JudgedWords
from qasr_train.evaluation.words.figures import Measured, measure, word_figures


def words(
    confidences: list[float], wrong: str, on_term: str = "", deleted: int = 0, deleted_terms: int = 0
) -> JudgedWords:
    """wrong, on_term: a letter a word, x where it is so."""
    on_term = on_term or "-" * len(wrong)
    return JudgedWords(confidences, [c == "x" for c in wrong], [c == "x" for c in on_term], deleted, deleted_terms)


def of(
    *utterances: JudgedWords | None, speakers: list[str | None] | None = None, unknown=None, calibration=None
) -> Measured:
    speakers = speakers or [None] * len(utterances)
    return measure(utterances, unknown or [(0, 0)] * len(utterances), speakers, calibration)


def test_nce_is_that_of_the_definition_worked_out_by_hand() -> None:
    # Three of four words right: H for all alike = -(3 log2 3/4 + 1 log2 1/4) = 3.2451 bits.
    # Theirs: -(log2 .9 + log2 .8 + log2 .5 + log2(1 - .4)) = .1520 + .3219 + 1 + .7370 = 2.2109. NCE = 1 - 2.2109 / 3.2451.
    figures = word_figures(of(words([0.9, 0.8, 0.5, 0.4], "---x")), [], Resampling())
    assert figures.nce == pytest.approx(0.3187, abs=1e-4)
    assert word_figures(of(words([0.75] * 4, "---x")), [], Resampling()).nce == 0.0, (
        "one confidence for all, the right one"
    )
    assert (word_figures(of(words([0.01] * 4, "---x")), [], Resampling()).nce or 0) < 0
    assert word_figures(of(words([0.9, 0.9], "--")), [], Resampling()).nce is None, "nothing to tell apart"
    certain = word_figures(of(words([1.0, 1.0], "-x")), [], Resampling())
    assert certain.nce == pytest.approx(1 - (-math.log2(LEAST) - math.log2(1 - LEAST)) / 2, abs=1e-4)


def test_ece_is_the_mean_gap_of_the_bins_by_hand() -> None:
    # Bin 0.9-1: .95 .97 .99 with two right: |.97 - 2/3| * 3; bin 0.2-0.3: .2, .25, none right: .225 * 2. Over five words.
    figures = word_figures(of(words([0.95, 0.97, 0.99, 0.2, 0.25], "--xxx")), [], Resampling())
    assert figures.ece_percent == pytest.approx(100 * (3 * abs(0.97 - 2 / 3) + 2 * 0.225) / 5, abs=0.01)
    assert [one.num_words for one in figures.bins] == [0, 0, 2, 0, 0, 0, 0, 0, 0, 3]
    assert figures.bins[9].right_percent == 66.67 and figures.bins[9].mean_confidence == pytest.approx(0.97)
    assert word_figures(of(words([1.0, 0.0], "-x")), [], Resampling()).ece_percent == 0.0


def test_reading_finds_the_wrong_words_among_the_least_sure_and_deletions_leave_none_to_read() -> None:
    one = words([0.9, 0.1, 0.8, 0.2, 0.7], "-x-xx", on_term="-x--x", deleted=2, deleted_terms=1)
    two = words([0.95, 0.3, 0.99, 0.6, 0.97], "x----")
    figures = word_figures(of(one, two, None, unknown=[(0, 0), (0, 0), (3, 1)]), [10, 30, 100], Resampling())
    tenth, third, whole = figures.readings
    assert (tenth.num_read, tenth.num_found, tenth.found_percent) == (1, 1, 25.0)
    assert (third.num_read, third.num_found, third.below) == (3, 2, 0.3)
    assert third.of_all_percent == pytest.approx(100 * 2 / (4 + 2 + 1), abs=0.01), (
        "two deleted, one wrong of unknown confidence"
    )
    assert (third.num_found_on_terms, third.on_terms_percent) == (1, 50.0)
    assert (whole.found_percent, whole.of_all_percent) == (100.0, 57.14)
    assert (figures.num_words, figures.num_wrong, figures.num_deleted, figures.num_unknown) == (10, 4, 2, 3)
    assert (figures.num_wrong_on_terms, figures.num_deleted_terms) == (2, 1)


def test_intervals_of_reading_are_those_of_a_rate_over_speakers() -> None:
    drawn = random.Random(0)
    parts = [words([drawn.random() for _ in range(9)], "".join(drawn.choices("-x", k=9))) for _ in range(12)]
    speakers: list[str | None] = [f"s{n % 4}" for n in range(12)]
    (reading,) = word_figures(of(*parts, speakers=speakers), [20], Resampling()).readings
    limit = sorted(value for one in parts for value in one.confidences)[math.ceil(0.2 * 108) - 1]
    found = [sum(c <= limit and w for c, w in zip(one.confidences, one.is_wrong, strict=True)) for one in parts]
    wrong = [sum(one.is_wrong) for one in parts]
    assert reading.found_interval == error_rate_interval(np.array(found), np.array(wrong), speakers)
    assert reading.found_interval is not None and reading.found_interval.unit == "speaker"


def test_intervals_of_nce_and_ece_are_those_of_leaving_each_speaker_out() -> None:
    drawn = random.Random(1)
    parts = [words([drawn.random() for _ in range(20)], "".join(drawn.choices("--x", k=20))) for _ in range(6)]
    speakers: list[str | None] = [f"s{n // 2}" for n in range(6)]
    figures = word_figures(of(*parts, speakers=speakers), [], Resampling())
    for name, scale in (("nce", 100.0), ("ece_percent", 1.0)):
        values = []
        for left_out in ("s0", "s1", "s2"):
            kept = [part for part, who in zip(parts, speakers, strict=True) if who != left_out]
            values.append(scale * getattr(word_figures(of(*kept), [], Resampling()), name))
        whole = scale * getattr(figures, name)
        error = math.sqrt(2 / 3 * sum((value - whole) ** 2 for value in values))
        interval = getattr(figures, name.removesuffix("_percent") + "_interval")
        assert interval.high_percent == pytest.approx(whole + 4.3027 * error, abs=0.05), "t of 2 degrees of freedom"
        assert interval.num_units == 3
    few = word_figures(of(words([0.9, 0.1], "-x"), words([0.8, 0.9], "-x")), [], Resampling())
    assert few.nce_interval is not None and few.nce_interval.high_percent == 100, "NCE is at most 1"
    assert word_figures(of(parts[0]), [], Resampling()).nce_interval is None, "of one unit nobody knows"


def test_nothing_but_unknown_words_gives_no_figure() -> None:
    figures = word_figures(of(None, unknown=[(4, 2)]), [5], Resampling())
    assert (figures.num_words, figures.num_unknown, figures.readings, figures.ece_percent) == (0, 4, [], None)


def test_a_calibration_finds_what_made_the_words() -> None:
    drawn = np.random.default_rng(0)
    told = drawn.uniform(0.01, 0.99, 40_000)
    odds = 0.5 * np.log(told / (1 - told)) - 1.0
    is_wrong = drawn.random(40_000) > 1 / (1 + np.exp(-odds))
    fitted = fit_calibration(told, is_wrong, "dev")
    assert (fitted.slope, fitted.intercept) == pytest.approx((0.5, -1.0), abs=0.03)
    before, after = (
        word_figures(
            of(JudgedWords(told.tolist(), is_wrong.tolist(), [False] * 40_000, 0, 0), calibration=one), [], Resampling()
        )
        for one in (None, fitted)
    )
    assert (after.ece_percent or 9) < 1 < 15 < (before.ece_percent or 0)
    assert (after.nce or 0) > 0 > (before.nce or 0)


def test_a_calibration_is_where_the_likelihood_is_flat() -> None:
    """Against the sums of Platt's paper: at the fitted line both derivatives of his targets' likelihood are zero."""
    told = np.array([0.3, 0.4, 0.5, 0.6, 0.7] * 8)
    is_wrong = np.array([True, True, True, False, False] * 8) ^ (np.arange(40) % 7 == 0)
    fitted = fit_calibration(told, is_wrong, "dev")
    target = np.where(is_wrong, 1 / (is_wrong.sum() + 2), ((~is_wrong).sum() + 1) / ((~is_wrong).sum() + 2))
    gap = fitted(told) - target
    assert float(gap.sum()) == pytest.approx(0, abs=1e-6)
    assert float((gap * np.log(told / (1 - told))).sum()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("told", "wrong", "text"),
    [
        (
            [0.9, 0.2] * 30,
            [False, True] + [False] * 58,
            "dev: has 59 right words and 1 wrong ones; a calibration needs 10 of each",
        ),
        ([0.9, 0.2] * 30, [True, False] * 30, "dev: words that the system was surer of are not more often right there"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(told: list[float], wrong: list[bool], text: str) -> None:
    with pytest.raises(DataError, match=text):
        fit_calibration(np.array(told), np.array(wrong), "dev")


def test_a_calibrated_word_is_as_sure_as_the_line_says() -> None:
    line = Calibration(2.0, 1.0, "dev", 100, 20)
    assert line(np.array([0.5, 0.8])).tolist() == pytest.approx(
        [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-(2 * math.log(4) + 1)))]
    )
