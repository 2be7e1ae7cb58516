"""The utterances of two runs in pairs, and what is said of the others."""

from dataclasses import replace

import pytest

from qasr_train.errors import DataError
from qasr_train.evaluation.comparing.pairs import pair_runs
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


def run(path, **texts):
    """A run that heard what was said; id -> reference, None where the recording could not be read."""
    rows = [
        Prediction(None, 1.0, 0.1, text or "x", text or "", id=name, set="s", failed=None if text else "no audio")
        for name, text in texts.items()
    ]
    return replace(score_predictions(rows, get_normalizer("none")), path=path)


def test_pairs_stand_in_the_order_of_the_baseline_and_the_rest_is_counted():
    pairs, warnings = pair_runs(run("a", c="x", b="y", only_a="z"), run("b", b="y", c=None, only_b="z", too="z"))
    assert [(pair.set, pair.baseline.key, pair.candidate.key) for pair in pairs] == [("s", ("s", "b"), ("s", "b"))]
    assert warnings == [
        "1 utterances stand only in a; they are left out",
        "2 utterances stand only in b; they are left out",
        "1 shared utterances are not scored in both runs and left out (failed: 0 under the baseline, 1 under the candidate)",
    ]


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({"b": "y"}, "a and b have no utterance in common"),
        ({"a": "other"}, "1 of 1 shared utterances have another reference, the first 'a' of set 's': 'x' and 'other'"),
        ({"a": None}, "of 1 shared utterances none is scored in both runs"),
    ],
)
def test_runs_without_pairs_are_refused(candidate, message):
    with pytest.raises(DataError, match=message):
        pair_runs(run("a", a="x"), run("b", **candidate))
