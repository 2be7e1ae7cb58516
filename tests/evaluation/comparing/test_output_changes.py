"""A candidate whose outputs collapsed is refused, whatever its error rate did; one that errs is not."""

import html
from dataclasses import replace

import pytest

from qasr_train.evaluation.comparing.compare import compare_runs, comparison_row
from qasr_train.evaluation.comparing.output_changes import compare_outputs
from qasr_train.evaluation.comparing.several import compare_with_each
from qasr_train.evaluation.report.comparison_tables import comparison_summary, several_summary
from qasr_train.evaluation.report.content import comparison_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.utterance import ANY
from qasr_train.evaluation.settings import GateConfig
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

TEXT = "a b c d e f"


def run(hypotheses, *, role="target", set_name="s", text=TEXT):
    rows = [
        Prediction(None, 1.0, 0.1, text, one, id=f"u{n}", set=set_name, role=role, language="English")
        for n, one in enumerate(hypotheses)
    ]
    return replace(score_predictions(rows, get_normalizer("none")), path="run")


def verdict(before, after, *, gate=None, role="target"):
    found = compare_runs(run(before, role=role), run(after, role=role), gate).verdict
    return found.word, found.checks[0].sentence if found.checks else ""


def test_the_collapse_that_was_seen_is_refused_and_told_everywhere():
    # As seen with Arabic commands: 150 -> 100 %, most outputs empty, all of them U+FFFD; p < 0.001.
    before, after = run(["x y z u v w 1 2 3"] * 20), run(["\ufffd"] * 2 + ["\ufffd \ufffd"] * 18)
    comparison = compare_runs(before, after)
    assert (comparison.overall.test.baseline_percent, comparison.overall.test.candidate_percent) == (150.0, 100.0)
    assert comparison.overall.test.p_value < 0.001
    assert (comparison.verdict.word, comparison.verdict.exit_status) == ("failed", 1)
    stored = comparison_row(comparison)["sets"]["s"]["outputs"]
    assert stored["garbled"] == {
        "num_baseline": 0, "num_candidate": 20, "baseline_percent": 0.0, "candidate_percent": 100.0, "change_points": 100.0,
    }  # fmt: skip
    report = comparison_report(comparison)
    for text in (
        comparison_summary(comparison, "out"),
        render_markdown(report).replace("\\", ""),
        html.unescape(render_html(report)),
        several_summary(compare_with_each(before, {"cand": after}, GateConfig()), "out"),
    ):
        assert "100.0 % of the outputs are broken (100.0 % empty, 100.0 % garbled" in text
        assert "error rate 100.0 %: nothing was learned; try another rate (optim.lr), more steps" in text
        assert "adapt=full; by error rate alone: improved by 50.00 points" in text
        assert "+100.00" in text


GOOD, BAD = TEXT, ""


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        # Baseline errs in every utterance (1 of 6 words), the candidate in none, but for its empty outputs.
        (["a b c d e x"] * 40, [GOOD] * 40, "passed"),
        (["a b c d e x"] * 40, [GOOD] * 38 + [BAD] * 2, "passed"),  # 5 points more: allowed
        (["a b c d e x"] * 40, [GOOD] * 37 + [BAD] * 3, "failed"),  # 7.5 points more
        (["a b c x x x"] * 10, [GOOD] * 9 + [BAD], "passed"),  # 10 points, but one output alone is no collapse
        (["x x x x x x"] * 20 + [BAD] * 20, [GOOD] * 28 + [BAD] * 12, "passed"),  # 50 -> 30 %
        (["x x x x x x"] * 20 + [BAD] * 20, [GOOD] * 27 + [BAD] * 13, "failed"),  # 50 -> 32.5 %, still too many
    ],
)
def test_shares_past_the_stated_ones_are_refused(before, after, word):
    assert verdict(before, after)[0] == word


def test_the_stated_shares_are_settings():
    before, after = ["a b c d e x"] * 40, [GOOD] * 37 + [BAD] * 3
    assert verdict(before, after, gate=GateConfig(max_broken_growth_points=7.5))[0] == "passed"
    assert verdict(before, after, gate=GateConfig(max_broken_growth_points=7.5, max_broken_percent=7.0))[0] == "failed"


def test_a_target_near_100_percent_was_not_learned_however_far_it_fell():
    before, after = ["x " * 12] * 20, ["a x x x x x"] * 4 + ["x x x x x x"] * 16
    # 200 % -> 116 errors of 120 words, 96.7 %.
    word, sentence = verdict(before, after)
    assert word == "failed" and sentence.startswith("error rate 96.7 %: nothing was learned; try another rate")
    assert verdict(before, after, gate=GateConfig(max_target_percent=97))[0] == "passed"
    # A guard at which both are bad was not to be learned.
    assert verdict(["x x x x x x"] * 20, ["x x x x x x"] * 20, role="guard")[0] == "passed"


def test_few_speakers_do_not_hide_a_collapse_but_few_utterances_are_undecided():
    rows = [run(["x x x x x x"] * 20), run([BAD] * 20)]
    for one in rows:
        for n, row in enumerate(one.rows):
            row.prediction.speaker = f"s{n % 2}"
    assert compare_runs(*rows).verdict.word == "failed"
    assert verdict(["x x x x x x"] * 3, [BAD] * 3)[0] == "undecided"


def test_a_set_without_a_role_is_warned_of():
    comparison = compare_runs(run(["a b c d e x"] * 9, role=None), run([BAD] * 9, role=None))
    assert comparison.verdict.word == "not judged"
    assert comparison.warnings[0].startswith("set s: 100.0 % of the outputs are broken (100.0 % empty), 0.0 % under")


def test_pairs_in_which_a_system_failed_count_in_neither():
    comparison = compare_runs(run([GOOD, BAD, GOOD]), run([BAD, BAD, GOOD]))
    pairs = comparison.pairs
    pairs[0].candidate.prediction.failed = "no audio"
    outputs = compare_outputs(pairs)
    assert (outputs["empty"].baseline_percent, outputs[ANY].candidate_percent) == (50.0, 50.0)
    assert compare_outputs([]) == {}
