"""What saved predictions say of clips: by the metric of the language, the mean of several, nothing of what failed."""

import json
from pathlib import Path

import pytest

from qasr_train.corpus.expected_errors import read_expected_errors
from qasr_train.data.settings import SampleByErrorConfig
from qasr_train.errors import DataError


def write(path: Path, *rows: dict) -> Path:
    path.write_text(
        "".join(json.dumps({"language": "English", "set": "own", "version": 1, **row}) + "\n" for row in rows)
    )
    return path


def test_error_rates_are_by_language_and_the_mean_of_several_transcripts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "predictions.jsonl",
        {"id": "a", "text": "Two  small pills.", "pred_text": "two small bills"},
        {"id": "a", "set": "noisy", "text": "Two  small pills.", "pred_text": "two small"},
        {"id": "a", "set": "loud", "text": "Two  small pills.", "pred_text": ""},
        {"id": "zh", "text": "你好世界", "pred_text": "你好世", "language": "Chinese"},
        {"id": "silent", "text": "", "pred_text": "thank you"},
        {"id": "broken", "text": "a", "pred_text": "", "failed": "no such file"},
        {"id": "untold", "text": None, "pred_text": "a"},
    )
    for given in (path, tmp_path):
        found = read_expected_errors(SampleByErrorConfig(predictions=str(given)))
        assert found is not None
        assert found.percents == {
            ("a", "Two small pills."): pytest.approx((100 / 3 + 100 / 3 + 100) / 3),
            ("zh", "你好世界"): 25.0,
            ("silent", ""): 200.0,
        }


def test_the_digest_tells_other_predictions_apart_and_not_another_order(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "one", "pred_text": "one"}, {"id": "b", "text": "two", "pred_text": "too"}]
    digests = []
    for number, written in enumerate((rows, rows[::-1], [rows[0], {**rows[1], "pred_text": "two"}])):
        found = read_expected_errors(
            SampleByErrorConfig(predictions=str(write(tmp_path / f"{number}.jsonl", *written)))
        )
        assert found is not None
        digests.append(found.digest)
    assert digests[0] == digests[1] != digests[2]


def test_off_there_is_nothing_and_a_file_that_says_nothing_is_refused(tmp_path: Path) -> None:
    assert read_expected_errors(SampleByErrorConfig()) is None
    with pytest.raises(DataError, match=r"^data.sample_by_error.predictions: .*nowhere.jsonl: no such file"):
        read_expected_errors(SampleByErrorConfig(predictions=str(tmp_path / "nowhere.jsonl")))
    path = write(tmp_path / "untold.jsonl", {"id": "a", "text": None, "pred_text": "a"})
    with pytest.raises(DataError, match=r"none of its 1 predictions has a reference and a hypothesis"):
        read_expected_errors(SampleByErrorConfig(predictions=str(path)))
