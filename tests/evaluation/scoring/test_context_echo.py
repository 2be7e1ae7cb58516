"""Terms offered in the prompt: which were spoken, found and echoed, counted by hand."""

import json

from qasr_train.evaluation.report.content import scores_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.report.tables import score_summary
from qasr_train.evaluation.scoring.run_files import scores_row, write_scores
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import context_terms
from qasr_train.transcription.predictions import Prediction


def _row(text, pred_text, context, name="u", language="English", **fields):
    fields = {"set": "s"} | fields
    return Prediction(None, 2.0, 0.5, text, pred_text, id=name, language=language, context=context, **fields)


def test_a_context_is_parted_at_commas_and_new_lines_and_prose_is_counted_apart():
    prose = "this is what the speaker talked about on that day"
    assert context_terms(f"metformin, heart attack\r\nmetformin;MI\n\n{prose}") == (
        ["metformin", "heart attack", "MI"],
        1,
    )
    assert context_terms("天气、北京，上海") == (["天气", "北京", "上海"], 0)


def test_recall_and_echo_by_hand():
    offered = "metformin, insulin, heart attack"
    rows = [
        # spoken: metformin (found); unspoken: insulin (echoed) and heart attack.
        _row("take metformin now", "take metformin insulin now", offered, "a"),
        # spoken: heart attack (not found); unspoken: metformin, insulin (neither written).
        _row("a heart attack", "a hard attack", offered, "b"),
        _row("metformin", "insulin", None, "c"),  # nothing offered
        _row("x", "insulin", offered, "d", failed="no audio"),  # not scored
    ]
    scores = score_predictions(rows, get_normalizer("none"))
    group = scores.context.overall
    assert (group.num_utterances, group.num_offered, group.num_spoken, group.num_found) == (2, 6, 2, 1)
    assert (group.num_unspoken, group.num_echoed, group.num_with_echo) == (4, 1, 1)
    assert (group.context_recall_percent, group.context_echo_percent) == (50.0, 25.0)
    assert [row.context_terms and row.context_terms.echoed for row in scores.rows] == [["insulin"], [], None, None]


def test_terms_are_compared_by_the_rules_of_the_normaliser():
    rules = get_normalizer("qasr-1")
    scores = score_predictions([_row("Er nahm Insulin.", "er nahm insulin", "INSULIN", language="German")], rules)
    assert (scores.context.overall.num_found, scores.context.overall.num_echoed) == (1, 0)
    chinese = score_predictions([_row("今天天气好", "今天天气好北京", "天气，北京", language="Chinese")], rules)
    assert [row.context_terms.echoed for row in chinese.rows] == [["北京"]]
    assert chinese.context.overall.context_recall_percent == 100.0


def test_a_part_of_a_longer_term_counts_as_spoken():
    scores = score_predictions([_row("a heart attack", "a heart", "heart, heart attack")], get_normalizer("none"))
    one = scores.rows[0].context_terms
    assert (one.spoken, one.found, one.echoed) == (["heart", "heart attack"], ["heart"], [])


def test_files_and_report_hold_the_figures_per_set(tmp_path):
    rows = [_row("a b", "a b x", "x, a", "a"), _row("a", "a", "x", "b", set="t")]
    scores = score_predictions(rows, get_normalizer("none"))
    stored = scores_row(scores)["context"]
    assert (stored["sets"]["s"]["context_echo_percent"], stored["sets"]["t"]["context_echo_percent"]) == (100.0, 0.0)
    assert stored["overall"]["context_echo_percent"] == 50.0
    write_scores(tmp_path, scores)
    line = (tmp_path / "utterances.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(line)["context_terms"] == {
        "num_offered": 2,
        "spoken": ["a"],
        "found": ["a"],
        "echoed": ["x"],
        "num_prose": 0,
    }
    report = scores_report(scores)
    assert {row["i"]: row["f"] for row in report.explored} == {"a": ["context echoed"], "b": []}
    assert "| s | 1 | 2 | 1 | 1 | 100.00 | 2.50 to 100.00 | 1 | 1 | 100.00 | 2.50 to 100.00 |" in render_markdown(
        report
    )
    assert "echo %" in score_summary(scores, "out")


def test_without_a_context_nothing_is_written_of_it():
    scores = score_predictions([_row("a", "a", None)], get_normalizer("none"))
    assert scores.context is None
    assert "context" not in scores_row(scores)
