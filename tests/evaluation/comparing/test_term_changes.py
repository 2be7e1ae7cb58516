"""How the recognition of terms changed between two runs: rates by hand, pairing, what is left out and said."""

import json

import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.comparing.compare import compare_runs
from qasr_train.evaluation.comparing.pairs import pair_runs
from qasr_train.evaluation.comparing.term_changes import compare_terms
from qasr_train.evaluation.report.comparison_tables import comparison_summary, term_change_tables
from qasr_train.evaluation.scoring.entities import CountedTerms, TermCounts, term_counts
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.run_files import load_run, write_scores
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.scoring.utterance import ErrorCounts, UtteranceContext, UtteranceScore, UtteranceTerms
from qasr_train.jobs.compare import compare_one
from qasr_train.jobs.settings.compare import CompareConfig
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import read_terms
from qasr_train.transcription.predictions import Prediction, write_predictions

DRAWS = Resampling()
NOTHING = ErrorCounts("", "", 0, 0, 0, 0, 0, 0, False)


def rates(changes):
    return {(one.set, one.rate): (one.test.baseline_percent, one.test.candidate_percent) for one in changes if one.test}


def terms(num_spoken, num_written, num_found):
    """Terms of one utterance: so many in the reference, in the output, in both."""
    both = ["both"] * num_found
    return UtteranceTerms(
        [*both, *["lost"] * (num_spoken - num_found)], [*both, *["made up"] * (num_written - num_found)]
    )


def context(num_spoken, num_found, num_unspoken, num_echoed):
    spoken = [f"spoken {number}" for number in range(num_spoken)]
    return UtteranceContext(num_spoken + num_unspoken, spoken, spoken[:num_found], ["echo"] * num_echoed, 0)


def run(found, digest="d"):
    """A run with the terms, or context, of each (set, id)."""
    rows = []
    for (name, utterance_id), one in found.items():
        prediction = Prediction(None, 1.0, 0.1, "", "", id=utterance_id, set=name)
        is_context = isinstance(one, UtteranceContext)
        rows.append(UtteranceScore(prediction, NOTHING, None, None if is_context else one, one if is_context else None))
    return ScoredRun(get_normalizer("none"), rows, terms=CountedTerms("t", digest, 1))


def compared(before, after):
    return compare_terms(before, after, pair_runs(before, after)[0], DRAWS)


def test_counts_take_each_term_as_often_as_it_stands_there():
    found = UtteranceTerms(["a", "a", "b"], ["a", "c"])
    assert term_counts(found) == TermCounts(num_spoken=3, num_written=2, num_found=1)


def test_rates_of_pooled_counts_per_set_and_over_all():
    before = run({("m", "1"): terms(4, 2, 1), ("m", "2"): terms(0, 2, 0), ("n", "3"): terms(1, 1, 1), ("m", "4"): None})
    after = run({("m", "1"): terms(4, 4, 3), ("m", "2"): terms(0, 1, 0), ("n", "3"): terms(1, 0, 0), ("m", "4"): None})
    changes, warnings = compared(before, after)
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
    """Every utterance gains one of two terms under the candidate, so there is no spread: as sure as a test of 40 signs."""
    before = run({("m", str(n)): terms(2, 2, n % 2) for n in range(40)})
    after = run({("m", str(n)): terms(2, 2, n % 2 + 1) for n in range(40)})
    (recall, *_), _ = compared(before, after)
    assert recall.test.p_value == pytest.approx(2 / 2**40, rel=1e-6)
    assert 30 < recall.test.interval.low_percent < 50.0 < recall.test.interval.high_percent < 70
    assert recall.test.delta_percent == 50.0


def test_context_recall_and_echo():
    before = run({("m", "1"): context(num_spoken=4, num_found=2, num_unspoken=10, num_echoed=1)})
    after = run({("m", "1"): context(num_spoken=4, num_found=4, num_unspoken=10, num_echoed=3)})
    assert rates(compared(before, after)[0]) == {
        ("m", "context recall"): (50.0, 100.0),
        ("m", "context echo"): (10.0, 30.0),
    }


def test_what_cannot_be_compared_is_said():
    key = ("m", "1")
    assert compared(run({key: terms(1, 1, 1)}, "d"), run({key: terms(1, 1, 1)}, "e")) == (
        [],
        ["the runs were scored with different term lists, so terms are not compared; give terms=FILE"],
    )
    assert compared(run({key: None}), run({key: context(1, 1, 1, 1)})) == (
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
    term_list = read_terms(tmp_path / "terms.txt")
    for name, hypothesis in (("a", "take met now aspirin"), ("b", "take metformin now")):
        rows = predictions(hypothesis, "metformin, aspirin")
        write_predictions(tmp_path / name / "predictions.jsonl", rows)
        write_scores(tmp_path / name, score_predictions(rows, get_normalizer("none"), terms=term_list))
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
    assert table.rows[0][:6] == ["term recall", "m", "4", "0.00", "100.00", "+100.00"]  # 2 / 2**4 is 0.125
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
    scored = score_predictions(predictions("take metformin now"), get_normalizer("none"))
    assert term_change_tables(compare_runs(scored, scored)) == []


def test_terms_of_utterances_that_failed_under_one_system_are_left_out(runs):
    rows = predictions("take met now aspirin", "metformin, aspirin")
    rows[0].failed = "no audio"
    write_predictions(runs / "c" / "predictions.jsonl", rows)
    baseline = load_run(runs / "c", get_normalizer("none"), read_terms(runs / "terms.txt"))
    candidate = load_run(runs / "b", get_normalizer("none"), read_terms(runs / "terms.txt"))
    assert {change.num_utterances for change in compare_runs(baseline, candidate).terms} == {3}
