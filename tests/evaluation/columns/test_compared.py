"""The change per group of a comparison, and the gate that lets no group get worse: figures by hand, small groups undecided."""

import re
from dataclasses import replace

import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.comparing.compare import compare_runs, comparison_row
from qasr_train.evaluation.report.comparison_tables import (
    column_change_tables,
    comparison_summary,
    several_change_tables,
    several_summary,
)
from qasr_train.evaluation.report.content import comparison_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.settings import GateConfig
from qasr_train.jobs.settings.compare import CompareConfig
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

WORDS = [f"w{i}" for i in range(20)]


def run(errors_of, zones, *, carries=True):
    """Two utterances of 20 words of each speaker, of whom `zones` says how many are in which zone."""
    predictions = []
    for zone, num_speakers in zones.items():
        for speaker in range(num_speakers):
            for take in range(2):
                num_wrong = errors_of(zone, speaker, take)
                predictions.append(
                    Prediction(
                        None, 2.0, None, " ".join(WORDS), " ".join(["x"] * num_wrong + WORDS[num_wrong:]),
                        id=f"{zone}-{speaker}-{take}", set="s", language="English", speaker=f"{zone}-{speaker}",
                        columns={"zone": zone} if carries else {},
                    )
                )  # fmt: skip
    return score_predictions(predictions, get_normalizer("none"))


def before(zone, speaker, take):
    return 4 + (speaker + take) % 2


def after(zone, speaker, take):
    """North gets better by 3 words, south worse by 4, in each utterance, give or take one."""
    return before(zone, speaker, take) + {"north": -3, "south": 4}.get(zone, 0) + (speaker % 3 == 0)


ZONES = {"north": 8, "south": 8}


def compared(zones=ZONES, gate=None, *, carries=True, later=after):
    baseline = replace(run(before, zones, carries=carries), path="runs/a")
    candidate = replace(run(later, zones), path="runs/b")
    return compare_runs(baseline, candidate, gate or GateConfig(), by=By(["zone"]))


def test_the_change_of_each_group_is_that_of_its_own_utterances_the_largest_loss_first():
    [column] = compared().columns
    assert list(column.groups) == ["south", "north"]
    # Of eight speakers three have one error more in both utterances: 6 errors of 16 x 20 words are 1.875 points.
    assert column.groups["south"].test.delta_percent == pytest.approx(20 + 1.875)
    assert column.groups["north"].test.delta_percent == pytest.approx(-15 + 1.875)
    assert column.spread.points == pytest.approx(35.0)
    assert column.spread.p_value < 0.01  # the change differs between zones


def test_the_gate_names_the_group_that_got_worse():
    verdict = compared(gate=GateConfig(worst_group=1.0)).verdict
    assert (verdict.word, verdict.exit_status) == ("failed", 1)
    south, north = verdict.checks
    assert (south.role, south.set, south.passed) == ("group", "zone=south", False)
    assert south.sentence.startswith("got worse (+21.88 points")
    assert "below 0.05 / 2 groups" in south.sentence
    assert (north.set, north.passed) == ("zone=north", True)


def test_the_margin_is_in_points():
    assert compared(gate=GateConfig(worst_group=30.0)).verdict.word == "passed"


def test_a_small_group_is_undecided_not_failed():
    verdict = compared({"north": 8, "south": 3}, GateConfig(worst_group=1.0)).verdict
    assert (verdict.word, verdict.exit_status) == ("undecided", 3)
    assert verdict.checks[0].sentence.startswith("undecided: 3 speakers, gate.min_units=5")


def test_one_speaker_cannot_stand_for_a_group_however_much_was_said():
    verdict = compared({"north": 8, "south": 1}, GateConfig(worst_group=1.0, min_units=2)).verdict
    assert verdict.checks[0].passed is None
    assert verdict.checks[0].sentence.startswith("undecided: 1 speaker, +25.00 points")


def test_a_loss_that_may_be_chance_is_undecided():
    def noisy(zone, speaker, take):
        return before(zone, speaker, take) + (-3 if zone == "north" else 6 if speaker % 2 else -4)

    verdict = compared(gate=GateConfig(worst_group=1.0), later=noisy).verdict
    assert verdict.word == "undecided"
    assert "neither shown nor ruled out (+5.00 points" in verdict.checks[0].sentence
    # How many more would show it: of one group alone as many as the table says of its change, of two more than that.
    alone = compared({"south": 8}, GateConfig(worst_group=1.0), later=noisy)
    number = alone.columns[0].groups["south"].test.num_more_units
    assert alone.verdict.checks[0].sentence.endswith(f"; some {number} speakers more like these would decide")
    of_two = re.search(r"some (\d+) speakers more", verdict.checks[0].sentence)
    assert of_two and int(of_two[1]) > number


def test_of_several_candidates_each_has_its_own_spread():
    [table, *_] = several_change_tables({"x": compared(), "y": compared(later=before)})
    assert [row[:2] for row in table.rows] == [["x", "south"], ["x", "north"], ["y", "north"], ["y", "south"]]
    of_x, of_y = table.note.split(" y: ")
    assert of_x.startswith("x: Spread of the changes: 35.00 points from lowest to highest")
    assert of_y.startswith("Spread of the changes: 0.00 points from lowest to highest; p 1.000")
    assert table.note in several_summary({"x": compared(), "y": compared(later=before)}, "out")


def test_a_group_of_one_speaker_is_marked():
    [table] = column_change_tables(compared({"north": 8, "south": 1}))
    assert [row[0] for row in table.rows] == ["south (1 speaker)", "north"]
    assert "role" not in table.headers


def test_on_the_page_undecided_is_said_once_and_is_no_failure():
    page = render_html(comparison_report(compared({"north": 8, "south": 3}, GateConfig(worst_group=1.0))))
    assert '<li class="open"><b>undecided</b> group zone=south: 3 speakers, gate.min_units=5' in page
    assert '<div class="gate open">' in page


def test_groups_are_not_judged_unless_asked():
    assert compared().verdict.checks == []


def test_the_candidate_alone_may_carry_the_column():
    assert list(compared(carries=False).columns[0].groups) == ["south", "north"]


def test_text_json_markdown_and_html_say_the_same():
    comparison = compared(gate=GateConfig(worst_group=1.0))
    report = comparison_report(comparison)
    for text in (comparison_summary(comparison, "out"), render_markdown(report), render_html(report)):
        assert "Gain and loss by zone" in text
        assert "21.88" in text
        assert "got worse" in text
    row = comparison_row(comparison)
    assert row["columns"][0]["groups"]["south"]["test"]["delta_percent"] == 21.875
    assert row["gate"]["worst_group"] == 1.0
    assert "columns" not in comparison_row(replace(comparison, columns=[]))


def test_a_gate_on_groups_needs_columns():
    with pytest.raises(ConfigError, match=r"gate.worst_group=1 judges the groups of columns, and by=\[\] names none"):
        CompareConfig("a", "b", "out", gate=GateConfig(worst_group=1.0))
