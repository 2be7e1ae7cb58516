"""Error rates of style of a run, their change between two, and the gate that judges them."""

import json
from pathlib import Path

import numpy as np
import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.comparing.compare import compare_runs, comparison_row
from qasr_train.evaluation.comparing.paired import paired_test
from qasr_train.evaluation.report.comparison_tables import style_change_tables
from qasr_train.evaluation.report.content import comparison_report
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.report.tables import style_tables
from qasr_train.evaluation.scoring.run_files import write_scores
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.scoring.significance import error_rate_interval
from qasr_train.evaluation.settings import GateConfig
from qasr_train.evaluation.style.settings import check_traits
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


def run_of(heard: list[str], traits: tuple[str, ...] = (), role: str | None = "target") -> ScoredRun:
    """Eight speakers with two utterances each of "Take 21 pills." in two sets."""
    rows = [
        Prediction(
            "u", 1.0, 0.1, "Take 21 pills.", text, id=str(n), set="ab"[n % 2], language="English", speaker=f"s{n // 2}",
            role=role if n % 2 else None,
        )
        for n, text in enumerate(heard)
    ]  # fmt: skip
    run = score_predictions(rows, get_normalizer("qasr-2"))
    return ScoredRun(run.normalizer, run.rows, traits=traits)


DIGITS, WORDS, PLAIN = "Take 21 pills.", "Take twenty-one pills.", "take 21 pills"


def test_rates_by_set_and_over_all_with_their_intervals(tmp_path: Path) -> None:
    run = run_of([WORDS, DIGITS, WORDS, PLAIN] * 4, traits=("numbers", "capitals"))
    assert run.style is not None
    found = {(one.trait.value, one.set): (one.num_errors, one.num_places, one.percent) for one in run.style.traits}
    assert found["numbers", "a"] == (8, 8, 100.0)
    assert found["numbers", "b"] == (0, 8, 0.0)
    assert found["numbers", ""] == (8, 16, 50.0)
    assert found["capitals", "b"] == (4, 8, 50.0)
    whole = next(one for one in run.style.traits if one.trait.value == "numbers" and one.set == "")
    errors = [1, 0] * 8
    speakers = [f"s{n // 2}" for n in range(16)]
    assert whole.interval == error_rate_interval(np.array(errors), np.ones(16, dtype=np.int64), speakers)
    table, often = style_tables(run)
    assert table.rows[0] == ["numbers", "a", "8", "8", "100.00", table.rows[0][5]]
    assert often.rows == [["numbers", "21", "twenty one", "8"], ["capitals", "Take", "take", "4"]]
    write_scores(tmp_path, run)
    assert json.loads((tmp_path / "scores.json").read_text())["style"][0]["trait"] == "numbers"


def test_nothing_is_told_where_nothing_is_asked() -> None:
    run = run_of([DIGITS] * 16)
    assert run.style is None and style_tables(run) == []
    comparison = compare_runs(run, run)
    assert (
        comparison.style == [] and "style" not in comparison_row(comparison) and style_change_tables(comparison) == []
    )


def test_a_style_is_a_target_and_another_a_guard_on_the_target_sets() -> None:
    baseline, candidate = run_of([WORDS] * 16), run_of([DIGITS] * 16)
    gate = GateConfig(
        style_target=["numbers"], style_guard=["punctuation"], max_style_loss_points=40, target=[], guard=[]
    )
    verdict = compare_runs(baseline, candidate, gate).verdict
    # 100 to 0 % in all of eight speakers alike: the test of signs, 2 / 2 ** 8.
    assert [(one.set, one.role, one.passed) for one in verdict.checks] == [
        ("numbers", "style target", True),
        ("punctuation", "style guard", True),
    ]
    assert verdict.checks[0].sentence == "improved by 100.00 points (two-sided p 0.008)"
    lost = compare_runs(candidate, run_of([PLAIN] * 16), GateConfig(style_guard=["punctuation"]))
    guard = next(one for one in lost.verdict.checks if one.role == "style guard")
    assert guard.passed is False and guard.sentence.startswith("lost too much (+100.00 points")
    assert lost.verdict.exit_status == 1
    page = render_html(comparison_report(lost))
    assert "style guard punctuation" in page and "Style: gain and loss" in page


def test_where_no_set_is_a_target_all_are_judged_and_a_style_that_nobody_shows_is_undecided() -> None:
    baseline, candidate = run_of([WORDS] * 16, role=None), run_of([DIGITS] * 16, role=None)
    comparison = compare_runs(baseline, candidate, GateConfig(style_target=["numbers", "fillers"]))
    assert [(one.set, one.passed) for one in comparison.verdict.checks] == [("numbers", True), ("fillers", None)]
    assert comparison.verdict.checks[1].sentence == "undecided: references and outputs show none of it"
    assert comparison.verdict.word == "undecided"
    pooled = next(one for one in comparison.style if one.set == "" and one.trait.value == "numbers")
    ones = np.ones(16, dtype=np.int64)
    speakers = [f"s{n // 2}" for n in range(16)]
    assert pooled.test == paired_test((ones, ones), (0 * ones, ones), speakers)


def test_few_speakers_decide_nothing() -> None:
    comparison = compare_runs(run_of([WORDS] * 6), run_of([DIGITS] * 6), GateConfig(style_target=["numbers"]))
    check = next(one for one in comparison.verdict.checks if one.role == "style target")
    assert check.passed is None and check.sentence.startswith("undecided: 3 speakers, gate.min_units=5")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["digits"], r"style=\[digits\]: unknown; choose among punctuation, capitals, numbers, units, fillers"),
        (["numbers", "numbers"], "style: numbers is named twice"),
    ],
)
def test_what_is_no_style_is_refused(names: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        check_traits(names, "style")


def test_a_style_has_one_role() -> None:
    with pytest.raises(ConfigError, match="both name numbers; what must improve needs no guard"):
        GateConfig(style_target=["numbers"], style_guard=["numbers"])
