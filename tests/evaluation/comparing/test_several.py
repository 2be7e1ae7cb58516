"""Several candidates against one baseline: the correction, what is written, the exit status; and the table of systems."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.comparing.several import short_names
from qasr_train.evaluation.report.comparison_tables import several_summary, several_table
from qasr_train.evaluation.report.content import scores_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.systems import published_system, run_record, system_of_run
from qasr_train.evaluation.settings import GateConfig
from qasr_train.jobs.compare import compare_several
from qasr_train.jobs.settings.compare import CompareConfig
from qasr_train.text.normalize import get_normalizer
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
    p = alone.sets["m"].test.p_bootstrap
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
    assert (test.delta_percent, test.p_bootstrap) == (alone.sets["m"].test.delta_percent, p)


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
    arguments = [f"baseline={runs / 'base'}", f"out={runs / 'out'}", "num_resamples=500"]
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


# --- the table of systems ---------------------------------------------------------------------------------------------


def test_a_run_is_described_by_its_record():
    record = {
        "config": {"model": {"path": "Qwen/Qwen3-ASR-0.6B"}},
        "system": {"architecture": "audio transformer", "languages": "30", "license": "Apache-2.0"},
        "num_parameters": 782_000_000,
    }
    one = system_of_run(record, "runs/x", [10.0, None, 20.0], 55.5)
    assert (one.name, one.mean_percent, one.figures_of) == ("Qwen/Qwen3-ASR-0.6B", 15.0, "measured here, 2 sets")
    assert (one.size_b, one.languages, one.license) == (0.782, "30", "Apache-2.0")
    command = {"config": {"model": {"command": "x {manifest} {predictions}", "name": "Theirs"}}}
    assert system_of_run(command, "runs/x", [], None).name == "Theirs"
    assert system_of_run({}, "runs/x", [], None).name == "runs/x"


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("Qwen/Qwen3-ASR-1.7B", "30 and Chinese dialects"),
        ("Qwen3-ASR-Flash-1208", None),
        ("openai/whisper-tiny.en", "English"),
        ("Whisper-large-v3", "100"),
        ("openai/whisper-small", "99"),
        ("nvidia/parakeet-tdt-0.6b-v3", "25 European"),
        ("somebody/unknown", None),
    ],
)
def test_published_systems_are_described_where_their_name_is_known(name, languages):
    assert published_system(name, 5.0, "published", None, None).languages == languages


def test_scored_folders_know_the_run_they_quote(tmp_path):
    (tmp_path / "scores.json").write_text(
        json.dumps({"provenance": {"run": {"num_parameters": 5}, "system": "theirs"}})
    )
    assert run_record(tmp_path) == {"num_parameters": 5, "system_name": "theirs"}
    (tmp_path / "run.json").write_text(json.dumps({"num_parameters": 7}))
    assert run_record(tmp_path) == {"num_parameters": 7}
    assert run_record(Path(tmp_path / "nothing" / "m.jsonl")) == {"system_name": None}


def test_the_report_lists_the_run_among_published_systems():
    rows = [Prediction(None, 4.0, 0.1, "a b", "a b", id="1", set="librispeech_clean", language="English")]
    scores = score_predictions(rows, get_normalizer("leaderboard-2026-08"))
    scores = replace(scores, provenance={"run": {"config": {"model": {"path": "mine"}}, "num_parameters": 2_480_000}})
    report = render_markdown(scores_report(scores))
    line = next(line for line in report.splitlines() if line.startswith("| mine |"))
    assert line == "| mine | 0.00 | 40.0 | 2.48 M | – | – | – | measured here, 1 set |"
    published = next(
        line
        for line in report.splitlines()
        if line.startswith("| openai/whisper-large-v3 | ") and "Leaderboard" in line
    )
    assert published.endswith("| 100 | transformer encoder-decoder | Apache-2.0 | Open ASR Leaderboard, 1 of 7 sets |")
