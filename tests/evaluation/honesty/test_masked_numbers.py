"""Masked numbers: which number, where it becomes silent, and who writes it all the same."""

import numpy as np
import pytest

from qasr_train.evaluation.honesty.masked_numbers import NumberMask, SpokenNumber, find_number, is_written
from qasr_train.manifest import Utterance
from qasr_train.text.normalize import get_normalizer

TEXT = "the vote was held on twenty seven may in the old town hall"
RULES = get_normalizer("qasr-2")


@pytest.mark.parametrize(
    ("text", "language", "number"),
    [
        (TEXT, "English", "twenty seven"),
        ("article 12, of the year 2019 is what we voted on today", "English", "2019"),
        ("sie kommen heute um dreißig Minuten später als sonst an", "German", "dreißig"),
        ("他们在2019年的会议上说了很多关于未来的事情", "Chinese", "2019"),
        ("there is no number in here at all", "English", None),
        ("seven", "English", None),  # nothing would be left to know the clip by
    ],
)
def test_the_longest_number_is_found(text: str, language: str, number: str | None) -> None:
    found = find_number(text, language)
    assert (found.text if found else None) == number


def test_silence_lies_where_the_number_is_said_and_nowhere_else() -> None:
    # Half a second of nothing, six seconds of speech, half a second of nothing.
    waveform = np.zeros(7 * 16_000, dtype=np.float32)
    waveform[8_000:104_000] = 0.5
    masked = NumberMask().apply(waveform, Utterance("u", "a.wav", TEXT, "English"))
    silent = np.flatnonzero((masked == 0) & (waveform != 0)) / 16_000
    begin, end = TEXT.index("twenty") / len(TEXT), TEXT.index(" may") / len(TEXT)
    assert silent[0] == pytest.approx(0.5 + 6 * (begin - 0.1), abs=0.05)
    assert silent[-1] == pytest.approx(0.5 + 6 * (end + 0.1), abs=0.05)
    assert len(masked) == len(waveform) and waveform[60_000] == 0.5
    untouched = NumberMask().apply(waveform, Utterance("u", "a.wav", "no number here", "English"))
    assert untouched is waveform
    stated = Utterance(
        "u", "a.wav", TEXT.replace("the vote was", "{ the / a / this very } vote { was / @ }"), "English"
    )
    assert np.array_equal(NumberMask().apply(waveform, stated), masked)  # the first spelling is what was said


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ("the vote was held on 27 may in the old town hall", True),
        ("the vote was held on twenty-seven may", True),
        ("the vote was held on may in the old town hall", False),
        ("the vote was held on twenty eight may", False),
    ],
)
def test_the_number_counts_however_it_is_spelt(heard: str, written: bool) -> None:
    number = find_number(TEXT, "English")
    assert number and is_written(number, TEXT, heard, "English", RULES) is written


def test_the_same_number_elsewhere_in_the_clip_is_no_hit() -> None:
    text = "two of them and then two more of those came along"
    number = SpokenNumber(0, 3, "two")
    assert not is_written(number, text, "of them and then two more", "English", RULES)
    assert is_written(number, text, "two of them and then two more", "English", RULES)
