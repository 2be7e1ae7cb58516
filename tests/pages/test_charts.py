"""Charts of lines as SVG: where points lie by hand, wild values, gaps, long logs, names that are markup."""

import math
from xml.etree import ElementTree

import pytest

from qasr_train.pages.charts import Line, line_chart, nice_ticks, wild_limit


def parse(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart)


def caption(chart: str) -> str:
    return " ".join(parse(chart).find("figcaption").itertext())


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 10.0, [0, 5, 10]),
        (0.0, 0.003, [0, 0.001, 0.002, 0.003]),
        (0.0, 7.0, [0, 2, 4, 6, 8]),
        (0.0, 0.0, [0, 5e-13]),
        (100.0, 500.0, [100, 200, 300, 400, 500]),
        (-3.0, 3.0, [-4, -2, 0, 2, 4]),
    ],
)
def test_ticks_are_round_and_reach_over_the_values(low: float, high: float, ticks: list[float]):
    assert nice_ticks(low, high) == pytest.approx(ticks, abs=1e-12)


def test_points_lie_where_they_should():
    chart = line_chart("Loss", [Line("dev", [(0, 0.0), (50, 10.0), (100, 5.0)])], unit="nats", marked=(50, "best"))
    # 460 x 230 with margins 54 left, 14 right, 14 above, 26 below: 392 x 190 for 100 steps and 10 nats.
    dots = [(one.get("cx"), one.get("cy")) for one in parse(chart).iter("circle")]
    assert dots == [("54.0", "204.0"), ("250.0", "14.0"), ("446.0", "109.0")]
    assert [one.text for one in parse(chart).iter("title")][1] == "dev, step 50: 10"
    texts = [one.text for one in parse(chart).iter("text")]
    assert texts == ["0", "5", "10", "0", "50", "100", "best"]
    assert parse(chart).find("h3").text == "Loss, nats" and "dev: 5" in caption(chart)


def test_one_wild_value_is_an_arrow_at_the_edge_and_told():
    points = [(step, 1.0) for step in range(29)] + [(29, 100.0)]
    assert wild_limit([[y for _, y in points]]) == 1.5
    chart = line_chart("Loss", [Line("training", points)])
    assert "▲ 1 above the axis, up to 100" in caption(chart)
    heights = {one.get("cy") for one in parse(chart).iter("circle")}
    assert heights == {"77.3"}  # 1.0 of 1.5: 204 - 190 / 1.5
    assert sum("l-5 8h10z" in (one.get("d") or "") for one in parse(chart).iter("path")) == 1


def test_of_few_values_only_the_first_can_be_wild():
    assert wild_limit([[95.0, 4.0, 3.0, 2.0]]) == 6.0  # before training; half as much again as the highest after it
    assert wild_limit([[95.0, 4.0], [2375.0, 8.0]]) == 12.0  # of two dev sets
    assert wild_limit([[20.0, 8.0, 3.0]]) is None  # not three times what came after
    assert wild_limit([[4.0, 95.0, 3.0, 2.0]]) is None and wild_limit([[95.0, 4.0]]) is None
    assert wild_limit([[95.0, 0.0, 0.0]]) is None and wild_limit([]) is None


def test_what_is_not_far_above_the_others_is_not_wild():
    assert wild_limit([[0.0] * 30]) is None
    assert wild_limit([[*([1.0] * 29), 2.9]]) is None


def test_a_wild_first_value_does_not_hide_another():
    assert wild_limit([[500.0, *([1.0] * 29), 100.0]]) == 1.5


def test_what_is_no_number_is_a_gap_and_counted():
    chart = line_chart("Loss", [Line("training", [(1, 1.0), (2, math.nan), (3, 1.0), (4, math.inf), (5, 2.0)])])
    [line] = [one for one in parse(chart).iter("path") if one.get("fill") == "none"]
    assert line.get("d").count("M") == 3
    assert "2 not finite, left out" in caption(chart) and "training: 2" in caption(chart)


def test_a_long_log_is_drawn_by_means():
    chart = line_chart("Loss", [Line("training", [(step, float(step % 4)) for step in range(1000)])])
    [line] = [one for one in parse(chart).iter("path") if one.get("fill") == "none"]
    assert line.get("d").count("L") == 249  # 250 groups of four, each with the mean of 0, 1, 2, 3
    assert "each point the mean of 4 lines of the log" in caption(chart) and "training: 1.5" in caption(chart)
    assert not list(parse(chart).iter("circle"))


def test_names_are_text_and_seven_lines_can_be_told_apart():
    chart = line_chart("<b>", [Line(f"<script>{n}", [(0, n), (1, n)]) for n in range(7)])
    assert "<script>" not in chart and "<b>" not in chart
    lines = [one for one in parse(chart).iter("path") if one.get("fill") == "none"]
    assert len({(one.get("stroke"), one.get("stroke-dasharray")) for one in lines}) == 7


def test_of_nothing_there_is_no_chart():
    assert line_chart("Loss", []) == "" == line_chart("Loss", [Line("training", []), Line("dev", [(1, math.nan)])])


def test_one_point_is_a_chart():
    assert "training: 3" in caption(line_chart("Loss", [Line("training", [(10, 3.0)])]))
