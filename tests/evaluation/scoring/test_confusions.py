"""What was taken for what: alignments as they are drawn, and counts of errors."""

from qasr_train.evaluation.scoring.confusions import aligned_pieces, count_confusions, drawn_pieces
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


def _rows(hypotheses, text="the cat sat down", **fields):
    values = {"set": "s", "language": "German"} | fields
    return [
        Prediction(None, 3.0, 0.1, text, hypothesis, id=f"{values['set']}{number}", **values)
        for number, hypothesis in enumerate(hypotheses)
    ]


def test_aligned_pieces_show_runs_and_pairs():
    (row,) = score_predictions(_rows(["the dog sat quite down"]), get_normalizer("none")).rows
    assert aligned_pieces(row, get_normalizer("none")) == ["the", ("cat", "dog"), "sat", ("", "quite"), "down"]
    (chinese,) = score_predictions(
        _rows(["今天不好"], text="今天很好", language="Chinese"), get_normalizer("qasr-1")
    ).rows
    assert aligned_pieces(chinese, get_normalizer("qasr-1")) == ["今天", ("很", "不"), "好"]
    (merged,) = score_predictions(
        _rows(["whitepaper on"], text="white paper", language="English"), get_normalizer("leaderboard-2026-08")
    ).rows
    assert aligned_pieces(merged, get_normalizer("leaderboard-2026-08")) == ["white paper", ("", "on")]


def test_neighbouring_insertions_are_drawn_as_one():
    (row,) = score_predictions(_rows(["the cat sat down" + " and so on" * 3000]), get_normalizer("none")).rows
    assert drawn_pieces(row, get_normalizer("none")) == ["the cat sat down", ("", " ".join(["and so on"] * 3000))]


def test_confusions_are_counted_over_scored_rows():
    rows = _rows(["the dog sat down", "the dog sat", "so the cat sat down"])
    rows += _rows([""], set="failed", failed="no audio")
    confusions = count_confusions(score_predictions(rows, get_normalizer("none")).rows, get_normalizer("none"))
    assert confusions.substitutions == {("cat", "dog"): 2}
    assert confusions.deletions == {"down": 1}
    assert confusions.insertions == {"so": 1}
