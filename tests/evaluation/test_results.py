"""From sets to a report: what is in memory is what is on disk, and only the first process has it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.scoring.run_files import is_scored, load_run
from qasr_train.evaluation.settings import ReportConfig, Scoring
from qasr_train.run.processes import Processes
from qasr_train.run.settings import TrackingConfig
from qasr_train.text.normalize import get_normalizer
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
