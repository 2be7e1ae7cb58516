"""A scored utterance, and its row on disk."""

import json

import pytest

from qasr_train.evaluation.scoring.utterance import (
    UTTERANCE_FIELDS,
    ErrorCounts,
    UtteranceContext,
    UtteranceScore,
    UtteranceTerms,
    context_field,
    terms_field,
    utterance_of_row,
    utterance_row,
)
from qasr_train.transcription.predictions import Prediction

COUNTS = ErrorCounts("a b", "a x y", 1, 0, 1, 2, 3, 3, False)
HEARD = Prediction("a.wav", 2.0, 0.5, "A b", "a x y", id="u1", set="s", language="German", speaker="p", role="guard")


def test_a_row_is_read_as_it_was_written():
    terms = UtteranceTerms(["b"], ["y", "y"])
    context = UtteranceContext(3, ["b"], [], ["x"], 1)
    score = UtteranceScore(HEARD, COUNTS, None, terms, context)
    row = utterance_row(score) | {"terms": terms_field(terms), "context_terms": context_field(context)}
    assert list(row)[:24] == UTTERANCE_FIELDS
    assert (row["reference"], row["hypothesis"], row["insertions"], row["is_scored"]) == ("A b", "a x y", 1, True)
    assert row["terms"] == {"reference": ["b"], "hypothesis": ["y", "y"], "missed": ["b"], "added": ["y", "y"]}
    assert utterance_of_row(json.loads(json.dumps(row))) == score


def test_a_row_without_terms_has_none():
    score = UtteranceScore(HEARD, COUNTS, "failed")
    row = utterance_row(score)
    assert (row["is_scored"], row["not_scored_because"]) == (False, "failed")
    assert utterance_of_row(row) == score
    assert (terms_field(None), context_field(None)) == (None, None)
    with pytest.raises(KeyError):
        utterance_of_row({"id": "u1"})


def test_word_errors_are_all_three_kinds():
    assert COUNTS.num_errors == 2
    assert UtteranceScore(HEARD, COUNTS).key == ("s", "u1")
