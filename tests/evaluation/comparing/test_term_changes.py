"""How the recognition of terms changed between two runs: rates by hand, pairing, what is left out and said."""

import json

import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.comparing.compare import Run, compare_runs, load_run
from qasr_train.evaluation.comparing.term_changes import RunTerms, compare_terms, term_counts
from qasr_train.evaluation.report.comparison_tables import comparison_summary, term_change_tables
from qasr_train.evaluation.scoring.context_echo import ContextCounts
from qasr_train.evaluation.scoring.entities import TermCounts
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.score import score_predictions, write_scores
from qasr_train.jobs.compare import compare_one
from qasr_train.jobs.settings.compare import CompareConfig
from qasr_train.text.terms import read_terms
from qasr_train.transcription.predictions import Prediction, write_predictions

DRAWS = Resampling(num_resamples=200)


def rates(changes):
    return {(one.set, one.rate): (one.test.baseline_percent, one.test.candidate_percent) for one in changes if one.test}


def test_counts_take_each_term_as_often_as_it_stands_there():
    assert term_counts(["a", "a", "b"], ["a", "c"]) == TermCounts(num_spoken=3, num_written=2, num_found=1)


def test_rates_of_pooled_counts_per_set_and_over_all():
    before = RunTerms(
        {("m", "1"): TermCounts(4, 2, 1), ("m", "2"): TermCounts(0, 2, 0), ("n", "3"): TermCounts(1, 1, 1)}, {}, "d"
    )
    after = RunTerms(
        {("m", "1"): TermCounts(4, 4, 3), ("m", "2"): TermCounts(0, 1, 0), ("n", "3"): TermCounts(1, 0, 0)}, {}, "d"
    )
    speakers = dict.fromkeys([*before.terms, ("m", "not scored in both")])
    changes, warnings = compare_terms(before, after, speakers, DRAWS)
    assert warnings == []
    assert rates(changes) == {
        ("m", "term recall"): (25.0, 75.0),  # 1 and 3 of 4 spoken
        ("m", "term precision"): (25.0, 60.0),  # 1 of 4 and 3 of 5 written
        ("m", "term F1"): (25.0, 66.6667),  # 2 of 8 and 6 of 9
        ("n", "term recall"): (100.0, 0.0),
        ("n", "term F1"): (100.0, 0.0),  # precision of the candidate has nothing to divide by
        ("", "term recall"): (40.0, 60.0),
        ("", "term precision"): (40.0, 60.0),
        ("", "term F1"): (40.0, 60.0),
    }
    assert {one.num_utterances for one in changes if one.set == "m"} == {2}


def test_the_interval_is_paired():
    """Every utterance gains one of two terms under the candidate, so every resample gains exactly 50 points of recall."""
    before = RunTerms({("m", str(n)): TermCounts(2, 2, n % 2) for n in range(40)}, {}, "d")
    after = RunTerms({key: TermCounts(2, 2, one.num_found + 1) for key, one in before.terms.items()}, {}, "d")
    (recall, *_), _ = compare_terms(before, after, dict.fromkeys(before.terms), DRAWS)
    assert (recall.test.interval.low_percent, recall.test.interval.high_percent) == (50.0, 50.0)
    assert recall.test.delta_percent == 50.0
    assert recall.test.p_segments is None


def test_context_recall_and_echo():
    before = RunTerms({}, {("m", "1"): ContextCounts(num_spoken=4, num_found=2, num_unspoken=10, num_echoed=1)})
    after = RunTerms({}, {("m", "1"): ContextCounts(num_spoken=4, num_found=4, num_unspoken=10, num_echoed=3)})
    changes, _ = compare_terms(before, after, {("m", "1"): None}, DRAWS)
    assert rates(changes) == {("m", "context recall"): (50.0, 100.0), ("m", "context echo"): (10.0, 30.0)}


