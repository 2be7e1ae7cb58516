"""Several candidates against one baseline: the correction, what is written, the exit status."""

import json
import runpy
import sys

import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.comparing.several import short_names
from qasr_train.evaluation.report.comparison_tables import several_summary, several_table
from qasr_train.evaluation.settings import GateConfig
from qasr_train.jobs.compare import compare_several
from qasr_train.jobs.settings.compare import CompareConfig
from qasr_train.transcription.predictions import Prediction, write_predictions
from tests.helpers import ROOT

BASE, WORSE, BETTER = "a b c x", "a b x x", "a b c d"


def write_run(folder, hypotheses):
    rows = [
        Prediction(None, 2.0, 0.5, "a b c d", text, id=str(number), set="m", role="target", language="German")
        for number, text in enumerate(hypotheses)
    ]
    write_predictions(folder / "predictions.jsonl", rows)


@pytest.fixture
def runs(tmp_path):
    """base errs once in every utterance; good never; maybe is better in 7 of 40 and worse in one, p of some 0.03."""
    write_run(tmp_path / "base", [BASE] * 40)
    write_run(tmp_path / "good", [BETTER] * 40)
    write_run(tmp_path / "bad", [WORSE] * 40)
    write_run(tmp_path / "maybe", [BETTER] * 7 + [WORSE] * 1 + [BASE] * 32)
    return tmp_path


def config(runs, *names, **fields):
    return CompareConfig(
        str(runs / "base"), None, str(runs / "out"), candidates=[str(runs / name) for name in names], **fields
    )


def test_each_candidate_is_tested_at_its_share_of_alpha(runs):
    (alone,) = compare_several(config(runs, "maybe")).values()
    p = alone.sets["m"].test.p_value
    assert 0.05 / 3 < p < 0.05  # else this test would show nothing
    assert alone.verdict.passed is True
    comparisons = compare_several(config(runs, "good", "maybe", "bad"))
    assert {name: one.verdict.passed for name, one in comparisons.items()} == {
        "good": True,
        "maybe": False,
        "bad": False,
    }
    test = comparisons["maybe"].sets["m"].test
    assert test.interval.confidence == pytest.approx(1 - 0.05 / 3)
    narrow = alone.sets["m"].test.interval
    assert test.interval.low_percent <= narrow.low_percent and test.interval.high_percent >= narrow.high_percent
    assert (test.delta_percent, test.p_value) == (alone.sets["m"].test.delta_percent, p)


def test_what_is_written_and_printed(runs):
    comparisons = compare_several(config(runs, "good", "bad", gate=GateConfig(alpha=0.1)))
    stored = json.loads((runs / "out" / "comparisons.json").read_text())
    assert (stored["correction"], stored["alpha"], stored["alpha_each"]) == ("Bonferroni", 0.1, 0.05)
    assert {name: one["verdict"] for name, one in stored["candidates"].items()} == {"good": "passed", "bad": "failed"}
    one = json.loads((runs / "out" / stored["candidates"]["good"]["comparison"]).read_text())
    assert one["sets"]["m"]["test"]["delta_percent"] == -25.0
    table = several_table(comparisons)
    assert [row[:8] for row in table.rows] == [
        ["good", "m", "target", "40", "WER", "25.00", "0.00", "-25.00 *"],
        ["bad", "m", "target", "40", "WER", "25.00", "50.00", "+25.00 *"],
    ]
    text = several_summary(comparisons, "out")
    assert "2 candidates: each is tested, and its gate judged, at alpha 0.1 / 2 = 0.05 (Bonferroni)" in text
    assert "good: gate: passed" in text and "bad: gate: failed" in text


def run_recipe(arguments, monkeypatch):
    monkeypatch.setattr("sys.argv", ["compare.py", *arguments])
    monkeypatch.setattr("qasr_train.config.command_line.end_process", sys.exit)  # which ends this process as well
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "recipes" / "compare.py"), run_name="__main__")
    return ended.value.code


def test_the_recipe_writes_all_reports_and_fails_when_one_gate_fails(runs, monkeypatch, capsys):
    arguments = [f"baseline={runs / 'base'}", f"out={runs / 'out'}"]
    both = f"candidates=[{runs / 'good'},{runs / 'bad'}]"
    assert run_recipe([*arguments, both], monkeypatch) == 1
    assert "(Bonferroni)" in capsys.readouterr().out
    files = {str(path.relative_to(runs / "out")) for path in (runs / "out").rglob("*") if path.is_file()}
    each = {f"{name}/{file}" for name in ("good", "bad") for file in ("comparison.json", "report.md", "report.html")}
    assert files == {"comparisons.json", "report.md", "report.html", *each}
    report = (runs / "out" / "report.md").read_text()
    assert "## Candidates against the baseline" in report and "## Systems" in report
    assert run_recipe([*arguments, f"candidates=[{runs / 'good'}]"], monkeypatch) == 0


def test_candidate_or_candidates_and_not_both(runs):
    with pytest.raises(ConfigError, match=r"give either candidate=PATH or candidates="):
        CompareConfig("a", None, "out")
    with pytest.raises(ConfigError, match=r"give either candidate=PATH or candidates="):
        CompareConfig("a", "b", "out", candidates=["c"])


def test_short_names_are_told_apart():
    assert short_names(["runs/a/best", "runs/b/best", "runs/c"]) == ["1_best", "2_best", "c"]
