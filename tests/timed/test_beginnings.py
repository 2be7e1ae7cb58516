"""What had been said by a moment: the text as far as the last word that had ended, where the times tell it."""

import pytest

from qasr_train.timed.base import TimedWord
from qasr_train.timed.beginnings import SpokenText

Time = float | None


def timed(*words: tuple[str, Time, Time]) -> list[TimedWord]:
    return [TimedWord(*word) for word in words]


def second_each(*words: str) -> list[TimedWord]:
    """Word n from n to n + 1 seconds."""
    return [TimedWord(word, float(n), n + 1.0) for n, word in enumerate(words)]


def text_until(at_s: float, text: str, words: list[TimedWord]) -> str | None:
    spoken = SpokenText.of(text, words)
    assert spoken is not None
    said = spoken.until(at_s)
    return None if said is None else said.text


@pytest.mark.parametrize(
    ("at_s", "expected"),
    [
        (0.4, ""),  # nobody has spoken
        (0.9, ""),  # "Hello" is under way
        (1.2, "Hello,"),  # it ends there: a word that ends at the cut was said
        (1.9, "Hello,"),
        (2.5, "Hello, world."),
        (3.4, "Hello, world."),  # "you" and its opening quotation mark come later
        (9.0, 'Hello, world. "You?"'),
    ],
)
def test_a_word_under_way_is_left_out_and_marks_go_with_the_word_before(at_s: float, expected: str) -> None:
    words = timed(("hello", 0.5, 1.2), ("world", 1.5, 2.0), ("you", 3.0, 3.5))
    assert text_until(at_s, ' Hello, world. "You?" ', words) == expected


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("yes - no", ["yes", "no"], "yes"),  # a dash that stands alone belongs to what comes
        ("well-known", ["well", "known"], "well"),
        ("and/or", ["and", "or"], "and"),
        ("l'homme", ["l'", "homme"], "l'"),
        ("5% off", ["5%", "off"], "5%"),
        ("5 % off", ["5", "%", "off"], "5"),  # the sign is a word that is said
        ("R&D (no)", ["r&d", "no"], "R&D"),
        ("你好，世界。", ["你好", "世界"], "你好，"),
        ("他说“你好”", ["他说", "你好"], "他说"),
        ("हिन्दी में।", ["हिन्दी", "में"], "हिन्दी"),
        ("Ｃａｆé du", ["cafe\u0301", "du"], "Ｃａｆé"),  # full width, and an accent as a letter of its own
        ("Straße zu", ["STRASSE", "zu"], "Straße"),
        ("«Ah», dit", ["ah", "dit"], "«Ah»,"),
        ("می‌خواهم آب", ["می‌خواهم", "آب"], "می‌خواهم"),
    ],
)
def test_the_beginning_is_a_beginning_of_the_transcript_as_it_is_written(
    text: str, words: list[str], expected: str
) -> None:
    assert text_until(1.0, text, second_each(*words)) == expected


@pytest.mark.parametrize("words", [["hello"], ["hello", "there", "world"], ["world", "hello"], ["20", "world"]])
def test_words_that_are_not_those_of_the_transcript_tell_nothing(words: list[str]) -> None:
    assert SpokenText.of("Hello, world.", second_each(*words)) is None


def test_one_letter_cannot_be_two_words_and_marks_alone_are_none() -> None:
    assert SpokenText.of("ß", second_each("s", "s")) is None
    assert text_until(1.0, "a – b", second_each("a", "–", "b")) == "a"
    assert text_until(0.5, "", []) == ""


@pytest.mark.parametrize(
    ("at_s", "expected"),
    [
        (0.5, ""),  # "a" is under way, so "of" and "the" come later
        (1.5, None),  # between "a" and "end" nobody knows where "of the" are
        (3.0, "a of the"),  # "end" begins, so those before it are over
        (4.0, "a of the end"),
    ],
)
def test_words_without_times_go_by_their_neighbours(at_s: float, expected: str | None) -> None:
    words = timed(("a", 0.0, 1.0), ("of", None, None), ("the", None, None), ("end", 3.0, 4.0))
    assert text_until(at_s, "a of the end", words) == expected


def test_one_time_of_the_two_may_be_known() -> None:
    words = timed(("one", 0.0, None), ("two", 2.0, None), ("three", None, 5.0))
    assert [text_until(at_s, "one two three", words) for at_s in (0.0, 1.0, 2.0, 3.0, 5.0)] == [
        "",  # "one" has just begun
        None,  # it may be over
        "one",  # "two" begins
        None,  # "two" may be over
        "one two three",
    ]


def test_times_out_of_order_tell_nothing_while_they_contradict() -> None:
    words = timed(("one", 0.0, 4.0), ("two", 1.0, 2.0), ("three", 5.0, 6.0))
    assert [text_until(at_s, "one two three", words) for at_s in (1.5, 3.0, 4.0)] == ["", None, "one two"]


def test_neighbours_that_overlap_by_a_slot_do_not_contradict() -> None:
    words = timed(("one", 0.0, 1.04), ("two", 0.96, 2.0))
    assert [text_until(at_s, "one two", words) for at_s in (1.0, 1.04)] == ["", "one"]


def test_a_beginning_has_the_words_of_what_was_said() -> None:
    spoken = SpokenText.of(" One, two. ", second_each("one", "two"))
    assert spoken is not None and spoken.ends == (4, 9)
    said = spoken.until(1.5)
    assert said is not None and [word.text for word in said.words] == ["one"]
    assert [one.text[: one.ends[-1]] for one in (spoken, said)] == [
        "One, two.",
        "One,",
    ]  # blanks around it do not count
