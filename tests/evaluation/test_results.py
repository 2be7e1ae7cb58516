"""From sets to a report: what is in memory is what is on disk, and only the first process has it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.scoring.run_files import is_scored, load_run
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.settings import ReportConfig, Scoring
from qasr_train.pages.table import markdown_text
from qasr_train.run.processes import Processes
from qasr_train.run.settings import TrackingConfig
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction, write_predictions
from tests.helpers_fake_model import FakeModel
from tests.helpers_transcription import MakeRun, run_maker

SCORING = Scoring(get_normalizer("none"), None, failed_as_empty=False, baseline=None, report=ReportConfig())


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    return run_maker(tmp_path, monkeypatch)


def test_what_is_returned_is_what_is_written(
    make: MakeRun,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = make(FakeModel({"u0": "hello there", "u1": "hello"}))
    scored = evaluate_sets(run, SCORING, TrackingConfig())
    assert scored is not None and scored.path == str(run.run_dir)
    written = json.loads((run.run_dir / "scores.json").read_text())
    assert written["sets"]["a"]["wer_percent"] == scored.sets["a"]["wer_percent"]
    assert written["provenance"]["run"] == scored.record
    assert is_scored(run.run_dir)
    assert {name: group["wer_percent"] for name, group in load_run(run.run_dir).sets.items()} == {
        name: group["wer_percent"] for name, group in scored.sets.items()
    }
    assert capsys.readouterr().out.count("normalizer") == 1
    (run.run_dir / "utterances.jsonl").unlink()
    assert not is_scored(run.run_dir)


def test_a_baseline_stands_in_the_report(make: MakeRun, tmp_path: Path) -> None:
    run = make(FakeModel({"u0": "hello there", "u1": "hello"}))
    rows = [Prediction(None, 1.0, 0.1, one.text, "x", id=one.id, set="a") for one in run.sets[0].utterances]
    write_predictions(tmp_path / "before" / "predictions.jsonl", rows)
    evaluate_sets(run, replace(SCORING, baseline=str(tmp_path / "before")), TrackingConfig())
    report = (run.run_dir / "report.md").read_text()
    assert f"Baseline: {markdown_text(str(tmp_path / 'before'))}" in report
    assert "## Gain and loss against the baseline" in report


@pytest.mark.parametrize(("resample_by", "units"), [("auto", "2 speakers"), ("utterance", "4 utterances")])
def test_what_is_independent_is_as_asked_in_scores_and_report(
    make: MakeRun, tmp_path: Path, resample_by: str, units: str
) -> None:
    run = make(FakeModel({"u0": "hello there", "u1": "hello"}))
    for number, one in enumerate(run.sets[0].utterances):
        run.sets[0].utterances[number] = replace(one, speaker=f"s{number // 2}")
    rows = [Prediction(None, 1.0, 0.1, one.text, "x", id=one.id, set="a") for one in run.sets[0].utterances]
    write_predictions(tmp_path / "before" / "predictions.jsonl", rows)
    asked = replace(SCORING, baseline=str(tmp_path / "before"), resample_by=ResampleBy(resample_by))
    evaluate_sets(run, asked, TrackingConfig())
    written = json.loads((run.run_dir / "scores.json").read_text())
    assert written["sets"]["a"]["interval"]["unit"] + "s" == units.split()[1]
    assert f"| {units} |" in (run.run_dir / "report.md").read_text()


def test_a_process_that_is_not_the_first_scores_nothing(
    make: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("wait", "leave"):
        monkeypatch.setattr(Processes, name, lambda self: None)
    run = make()
    run.open()
    run.transcribe(lambda prediction: (0, 0))
    second = replace(run, machine=replace(run.machine, processes=Processes(1, 2)))
    assert evaluate_sets(second, SCORING, TrackingConfig()) is None
    assert not (run.run_dir / "scores.json").exists()
