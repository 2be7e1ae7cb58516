"""Wrong references: where they are, on which side a text stands, and planting them."""

import pytest

from qasr_train.evaluation.honesty.wrong_references import (
    Side,
    WrongSpan,
    plant_errors,
    side_of,
    spans_of,
    wrong_spans,
)
from qasr_train.manifest import Utterance
from qasr_train.text.normalize import get_normalizer

PUBLISHED, RIGHT = "we thank the president for his visit", "we thank the chairwoman for her long visit"


def test_spans_are_where_other_words_were_published() -> None:
    assert wrong_spans(PUBLISHED.split(), RIGHT.split()) == [
        WrongSpan(3, 4, "president", "chairwoman"),
        WrongSpan(5, 6, "his", "her long"),
    ]
    assert wrong_spans("act at last".split(), "acts at last".split()) == [
        WrongSpan(0, 1, "act", "acts")
    ]  # 1 of 3 letters
    assert wrong_spans("colours at last".split(), "colors at last".split()) == []  # 1 of 7
    assert wrong_spans("a b".split(), "a c b".split()) == []  # what was left out in print is no evidence
    assert wrong_spans(PUBLISHED.split(), "another clip is what this is".split()) == []


@pytest.mark.parametrize(
    ("heard", "side"),
    [
        ("we thank the president for her long visit", Side.published),
        ("we thank the chairwoman for her long visit", Side.right),
        ("we thank the precedent for her long visit", Side.neither),
        ("president", Side.neither),  # too little of the clip
        (" ".join([PUBLISHED] * 4), Side.neither),  # runs away
        ("", Side.neither),
    ],
)
def test_a_text_stands_with_what_was_published_with_what_was_said_or_with_neither(heard: str, side: Side) -> None:
    published = PUBLISHED.split()
    [span, _] = wrong_spans(published, RIGHT.split())
    assert side_of(span, published, heard.split()) is side


def test_a_hybrid_of_a_longer_span_is_no_side() -> None:
    published = "they spoke of the old north bridge yesterday".split()
    [span] = wrong_spans(published, "they spoke of the old iron gate yesterday".split())
    assert span == WrongSpan(5, 7, "north bridge", "iron gate")
    assert side_of(span, published, "they spoke of the old north gate yesterday".split()) is Side.neither


def test_planted_words_differ_are_drawn_by_the_seed_and_spare_what_cannot_hold_them() -> None:
    rows = [
        Utterance(f"u{n}", "a.wav", f"patient number {w} takes two pills daily", "English")
        for n, w in enumerate("aspirin ibuprofen codeine morphine digoxin warfarin heparin insulin".split())
    ]
    rows += [
        Utterance("short", "a.wav", "two pills", "English"),
        Utterance("han", "a.wav", "病人每天吃两片药", "Chinese"),
    ]
    rules = get_normalizer("qasr-2")
    planted = plant_errors(rows, 0.5, 1, rules)
    assert len(planted) == 5 and planted == plant_errors(rows, 0.5, 1, rules) != plant_errors(rows, 0.5, 2, rules)
    said = {one.id: one.text or "" for one in rows}
    assert all(len(spans_of(text, said[id_], "English", rules)[1]) == 1 for id_, text in planted.items())
    assert not {"short", "han"} & set(plant_errors(rows, 1.0, 0, rules))


def test_a_word_is_planted_in_the_first_of_alternatives() -> None:
    rows = [
        Utterance(f"u{n}", "a.wav", f"{{ patient / person }} number {w} takes {{ two / 2 }} pills", "English")
        for n, w in enumerate("aspirin ibuprofen codeine morphine".split())
    ]
    rules = get_normalizer("qasr-2")
    planted = plant_errors(rows, 1.0, 0, rules)
    assert len(planted) == 4 and not any(mark in text for text in planted.values() for mark in "{/}")
    assert all(len(spans_of(planted[one.id], one.text or "", "English", rules)[1]) == 1 for one in rows)