def test_what_cannot_be_compared_is_said():
    key = ("m", "1")
    one, other = RunTerms({key: TermCounts(1, 1, 1)}, {}, "d"), RunTerms({key: TermCounts(1, 1, 1)}, {}, "e")
    assert compare_terms(one, other, {key: None}, DRAWS) == (
        [],
        ["the runs were scored with different term lists, so terms are not compared; give terms=FILE"],
    )
    with_context = RunTerms({}, {key: ContextCounts(1, 1, 1, 1)})
    assert compare_terms(RunTerms({}, {}), with_context, {key: None}, DRAWS) == (
        [],
        ["only one of the runs was offered terms in a context, so their recall and echo are not compared"],
    )


def predictions(hypothesis, context=None):
    return [
        Prediction(None, 2.0, 0.5, "take metformin now", hypothesis, id=str(number), set="m", context=context)
        for number in range(4)
    ]


@pytest.fixture
def runs(tmp_path):
    """Two run folders with a term list and a context: the first misses the term and echoes, the second does neither."""
    (tmp_path / "terms.txt").write_text("metformin\nmet\n")
    terms = read_terms(tmp_path / "terms.txt")
    for name, hypothesis in (("a", "take met now aspirin"), ("b", "take metformin now")):
        rows = predictions(hypothesis, "metformin, aspirin")
        write_predictions(tmp_path / name / "predictions.jsonl", rows)
        write_scores(tmp_path / name, score_predictions(rows, "none", terms=terms))
    return tmp_path


def test_the_job_compares_terms_as_the_runs_were_scored(runs):
    comparison = compare_one(CompareConfig(str(runs / "a"), str(runs / "b"), str(runs / "out")))
    expected = {
        ("m", "term recall"): (0.0, 100.0),
        ("m", "term precision"): (0.0, 100.0),
        ("m", "term F1"): (0.0, 100.0),
        ("m", "context recall"): (0.0, 100.0),
        ("m", "context echo"): (100.0, 0.0),
    }
    assert rates(comparison.terms) == expected
    stored = json.loads((runs / "out" / "comparison.json").read_text())["terms"]
    assert [(row["rate"], row["test"]["delta_percent"]) for row in stored][:1] == [("term recall", 100.0)]
    (table,) = term_change_tables(comparison)
    assert table.rows[0][:6] == ["term recall", "m", "4", "0.00", "100.00", "+100.00 *"]
    assert "context echo" in comparison_summary(comparison, "out")
    # From the predictions alone: contexts are found again, terms only with a list.
    for name in "ab":
        (runs / name / "scores.json").unlink()
    names = {
        change.rate for change in compare_one(CompareConfig(str(runs / "a"), str(runs / "b"), str(runs / "out"))).terms
    }
    assert names == {"context recall", "context echo"}
    config = CompareConfig(
        str(runs / "a"), str(runs / "b"), str(runs / "out"), normalizer="none", terms=str(runs / "terms.txt")
    )
    assert rates(compare_one(config).terms) == expected


def test_a_term_list_of_the_comparison_counts_anew(runs):
    (runs / "other.txt").write_text("now\n")
    config = CompareConfig(str(runs / "a"), str(runs / "b"), str(runs / "out"), terms=str(runs / "other.txt"))
    assert rates(compare_one(config).terms)["m", "term recall"] == (100.0, 100.0)
    with pytest.raises(ConfigError, match=r"terms=.*none.txt: cannot be read"):
        compare_one(CompareConfig(str(runs / "a"), str(runs / "b"), str(runs / "out"), terms=str(runs / "none.txt")))


def test_runs_without_terms_have_no_table():
    run = Run("r", "none", score_predictions(predictions("take metformin now"), "none").utterances)
    assert term_change_tables(compare_runs(run, run)) == []


def test_terms_of_utterances_that_failed_under_one_system_are_left_out(runs):
    rows = predictions("take met now aspirin", "metformin, aspirin")
    rows[0].failed = "no audio"
    write_predictions(runs / "c" / "predictions.jsonl", rows)
    baseline = load_run(runs / "c", "none", read_terms(runs / "terms.txt"))
    candidate = load_run(runs / "b", "none", read_terms(runs / "terms.txt"))
    assert {change.num_utterances for change in compare_runs(baseline, candidate).terms} == {3}
