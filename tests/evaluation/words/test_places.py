"""Which written words a normalised word came from."""

import pytest

from qasr_train.evaluation.words.places import places_of, written_words
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.tokens import tokens


def drawn(text: str, language: str | None, normalizer: str = "qasr-2") -> list[tuple[str, str]]:
    """(written, normalised) of each place."""
    rules = get_normalizer(normalizer)
    normalized = rules.normalize(text, language)
    spans, words = written_words(text, language), tokens(normalized, language)
    places = places_of(text, normalized, language, rules.normalize)
    separator = "" if language in ("Chinese", "Japanese") else " "
    # Every written and every normalised word stands in one place, in order.
    assert [n for place in places for n in range(place.begin, place.end)] == list(range(len(spans)))
    assert [n for place in places for n in range(place.first, place.last)] == list(range(len(words)))
    return [
        (
            separator.join(text[b:e] for b, e in spans[place.begin : place.end]),
            separator.join(words[place.first : place.last]),
        )
        for place in places
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", [("Hello,", "hello"), ("World!", "world")]),
        ("I don't", [("I", "i"), ("don't", "do not")]),
        ("take twenty one mg", [("take", "take"), ("twenty one", "21"), ("mg", "milligram")]),
        ("well, uh, yes", [("well,", "well"), ("uh,", ""), ("yes", "yes")]),
        ("not don't", [("not", "not"), ("don't", "do not")]),
        ("colour centre", [("colour", "color"), ("centre", "center")]),
        ("a - b", [("a", "a"), ("-", ""), ("b", "b")]),
        ("...", [("...", "")]),
        ("", []),
    ],
)
def test_english(text: str, expected: list[tuple[str, str]]) -> None:
    assert drawn(text, "English") == expected


def test_a_sign_belongs_to_what_it_became() -> None:
    assert drawn("zu 5 % oder", "German") == [("zu", "zu"), ("5", "fünf"), ("%", "prozent"), ("oder", "oder")]


def test_characters_of_chinese_and_numbers_of_several() -> None:
    assert drawn("我有21本。", "Chinese") == [("我", "我"), ("有", "有"), ("21", "二十一"), ("本", "本"), ("。", "")]


def test_a_stretch_that_is_joined_with_the_other_text_is_one_place() -> None:
    rules = get_normalizer("leaderboard-2026-08")
    _, joined = rules.join("voilà weißbrot hier", "voilà weiß brot hier", "German")
    places = places_of("Voilà weiß Brot hier", joined, "German", rules.normalize)
    assert joined.split()[places[1].first : places[1].last] == ["weißbrot"]
    assert (places[1].begin, places[1].end) == (1, 3)


def test_texts_that_have_nothing_in_common_are_one_place() -> None:
    assert places_of("a b", "x y z", None, lambda text, _: text) == [(0, 2, 0, 3)]
    assert places_of("a", "x a", None, lambda text, _: text) == [(0, 1, 0, 2)]
    assert places_of("a", "", None, lambda text, _: "") == [(0, 1, 0, 0)]
