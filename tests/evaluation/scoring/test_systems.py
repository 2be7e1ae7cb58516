"""What is said of a system: by its record, by its name, in the report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qasr_train.evaluation.report.content import scores_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.systems import published_system, run_record, system_of_run
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


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
