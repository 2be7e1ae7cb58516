"""Charts of error rates: an axis that one wild interval does not stretch, its arrow, and what is said of it."""

import re

import pytest

from qasr_train.evaluation.report.plots import (
    AmountLine,
    Bar,
    NoiseLine,
    amount_plot,
    axis_top,
    error_rate_plot,
    noise_plot,
)
from qasr_train.evaluation.scoring.significance import Interval


def to(low: float, high: float) -> Interval:
    return Interval(low, high, 0.95, "utterance", 2, "")


def bar(percent: float, high: float | None, label: str = "a") -> Bar:
    return Bar(label, "", percent, None if high is None else to(0.0, high))


@pytest.mark.parametrize(
    ("bars", "top"),
    [
        ([bar(10, 12), bar(20, 30)], 30.0),  # as far as the widest
        ([bar(10, 12), bar(20, 60)], 60.0),  # three times the highest rate is not wild
        ([bar(10, 12), bar(20, 1e12)], 32.0),  # 1.6 times the highest rate
        ([bar(0, None)], 1e-9),
        ([bar(0, 2.5)], 2.5),  # no errors: the interval is all there is to see
        ([bar(0, 100)], 1.6),
    ],
)
def test_an_axis_reaches_over_all_but_wild_intervals(bars: list[Bar], top: float):
    assert axis_top(bars) == pytest.approx(top)


def texts(svg: str) -> str:
    return " ".join(re.findall(r"<text[^>]*>(?:<tspan[^>]*>)?([^<]+)", svg))


WILD, TAME = to(0.0, 1.47e12), to(8.0, 12.0)
NOTE = "arrows: intervals that reach further, few clips to 1.47e+12 %"


@pytest.mark.parametrize("is_wild", [True, False])
def test_every_chart_with_intervals_marks_the_wild_one_and_says_how_far_it_reaches(is_wild: bool):
    interval = WILD if is_wild else TAME
    charts = [
        error_rate_plot([Bar("few clips", "", 10.0, interval), Bar("many", "", 20.0, TAME)], "WER"),
        noise_plot([NoiseLine("few clips", [(None, 9.0, TAME), (5.0, 10.0, interval)])], "WER by ratio"),
        amount_plot([AmountLine("few clips", [(0, 9.0, TAME), (100, 10.0, interval)])], "WER"),
    ]
    for chart in charts:
        assert (NOTE in texts(chart)) is is_wild
        assert ("1e12" in texts(chart)) is False  # matplotlib's factor on a crushed axis


def test_of_many_wild_intervals_three_are_named():
    bars = [Bar(f"s{n}", series, 10.0, WILD) for n in range(5) for series in ("before", "after")]
    assert "further, s0 to 1.47e+12 %, s1 to 1.47e+12 %, s2 to 1.47e+12 % and 2 more" in texts(
        error_rate_plot(bars, "WER")
    )
