"""Pairs of texts of the thirty languages that are one utterance under `qasr-2`, or must stay two: pairs/LANGUAGE.tsv."""

from pathlib import Path

import pytest

from qasr_train.text.languages import LANGUAGES
from qasr_train.text.normalize import NORMALIZERS
from qasr_train.text.tokens import tokens

PAIRS = Path(__file__).parent / "pairs"
OURS = NORMALIZERS["qasr-2"]


def _pairs(language):
    lines = (PAIRS / f"{language}.tsv").read_text(encoding="utf-8").split("\n")
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def _compared(text, language):
    return tokens(OURS.normalize(text, language), language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_pairs_are_equal_or_different_as_a_speaker_says(language):
    pairs = _pairs(language)
    wrong = []
    for first, second, verdict, why in pairs:
        assert verdict in ("equal", "different"), (language, first)
        one, other = _compared(first, language), _compared(second, language)
        if (one == other) != (verdict == "equal"):
            wrong.append(f"{first} / {second} should be {verdict} ({why}): {' '.join(one)} / {' '.join(other)}")
    assert not wrong, "\n".join(wrong)
    assert len(pairs) >= 12
    assert {verdict for _, _, verdict, _ in pairs} == {"equal", "different"}


@pytest.mark.parametrize("language", [*LANGUAGES, None, "Swahili"])
def test_what_nobody_hears_goes_and_what_is_said_stays(language):
    """In every language: invisible characters vanish; no sign of value, minus, zero or decimal mark does."""
    for unseen in ("\u00ad", "\u200b", "\u2060", "\ufeff", "\u200e", "\u034f", "\ufe0f"):
        assert _compared(f"ab{unseen}cd", language) == _compared("abcd", language)
    alone = _compared("5", language)
    for sign in "%‰$€£¥¢₹₽₺₩฿₫₱₪₴₿":
        for text in (f"5{sign}", f"5 {sign}", f"{sign}5", f"{sign} 5"):
            assert _compared(text, language) != alone, text
        assert _compared(f"5 {sign}", language) == _compared(f"5{sign}", language), sign
        assert _compared(f"a {sign} b", language) != _compared("a b", language), sign
    for text in ("-5", "\u22125", "05", "5.5", "5,5", "5/6", "15"):
        assert _compared(text, language) != alone, text
    for first, second in (
        ("2.5", "25"),
        ("2,5", "25"),
        ("1/2", "12"),
        ("2½", "21/2"),
        ("120/80", "12080"),
        ("007", "7"),
    ):
        assert _compared(first, language) != _compared(second, language), (first, second)
