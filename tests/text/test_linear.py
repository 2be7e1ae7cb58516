"""Hostile texts: every normaliser takes every language in time that grows with the length, some second for 100,000 characters."""

import random
import time

import pytest

from qasr_train.text.languages import LANGUAGES
from qasr_train.text.normalize import NORMALIZERS
from tests.text.leaderboard.helpers import HAS_MANDARIN

_DRAW = random.Random(1)
MIXED = "".join(_DRAW.choice("0123456789 ,.:/-'’%$€aäeßоعंに\u0301()[]<>\u200d½") for _ in range(997))
KINDS = [
    *("1", "12 ", "12 345 ", "1,", "9:", "1/", "2025-1-", "½", "a", " ", "\u0301", "'", "(", "<", "-", "$ "),
    *("hundred ", "and a half ", "hundert ", "bin", "o ", "20-go, двадцать одна ", MIXED),
]
SHORT, LONG, WHOLE = 500, 2000, 100_000
SHARE_S = LONG / WHOLE  # of a second


def _seconds(name: str, kind: str, length: int, language: str | None) -> float:
    text = (kind * length)[:length]
    begun = time.process_time()
    NORMALIZERS[name].normalize(text, language)
    return time.process_time() - begun


def _least(name: str, kind: str, length: int, language: str | None) -> float:
    return min(_seconds(name, kind, length, language) for _ in range(3))


def _names(language: str | None, is_at_length: bool = False) -> list[str]:
    """Mandarin of 2026-11 needs an extra, which takes two milliseconds for each character that is new to it."""
    is_left_out = language == "Chinese" and (is_at_length or not HAS_MANDARIN)
    return [name for name in NORMALIZERS if not (is_left_out and name == "leaderboard-2026-11")]


@pytest.mark.parametrize("language", [*LANGUAGES, None])
def test_time_grows_with_the_length_of_a_text_and_not_with_its_square(language: str | None) -> None:
    """Four times the text takes some four times as long; only where it took more than its share is that looked at."""
    for name in _names(language):
        for kind in KINDS:
            if _seconds(name, kind, LONG, language) > SHARE_S:
                least = _least(name, kind, LONG, language)
                assert least < max(SHARE_S, 8 * _least(name, kind, SHORT, language)), (name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("language", [*LANGUAGES, None])
def test_a_hundred_thousand_characters_take_some_second(language: str | None) -> None:
    for name in _names(language, is_at_length=True):
        for kind in KINDS:
            assert _seconds(name, kind, WHOLE, language) < 2, (name, kind)
