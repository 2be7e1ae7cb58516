"""The same predictions under two normalisers: rates and words worked out by hand."""

import json

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.comparing.rules import compare_rules
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.jobs.score import score
from qasr_train.jobs.settings.score import ScoreConfig
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction, write_predictions

AUGUST, NOVEMBER = "leaderboard-2026-08", "leaderboard-2026-11"
TEXTS = [
    ("oh no it is half past five", "no it is 5:30"),
    ("uhhh yes", "yes"),
    ("errr", "er"),
    ("good morning all", "good evening all"),
]


def _predictions(texts=TEXTS):
    return [
        Prediction(None, 1.0, 0.1, text, heard, id=str(number), set="a", language="English")
        for number, (text, heard) in enumerate(texts)
    ]


def _scored(normalizer, texts=TEXTS):
    return score_predictions(_predictions(texts), get_normalizer(normalizer))


def test_rates_and_words_that_moved_are_those_of_a_hand_count():
    """August: 13 words, of which 0 and half and past are not heard, 30 is too much, uhhh is not heard, errr is er, morning is
    evening. November: 10 words (uhhh and the row of errr are gone), of which oh is not heard and morning is evening."""
    [change] = compare_rules(_scored(AUGUST), _scored(NOVEMBER)).sets
    assert (change.first_percent, change.second_percent, change.delta_percent) == (53.85, 20.0, -33.85)
    assert (change.num_moved, change.num_scored) == (3, (4, 3))
    august = {("0", ""), ("half", ""), ("past", ""), ("", "30"), ("uhhh", ""), ("errr", "er")}
    assert dict(change.only_first) == dict.fromkeys(august, 1)
    assert change.only_second == [(("oh", ""), 1)]


def test_the_same_rules_change_nothing():
    [change] = compare_rules(_scored(AUGUST), _scored(AUGUST)).sets
    assert (change.delta_percent, change.num_moved, change.only_first, change.only_second) == (0.0, 0, [], [])


def test_other_utterances_are_refused():
    with pytest.raises(DataError, match="are not of the same utterances; score both from the same predictions"):
        compare_rules(_scored(AUGUST), _scored(NOVEMBER, TEXTS[:2]))


def test_score_writes_each_and_one_page_of_what_moved(tmp_path, capsys):
    write_predictions(tmp_path / "predictions.jsonl", _predictions())
    out = tmp_path / "out"
    config = ScoreConfig(str(tmp_path / "predictions.jsonl"), str(out), AUGUST, [NOVEMBER], num_workers=1)
    score(config)
    title = f"What rules alone change: {NOVEMBER} beside {AUGUST}"
    assert title in capsys.readouterr().out
    assert title in (out / "report.md").read_text(encoding="utf-8")
    assert title in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "scores.json").read_text(encoding="utf-8"))["normalizer"] == AUGUST
    assert json.loads((out / NOVEMBER / "scores.json").read_text(encoding="utf-8"))["normalizer"] == NOVEMBER
    [change] = json.loads((out / "rules.json").read_text(encoding="utf-8"))["changes"]
    assert change["sets"][0]["delta_percent"] == -33.85
    assert change["sets"][0]["only_second"] == [{"reference": "oh", "heard": "", "count": 1}]
    score(ScoreConfig(str(tmp_path / "predictions.jsonl"), str(out), AUGUST, num_workers=1))
    assert not (out / "rules.json").exists()


@pytest.mark.parametrize(
    ("also_by", "message"),
    [
        (
            ["whisper"],
            "also_by=whisper: unknown; choose among leaderboard-2026-08, leaderboard-2026-11, qasr-1, qasr-2",
        ),
        ([AUGUST], f"also_by={AUGUST}: is named twice; each of normalizer and also_by must be another one"),
        (["none", "none"], "also_by=none: is named twice"),
    ],
)
def test_a_wrong_further_normaliser_is_one_sentence(also_by, message):
    with pytest.raises(ConfigError, match=message):
        ScoreConfig("p", "o", AUGUST, also_by)
