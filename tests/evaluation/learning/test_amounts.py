"""A learning curve's points by role, and the sentence on its last two amounts, which says no more than the test shows."""

from dataclasses import replace

import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.comparing.paired import PairedTest
from qasr_train.evaluation.learning.amounts import Amount, Growth, combine_tests, curve_point, growth_between
from qasr_train.evaluation.learning.curve import Curve, curve_row
from qasr_train.evaluation.report.curve import curve_page, curve_summary
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.scoring.significance import Interval
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

TEN = ("a b c d e f g h i j", 10)


def run_of(errors: dict[str, list[int]], *, roles: bool = True) -> ScoredRun:
    """Sets named as their roles; one speaker for each number, who says ten words and of whom so many are heard wrong."""
    rows = []
    for name, numbers in errors.items():
        for speaker, wrong in enumerate(numbers):
            heard = " ".join(["x"] * wrong + TEN[0].split()[wrong:])
            given = {"set": name, "role": name if roles else None, "language": "English"}
            rows.append(
                Prediction(None, 1.0, 0.1, TEN[0], heard, id=f"{name}{speaker}", speaker=f"{name}-{speaker}", **given)
            )
    return replace(score_predictions(rows, get_normalizer("none")), path="a run")


def growth(delta: float, p_value: float, *, few: int = 60, detectable: float | None = 3.0) -> Growth:
    interval = Interval(delta - 1, delta + 1, 0.95, "speaker", 6, "6 speakers are named")
    return Growth(
        "target", few, 240, PairedTest(20.0, 20.0 + delta, delta, interval, 0.0, p_value, 1.0, detectable, None)
    )


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (
            growth(-5.2, 0.01),
            "target: more recordings still help: from 60 to 240 clips the error rate falls (-5.20 points, 95 % interval -6.20 to "
            "-4.20, 6 speakers)",
        ),
        (
            growth(5.2, 0.01, few=0),
            "target: more recordings made it worse: from the model before training to 240 clips the error rate rises (+5.20 "
            "points, 95 % interval 4.20 to 6.20, 6 speakers)",
        ),
        (
            growth(-0.5, 0.06),
            "target: no difference can be shown between 60 and 240 clips (-0.50 points, 95 % interval -1.50 to 0.50, 6 speakers; "
            "one of 3.00 points would show in four of five cases)",
        ),
        (
            growth(-40.0, 0.0625, detectable=None),
            "target: no difference can be shown between 60 and 240 clips (-40.00 points, 95 % interval -41.00 to -39.00, 6 "
            "speakers; so few speakers show no difference, however large)",
        ),
    ],
)
def test_the_sentence_says_no_more_than_the_test(one: Growth, said: str) -> None:
    assert one.sentence() == said


def test_each_role_is_pooled_and_tested_by_itself() -> None:
    few = run_of({"target": [5, 5, 6, 6, 5, 6], "guard": [1, 0, 1, 0, 1, 0]})
    many = run_of({"target": [1, 1, 2, 1, 1, 2], "guard": [0, 1, 0, 1, 1, 0]})
    point = curve_point(Amount(60), [few])
    # 33 of 60 words, 3 of 60.
    assert {role: rate.percent for role, rate in point.rates.items()} == {"target": 55.0, "guard": 5.0}
    found = growth_between((60, [few]), (240, [many]))
    assert [(one.role, one.test.delta_percent) for one in found] == [("target", -41.6667), ("guard", 0.0)]
    assert [one.sentence().split(":")[1] for one in found] == [
        " more recordings still help",
        " no difference can be shown between 60 and 240 clips (+0.00 points, 95 % interval "
        + found[1].sentence().partition("interval ")[2],
    ]
    row = curve_row(Curve("digits", "own", [point], found))
    assert row["points"][0]["roles"]["target"]["interval"]["num_units"] == 6
    assert row["growth"][0]["few"] == 60 and row["growth"][0]["test"]["p_value"] < 0.05


def test_without_roles_all_sets_are_one() -> None:
    few, many = (
        run_of({"own": numbers, "other": numbers}, roles=False) for numbers in ([5, 5, 6, 6, 5, 6], [1, 1, 2, 1, 1, 2])
    )
    assert list(curve_point(Amount(60), [few]).rates) == ["all sets"]
    assert [one.role for one in growth_between((60, [few]), (240, [many]))] == ["all sets"]


def test_sets_without_words_are_refused() -> None:
    silence = [Prediction(None, 1.0, 0.1, "", "x", id="s", set="s", role="guard", language="English")]
    with pytest.raises(ConfigError, match="suite: of guard sets no utterance has reference words"):
        curve_point(Amount(60), [score_predictions(silence, get_normalizer("none"))])


def test_the_page_draws_each_amount_and_escapes_names() -> None:
    few, many = (run_of({"target": n, "guard": n}) for n in ([5, 5, 6, 6, 5, 6], [1, 1, 2, 1, 1, 2]))
    points = [curve_point(Amount(0), [few]), curve_point(Amount(1500, 1.234, None, 40, "x"), [many])]
    curve = Curve("<b>", "<i>", points, growth_between((0, [few]), (1500, [many])))
    page = curve_page(curve, {"1500 clips": "evaluation_1500/report.html"})
    assert '<a href="evaluation_1500/report.html">1500 clips</a>' in page
    assert "&lt;b&gt;" in page and "<b>" not in page and "<i>" not in page
    assert ">1,500<" in page and ">0<" in page and ">target<" in page and ">guard<" in page
    lines = curve_summary(curve, "out").splitlines()
    assert lines[0].split("  ")[0] == "clips"
    assert lines[2].split()[:5] == ["1500", "1.23", "–", "40", "13.33"]
    alone = replace(curve, points=points[:1], growth=[])
    assert alone.sentences() == [
        "one amount alone does not say whether more recordings help; give others, or include_base=true"
    ]


def test_several_trainings_are_a_mean_and_what_they_differ_by_widens_both() -> None:
    few = run_of({"target": [5, 5, 6, 6, 5, 6]})
    many = [run_of({"target": [n + more for n in (1, 1, 2, 1, 1, 2)]}) for more in (0, 2)]
    point = curve_point(Amount(240), many)
    rate = point.rates["target"]
    assert (rate.by_seed, rate.percent) == ([13.33, 33.33], 23.33)
    alone = curve_point(Amount(240), many[:1]).rates["target"].interval
    assert rate.interval and alone and rate.interval.high_percent > alone.high_percent + 10

    tests = [growth_between((60, [few]), (240, [one]))[0].test for one in many]
    [both] = growth_between((60, [few, few]), (240, many))
    assert both.test == combine_tests(tests) and both.test.delta_percent == -31.6667
    # Two trainings, 20 points apart: a standard error of 10 points with one degree of freedom beside the tests' own.
    own = tests[0].error_points or 0.0
    assert both.test.error_points == pytest.approx((own**2 + 10**2) ** 0.5, abs=0.3)
    assert both.test.p_value > 0.05 > tests[0].p_value
    [base] = growth_between((0, [few]), (240, many))  # the model before training was scored once
    assert base.test.delta_percent == both.test.delta_percent
