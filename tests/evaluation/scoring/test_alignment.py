"""Scores of single utterances: what is counted while transcripts come in."""

from dataclasses import replace

from qasr_train.evaluation.scoring.alignment import error_counter
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


def test_errors_are_counted_one_by_one_and_only_of_what_is_scored() -> None:
    count_errors = error_counter(get_normalizer("none"))
    whole = Prediction(None, 1.0, 0.1, "a b c", "a x", id="u", set="s", language="English")
    assert count_errors(whole) == (2, 3)
    assert count_errors(replace(whole, text=None)) == (0, 0)
    assert count_errors(replace(whole, failed="gone")) == (0, 0)
    assert count_errors(replace(whole, parent_id="call", chunk_index=0)) == (0, 0)  # its reference is the whole call's
