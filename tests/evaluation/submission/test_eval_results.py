"""`.eval_results/open_asr_leaderboard.yaml`: read back by huggingface_hub figures by hand; which training data it names."""

import json
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from qasr_train.errors import ConfigError
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.submission.disclosure import training_disclosure
from qasr_train.evaluation.submission.eval_results import write_eval_results
from qasr_train.models.exporting.results import Evaluation, Results, leaderboard_results
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

EIGHT = [
    *("ami", "earnings22", "gigaspeech", "librispeech_clean", "librispeech_other", "spgispeech", "voxpopuli"),
    "monsoon_en_in",
]


def _scores(sets=EIGHT, normalizer="leaderboard-2026-11"):
    """The first set has one wrong word of 100, the second two, ..."""
    rows = [
        Prediction(
            None, 30.0, 0.1, " ".join(["word"] * 100), " ".join(["word"] * (100 - wrong) + ["other"] * wrong),
            id="u", set=name, language="English",
        )
        for wrong, name in enumerate(sets, start=1)
    ]  # fmt: skip
    return score_predictions(rows, get_normalizer(normalizer))


def _trained(folder):
    """A checkpoint in the folder of a fine-tune on two sources, one of them of the Hub."""
    checkpoint = folder / "checkpoints" / "step_000010"
    checkpoint.mkdir(parents=True)
    record = {
        "recipe": "finetune",
        "config": {"data": {"train": {"a": {"path": "secret/recordings"}, "b": {"path": "org/speech"}}}},
        "model": {"path": "Qwen/Qwen3-ASR-0.6B"},
        "sources": {
            "a": {"dataset": None, "hours": {"English": 1.5}},
            "b": {"dataset": "org/speech", "hours": {"English": 1.0, "Dutch": 0.25}},
        },
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return checkpoint


def test_the_hub_reads_what_was_written(tmp_path):
    run = replace(_scores(), provenance={"run": {"started_at": "2026-11-28T20:00:00+00:00"}})
    path = write_eval_results(tmp_path, run)
    assert path == tmp_path / ".eval_results" / "open_asr_leaderboard.yaml"
    entries = parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert {one.dataset_id for one in entries} == {"hf-audio/open-asr-leaderboard"}
    assert {one.task_id: one.value for one in entries} == {
        "mean_wer": 4.5, "rtfx": 300.0, "ami_wer": 1.0, "earnings22_wer": 2.0, "gigaspeech_wer": 3.0,
        "librispeech_clean_wer": 4.0, "librispeech_other_wer": 5.0, "spgispeech_wer": 6.0, "voxpopuli_wer": 7.0,
    }  # fmt: skip
    assert {one.date for one in entries} == {"2026-11-28T20:00:00+00:00"}
    assert "over 8 sets" in entries[0].notes
    assert "Monsoon en-IN" in entries[0].notes


def test_a_run_that_cannot_be_listed_has_none_and_loses_an_older_one(tmp_path):
    assert write_eval_results(tmp_path, _scores()) is not None
    assert write_eval_results(tmp_path, _scores(EIGHT[:-1])) is None
    assert write_eval_results(tmp_path, _scores(normalizer="qasr-2")) is None
    assert not list((tmp_path / ".eval_results").iterdir())
    august = write_eval_results(tmp_path, _scores(EIGHT[:-1], "leaderboard-2026-08"))
    assert "mean over 7 sets" in august.read_text(encoding="utf-8")


def test_training_data_is_told_by_hub_id_and_hours_and_nothing_private(tmp_path):
    checkpoint = _trained(tmp_path / "run")
    run = replace(_scores(), provenance={"run": {"config": {"model": {"path": str(checkpoint)}}}})
    sources = "org/speech and 1 source that is no dataset of the Hub"
    expected = f"Qwen/Qwen3-ASR-0.6B fine-tuned on {sources} (English 2.50 h, Dutch 0.25 h)"
    assert training_disclosure(run) == expected
    text = write_eval_results(tmp_path, run).read_text(encoding="utf-8")
    assert yaml.safe_load(text)[0]["notes"].endswith(f"Training data: {expected}")
    assert "secret" not in text


def test_a_model_without_records_has_no_disclosure():
    run = _scores()
    assert training_disclosure(run) is None
    hub = replace(run, provenance={"run": {"config": {"model": {"path": "Qwen/Qwen3-ASR-0.6B"}}}})
    assert training_disclosure(hub) is None


def test_an_export_takes_the_file_of_one_evaluation_along(tmp_path):
    evaluations = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        evaluations.append(Evaluation(str(tmp_path / name), name, "leaderboard-2026-11", []))
    assert leaderboard_results(Results(evaluations)) is None
    path = write_eval_results(tmp_path / "first", _scores())
    assert leaderboard_results(Results(evaluations)) == path.read_text(encoding="utf-8")
    write_eval_results(tmp_path / "second", _scores())
    with pytest.raises(ConfigError, match="are both figures for the leaderboard; name one of the two evaluations"):
        leaderboard_results(Results(evaluations))
