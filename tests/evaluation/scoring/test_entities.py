"""Terms of a list in scores: the figures counted by hand."""

import json

import pytest

from qasr_train.evaluation.report.content import scores_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.report.tables import score_summary
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.settings import SuiteConfig
from qasr_train.jobs.score import score_saved
from qasr_train.jobs.settings.score import ScoreConfig
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import TermList
from qasr_train.transcription.predictions import Prediction, write_predictions


def _list(*terms):
    return TermList("terms.txt", "0", {term: term for term in terms})


def _row(text, pred_text, name="u", language="English", set_name="s", **fields):
    return Prediction(None, 2.0, 0.5, text, pred_text, id=name, set=set_name, language=language, **fields)


def test_recall_precision_and_errors_on_and_off_terms_by_hand():
    rows = [
        # 2 spoken, 1 written and right; "heart attack" became "hard attack": 1 error on terms of 3 words; "the" lost: 1 off of 3.
        _row("the patient took metformin after heart attack", "patient took metformin after hard attack", "a"),
        # none spoken, 1 written: the inserted "metformin" is an error on terms.
        _row("he slept well", "he slept metformin well", "b"),
        _row("x metformin", "", "c", failed="no audio"),  # left out
    ]
    scores = score_predictions(rows, get_normalizer("none"), terms=_list("metformin", "heart attack", "insulin"))
    group = scores.entities.overall
    assert (group.num_spoken, group.num_written, group.num_found) == (2, 2, 1)
    assert (group.recall_percent, group.precision_percent, group.f1_percent) == (50.0, 50.0, 50.0)
    assert (group.num_term_errors, group.term_error_percent) == (2, 100.0)  # one missed, one added
    assert (group.num_errors_on_terms, group.num_words_on_terms, group.on_terms_percent) == (2, 3, 66.67)
    assert (group.num_errors_off_terms, group.num_words_off_terms, group.off_terms_percent) == (1, 7, 14.29)
    assert scores.entities.by_term == {"heart attack": (1, 0, 0), "metformin": (1, 2, 1)}
    assert [row.terms and (row.terms.missed, row.terms.added) for row in scores.rows] == [
        (["heart attack"], []),
        ([], ["metformin"]),
        None,
    ]


def test_a_term_said_twice_and_written_once_is_found_once():
    group = score_predictions([_row("no no", "no yes")], get_normalizer("none"), terms=_list("no")).entities.overall
    assert (group.num_spoken, group.num_written, group.num_found, group.recall_percent) == (2, 1, 1, 50.0)


@pytest.mark.parametrize("normalizer", ["none", "leaderboard-2026-08"])
def test_errors_on_and_off_terms_add_up_to_all(normalizer):
    rows = [
        _row("the white paper on metformin and more", "a whitepaper on met forming", "a"),
        _row("one two three four metformin", "metformin one too three four five", "b"),
        _row("heart attack heart attack", "heart", "c"),
        _row("metformin", "", "d"),
    ]
    scores = score_predictions(
        rows, get_normalizer(normalizer), terms=_list("metformin", "white paper", "heart attack")
    )
    group = scores.entities.overall
    assert group.num_errors_on_terms + group.num_errors_off_terms == sum(row.counts.num_errors for row in scores.rows)
    assert group.num_words_on_terms + group.num_words_off_terms == scores.overall["num_reference_words"]
    assert group.num_words_on_terms > 0


def test_chinese_terms_are_counted_in_characters():
    rows = [_row("今天天气很好", "今天天汽很好", language="Chinese")]
    group = score_predictions(rows, get_normalizer("qasr-1"), terms=_list("天气")).entities.overall
    assert (group.metric, group.on_terms_percent, group.off_terms_percent) == ("cer", 50.0, 0.0)
    assert (group.num_spoken, group.num_written) == (1, 0)


def test_other_spellings_count_as_their_term():
    terms = TermList("t", "0", {"heart attack": "heart attack", "myocardial infarction": "heart attack"})
    group = score_predictions(
        [_row("a heart attack", "a myocardial infarction")], get_normalizer("qasr-1"), terms=terms
    )
    assert group.entities.overall.recall_percent == 100.0


def test_terms_that_cannot_be_found_or_fall_together_are_warned_of():
    scores = score_predictions(
        [_row("a b", "a b")], get_normalizer("leaderboard-2026-08"), terms=_list("um", "colour", "Color")
    )
    assert scores.warnings == [
        "terms: normalised by leaderboard-2026-08 in English, nothing is left of 'um'; never found",
        "terms: normalised by leaderboard-2026-08 in English, 1 spellings are those of another term and count as that, "
        "the first 'Color' as 'colour'",
    ]


def test_files_and_report_hold_the_terms(tmp_path):
    (tmp_path / "terms.txt").write_text("metformin\n<b>insulin</b>\n")
    rows = [_row("take metformin", "take met", "a", set_name="one"), _row("no", "metformin", "b", set_name="two")]
    write_predictions(tmp_path / "predictions.jsonl", rows)
    config = ScoreConfig(str(tmp_path), str(tmp_path / "out"), "none", terms=str(tmp_path / "terms.txt"))
    scores = score_saved(config)
    stored = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))["entities"]
    assert (stored["sets"]["one"]["recall_percent"], stored["sets"]["two"]["recall_percent"]) == (0.0, None)
    assert stored["overall"]["num_written"] == 1
    assert stored["num_terms"] == 2
    assert stored["terms"] == {"metformin": {"num_spoken": 1, "num_written": 1, "num_found": 0}}
    lines = (tmp_path / "out" / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["terms"] == {
        "reference": ["metformin"],
        "hypothesis": [],
        "missed": ["metformin"],
        "added": [],
    }
    report = scores_report(scores)
    by_id = {row["i"]: row for row in report.explored}
    assert (by_id["a"]["f"], by_id["a"]["t"], by_id["b"]["f"]) == (["term missed"], ["metformin"], ["term added"])
    assert (
        "| one | 1 | 0 | 0 | 0.00 | 0.00 to 97.50 | – | 0.00 | 0.00 to 97.50 | 100.00 | 100.00 | 0.00 |"
        in render_markdown(report)
    )
    assert "<h2>Terms</h2>" in render_html(report)
    assert "recall %" in score_summary(scores, "out")


def test_without_a_list_nothing_of_terms_is_written():
    scores = score_predictions([_row("a", "a")], get_normalizer("none"))
    assert scores.entities is None
    assert "Terms" not in render_markdown(scores_report(scores))
    assert SuiteConfig("x", {"s": None}).terms is None
