"""The list of figures: a new one is an entry there, and stands in scores.json, the tables and what a tracker gets."""

import ast
import json

import pytest

from qasr_train.evaluation.report.content import scores_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.report.tables import score_summary
from qasr_train.evaluation.report.tracker_figures import figures
from qasr_train.evaluation.scoring import metrics
from qasr_train.evaluation.scoring.metrics import FIGURES, RESULTS, TROUBLE, Figure, columns, tracked_figures
from qasr_train.evaluation.scoring.run_files import scores_row
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction
from tests.helpers import ROOT

# What code outside the list asks for by name, and why.
NEEDED = {
    "report/content.py": {"rtfx"},  # the line of a run among systems
    "report/published.py": {"audio_s", "inference_s"},  # speed over some of the sets
    "report/tables.py": {"interval", "wer_percent"},  # the column in which means stand
    "report/tracker_figures.py": {"primary_metric", "rtfx", "wer_percent"},  # figures over all sets
    "routes/compare.py": {"rtfx"},  # speed of a route
    "scoring/run_files.py": {"wer_percent"},  # micro_wer_percent
    "scoring/score.py": {"wer_percent"},  # macro_wer_percent
    # Forms that others prescribe: the leaderboard's tables and entries.
    "submission/eval_results.py": {"rtfx"},
    "submission/language_csv.py": {"num_failed"},
    "submission/leaderboard_csv.py": {"num_failed", "rtfx", "wer_percent"},
}


def run():
    rows = [
        Prediction(None, 2.0, 0.5, "a b c d", "a b c", id="1", set="s", language="German"),
        Prediction(None, 2.0, 0.5, "a b", "a x", id="2", set="t", language="German"),
    ]
    return score_predictions(rows, get_normalizer("none"))


@pytest.fixture
def lost(monkeypatch):
    """A figure more: the share of words lost, among the results and in the tracker."""

    def of_group(group):
        return 100.0 * group.total("deletions") / int(group.words[1].sum())

    figure = Figure("lost_percent", of_group, table=RESULTS, place=11, title="lost %", tracked=11)
    monkeypatch.setattr(metrics, "FIGURES", [*FIGURES, figure])


def test_a_new_figure_is_one_entry(lost):
    scored = run()
    stored = json.loads(json.dumps(scores_row(scored)))
    assert (stored["sets"]["s"]["lost_percent"], stored["sets"]["t"]["lost_percent"]) == (25.0, 0.0)
    assert stored["overall"]["lost_percent"] == pytest.approx(100 / 6)
    header, first, *_ = score_summary(scored, "out").splitlines()
    assert (header.split()[-2:], first.split()[-1]) == (["lost", "%"], "25.00")
    report = render_markdown(scores_report(scored))
    assert "| RTFx | lost % |" in report and "| 4.0 | 25.00 |" in report
    sent = figures(scored)
    assert sent["test/set/s/lost_percent"] == 25.0
    assert sent["test/language/German/lost_percent"] == pytest.approx(100 / 6)


def test_nothing_outside_the_list_names_a_figure_it_does_not_need():
    names = {figure.name for figure in FIGURES}
    wing = ROOT / "qasr_train" / "evaluation"
    found = {}
    for path in sorted(wing.rglob("*.py")):
        constants = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        if path.name not in ("metrics.py", "utterance.py") and constants & names:
            found[path.relative_to(wing).as_posix()] = constants & names
    assert found == NEEDED


def test_columns_and_what_is_tracked_stand_in_their_places():
    assert [figure.title for figure in columns(RESULTS)] == (
        "utterances,words,WER %,two-sided interval,CER %,sub,del,ins,left out,RTFx".split(",")
    )
    assert [figure.title for figure in columns(TROUBLE)] == (
        "empty output %,garbled %,loops %,cut off %,other language %,any of these %,failed,language right %,non-speech clips,"
        "with words %,words there".split(",")
    )
    assert [figure.name for figure in tracked_figures()] == (
        "wer_percent cer_percent rtfx language_accuracy_percent empty_output_percent loop_percent hallucination_percent "
        "num_utterances num_failed num_truncated broken_percent"
    ).split()


def test_a_group_of_scores_json_is_the_list_in_its_order():
    assert list(run().overall.to_json()) == [
        "normalizer",
        *(figure.name for figure in FIGURES if not figure.is_optional),
    ]
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)


def test_a_cell_shows_rates_to_two_places_counts_whole_and_a_dash_for_nothing():
    shown = {figure.name: figure.cell(run().overall) for figure in FIGURES}
    # "a b c d" -> "a b c": 1 of 4 words, 2 of 7 characters; "a b" -> "a x": 1 of 2 words, 1 of 3 characters.
    assert (shown["wer_percent"], shown["cer_percent"]) == ("33.33 *", "30.00")
    assert shown["num_reference_words"] == "6"
    assert shown["num_not_scored"] == ""
    assert shown["hallucination_percent"] == "–"
    assert shown["rtfx"] == "4.0"
