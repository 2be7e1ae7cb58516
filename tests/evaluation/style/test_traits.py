"""How an output is written, held against its reference: each trait by hand."""

import pytest

from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.style.settings import Trait
from qasr_train.evaluation.style.traits import RowStyle, row_style
from qasr_train.text.alternatives.lexicon import SpellingLexicon
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


def style_of(text: str, heard: str, language: str | None = "English") -> RowStyle:
    one = Prediction("u", 1.0, 0.1, text, heard, id="u", set="s", language=language)
    # Scored by rules of which style can take nothing over, and by its own.
    scored = [(score_predictions([one], rules).rows[0], rules) for rules in map(get_normalizer, ("none", "qasr-2"))]
    style, again = (row_style(*both) for both in scored)
    assert style is not None and style == again
    return style


def counts(text: str, heard: str, trait: Trait, language: str | None = "English") -> tuple[int, int]:
    return style_of(text, heard, language).counts.get(trait, (0, 0))


@pytest.mark.parametrize(
    ("text", "heard", "expected"),
    [
        ("Yes, I do.", "Yes, I do.", (0, 2)),
        ("Yes, I do.", "Yes I do?", (2, 2)),
        ("Yes I do", "Yes, I do.", (2, 2)),
        ("Yes I do", "yes i do", (0, 0)),
        ("It is 10:30, or 1,000.", "It is 10:30 or 1,000.", (1, 2)),
        ("Well... no.", "Well… no.", (0, 2)),
        ("cats, dogs.", "cats. bad dogs.", (1, 2)),
        ("cats. big dogs.", "cats.", (1, 2)),
        ("...", "", (1, 1)),
    ],
)
def test_punctuation(text: str, heard: str, expected: tuple[int, int]) -> None:
    assert counts(text, heard, Trait.punctuation) == expected


def test_punctuation_of_chinese() -> None:
    assert counts("你好，我有1.5本。", "你好我有1.5本。", Trait.punctuation, "Chinese") == (1, 2)


@pytest.mark.parametrize(
    ("text", "heard", "expected"),
    [
        ("He met Anna.", "he met Anna", (1, 2)),
        ("he met anna", "he met anna", (0, 0)),
        ("NASA flew", "Nasa flew", (1, 1)),
        ("He met Anna.", "He met Bob.", (0, 1)),
        ("Twenty-one dogs", "21 dogs", (0, 0)),
        ("COLOUR", "color", (0, 0)),
    ],
)
def test_capitals_of_words_that_are_the_same(text: str, heard: str, expected: tuple[int, int]) -> None:
    assert counts(text, heard, Trait.capitals) == expected


@pytest.mark.parametrize(
    ("text", "heard", "expected"),
    [
        ("take 21 now", "take twenty one now", (1, 1)),
        ("take 21 now", "take 21 now", (0, 1)),
        ("take twenty-one now.", "Take twenty one, now", (0, 1)),
        ("take 21 now", "take 22 now", (0, 0)),
        ("we saw 1,000 and two", "we saw 1000 and 2", (2, 2)),
        ("nothing here", "nothing here", (0, 0)),
        ("uh 5 dogs", "five dogs", (1, 1)),
    ],
)
def test_numbers_as_digits_or_words_where_they_are_the_same(text: str, heard: str, expected: tuple[int, int]) -> None:
    assert counts(text, heard, Trait.numbers) == expected


def test_numbers_of_german_and_chinese() -> None:
    assert counts("ich habe 21 Hunde", "ich habe einundzwanzig Hunde", Trait.numbers, "German") == (1, 1)
    assert counts("我有21本", "我有二十一本", Trait.numbers, "Chinese") == (1, 1)


@pytest.mark.parametrize(
    ("text", "heard", "expected"),
    [
        ("5 mg daily", "five milligrams daily", (1, 1)),
        ("5 mg daily", "five mg daily", (0, 1)),
        ("20 % of them", "twenty percent of them", (1, 1)),
        ("it costs $5", "it costs five dollars", (1, 1)),
        ("at 60 mph", "at 60 miles per hour", (1, 1)),
        ("5 kg daily", "5 mg daily", (0, 0)),
    ],
)
def test_units(text: str, heard: str, expected: tuple[int, int]) -> None:
    assert counts(text, heard, Trait.units) == expected


def test_units_of_german() -> None:
    assert counts("fast 5 % davon", "fast fünf Prozent davon", Trait.units, "German") == (1, 1)


@pytest.mark.parametrize(
    ("text", "heard", "language", "expected"),
    [
        ("uh I know", "I know", "English", (1, 1)),
        ("I know", "I um know uh", "English", (2, 2)),
        ("uh I know", "Um, I know", "English", (0, 1)),
        ("uh I know", "a I know", "English", (1, 1)),
        ("I know", "I know", "English", (0, 0)),
        ("no lo sé eh", "no lo sé", "Spanish", (1, 1)),
        ("uh ja", "ja", "Dutch", (0, 0)),
    ],
)
def test_fillers_kept_or_dropped(text: str, heard: str, language: str, expected: tuple[int, int]) -> None:
    assert counts(text, heard, Trait.fillers, language) == expected


def test_what_was_written_otherwise_is_told() -> None:
    found = [
        (one.trait.value, one.expected, one.written) for one in style_of("He took 5 mg.", "he took five mg").otherwise
    ]
    assert found == [("capitals", "He", "he"), ("numbers", "5", "five"), ("punctuation", ".", "")]


def test_the_first_spelling_and_not_the_one_taken_is_how_the_house_writes() -> None:
    assert counts("{ twenty-one / 22 } dogs", "22 dogs", Trait.numbers) == (0, 0)
    assert counts("{ 21 / 22 } dogs", "twenty-one dogs", Trait.numbers) == (1, 1)
    one = Prediction("u", 1.0, 0.1, "twenty-one dogs", "22 dogs", id="u", set="s", language="English")
    rules, lexicon = get_normalizer("qasr-2"), SpellingLexicon("x", "x", {None: [("twenty-one", "22")]})
    [row] = score_predictions([one], rules, lexicon=lexicon).rows
    assert row.spellings[0].taken == "22"
    style = row_style(row, rules)
    assert style is not None and Trait.numbers not in style.counts


def test_rows_that_enter_no_rate_have_no_style() -> None:
    rows = [
        Prediction("a", 1.0, 0.1, None, "x", id="a", set="s", language="English"),
        Prediction("b", 1.0, None, "x", "", id="b", set="s", language="English", failed="no audio"),
        Prediction("c", 1.0, 0.1, "", "x", id="c", set="s", language="English"),
    ]
    none = get_normalizer("none")
    assert [row_style(row, none) for row in score_predictions(rows, none).rows] == [None, None, None]
