"""A copy of a model beside the model: texts compared one by one, error rates with an interval, refused past a margin."""

import pytest

from qasr_train.errors import CheckpointError, DataError
from qasr_train.evaluation.copies import compare_words, require_same_words
from qasr_train.transcription.predictions import Prediction

REFERENCE = "alpha bravo charlie delta echo"


def said(*texts: str, reference: str = REFERENCE) -> list[Prediction]:
    return [
        Prediction(None, 1.0, 0.1, reference, text, id=f"u{number}", set="s", language="English")
        for number, text in enumerate(texts)
    ]


def test_texts_and_rates_are_put_side_by_side() -> None:
    words = compare_words(
        said(REFERENCE, "alpha bravo", REFERENCE, "Alpha, bravo charlie delta echo!"),
        said(REFERENCE, "alpha bravo charlie", "alpha bravo charlie delta india", REFERENCE),
    )
    # by the text itself three differ; of twenty words three are missing before, two missing and one wrong after
    assert [one.id for one in words.changed] == ["u1", "u2", "u3"]
    assert (words.test.baseline_percent, words.test.candidate_percent) == (15.0, 15.0)
    lines = words.lines()
    assert lines[0].startswith(
        "checked on 4 recordings: 1 texts equal; WER 15.00 % before, 15.00 % after (+0.00 points, 95%"
    )
    assert lines[1:4] == ["  u1", "    - alpha bravo", "    + alpha bravo charlie"]
    require_same_words(words, 0.0, "it")


def test_a_copy_past_the_margin_is_refused_with_both_rates() -> None:
    words = compare_words(said(*[REFERENCE] * 10), said(*[REFERENCE] * 9, "alpha bravo charlie delta india"))
    require_same_words(words, 2.0, "it")
    with pytest.raises(
        CheckpointError, match=r"^it is not kept: WER 0.00 % before, 2.00 % after \(\+2.00 points, .*\), more"
    ):
        require_same_words(words, 1.9, "it")
    with pytest.raises(CheckpointError, match="more than max_wer_increase=0; 1 of 10 texts differ, the first u9$"):
        require_same_words(words, 0.0, "it")


def test_a_long_list_is_cut_and_counted() -> None:
    words = compare_words(said(*[REFERENCE] * 12), said(*["one"] * 12))
    assert words.lines()[-1] == "  and 2 more" and len(words.lines()) == 2 + 3 * 10


def test_references_without_words_have_no_rate() -> None:
    with pytest.raises(DataError, match="hold no reference word"):
        compare_words(said("a", reference=""), said("a", reference=""))
