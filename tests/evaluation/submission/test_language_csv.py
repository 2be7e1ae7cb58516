"""leaderboard_CODE.csv: a run as a line of one language's table, figures by hand."""

from dataclasses import replace

import pytest

from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.submission.language_csv import language_line, write_language_csvs
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction
from tests.text.leaderboard.helpers import needs_mandarin

DUTCH = ["fleurs_nl", "mcv_nl", "mls_nl"]


def _scores(sets=DUTCH, normalizer="leaderboard-2026-11", **fields):
    """The first set has one wrong word of 100, the second two, ..."""
    values = {"duration_s": 30.0, "time_s": 0.1, "language": "Dutch"} | fields
    rows = [
        Prediction(
            None,
            text=" ".join(["woord"] * 100),
            pred_text=" ".join(["woord"] * (100 - wrong) + ["ander"] * wrong),
            id="u",
            set=name,
            **values,
        )
        for wrong, name in enumerate(sets, start=1)
    ]
    return replace(score_predictions(rows, get_normalizer(normalizer)), provenance={"system": "org/model"})


def test_the_line_of_a_language_by_hand(tmp_path):
    [path] = write_language_csvs(tmp_path, _scores())
    assert path.name == "leaderboard_nl.csv"
    assert path.read_text(encoding="utf-8") == ("model,RTFx,FLEURS WER,MCV WER,MLS WER\norg/model,300.0,1.0,2.0,3.0\n")
    assert write_language_csvs(tmp_path, _scores(normalizer="qasr-2")) == []
    assert not list(tmp_path.iterdir())


def test_the_leaderboards_own_manifests_are_its_sets():
    names = [f"hf-audio-open-asr-leaderboard-multilingual-datasets_{name}_test" for name in DUTCH]
    assert language_line(_scores(names), "nl")["MLS WER"] == "3.0"


@pytest.mark.parametrize("scores", [_scores(DUTCH[:2]), _scores(failed="no audio"), _scores(normalizer="none")])
def test_what_is_not_whole_has_no_line(scores):
    assert language_line(scores, "nl") is None


@needs_mandarin
def test_mandarin_is_given_by_characters():
    line = language_line(_scores(["fleurs_zh"], language="Chinese"), "zh")
    assert list(line) == ["model", "RTFx", "FLEURS CER"]
