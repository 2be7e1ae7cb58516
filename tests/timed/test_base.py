"""Clock times, and words that become segments."""

import pytest

from qasr_train.errors import DataError
from qasr_train.timed.base import (
    TimedWord,
    clock,
    seconds_of_clock,
    segments_of_words,
)


def test_clock_times_carry_over() -> None:
    assert clock(3661.0014, ",") == "01:01:01,001"
    assert clock(59.9996, ".") == "00:01:00.000"


def test_a_word_moves_as_far_as_its_times_are_known() -> None:
    assert TimedWord("a", 0.5, 1.0, 0.9).moved(2.0) == TimedWord("a", 2.5, 3.0, 0.9)
    assert TimedWord("a", 2.5, None).moved(-2.0) == TimedWord("a", 0.5, None)
    assert TimedWord("a", None, None).moved(2.0) == TimedWord("a", None, None)


def test_clock_times_are_read_with_and_without_hours() -> None:
    assert seconds_of_clock("01:01:01,5", "x") == 3661.5
    assert seconds_of_clock("2:03.25", "x") == 123.25


def test_what_is_no_time_is_refused_where_it_stands() -> None:
    with pytest.raises(DataError, match=r"a\.srt:3: 'one o clock' is no time"):
        seconds_of_clock("one o clock", "a.srt:3")


def test_words_are_parted_at_pauses_but_not_beside_a_word_without_times() -> None:
    words = [TimedWord("a", 0.0, 0.5), TimedWord("b", None, None), TimedWord("c", 1.4, 1.6), TimedWord("d", 2.5, 2.6)]
    parts = segments_of_words(words, "anna")
    assert [(one.text, one.start_s, one.end_s) for one in parts] == [("a b c", 0.0, 1.6), ("d", 2.5, 2.6)]
    assert parts[0].words == tuple(words[:3])
