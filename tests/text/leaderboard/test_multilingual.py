"""Other languages of `leaderboard-2026-11`: every expected value is of the leaderboard's own stored code, run beside ours."""

import pytest

from qasr_train.errors import DataError
from qasr_train.text.leaderboard.multilingual import multilingual_2026_11
from qasr_train.text.normalize import NORMALIZERS

RULES = NORMALIZERS["leaderboard-2026-11"]


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("hi", "मैं हिन्दी बोलता हूँ।", "मैं हिन्दी बोलता हूँ"),
        ("hi", "कीमत 25 रुपये", "कीमत 25 रुपये"),
        ("nl", "Hij heeft 25 boeken, (lacht) ja!", "hij heeft vijfentwintig boeken ja"),
        ("nl", "één café, 1 000 euro", "één café duizend euro"),
        ("de", "Straße 10 000 Ä", "straße zehntausend ä"),
        ("th", "ฉันรักเธอ", "ฉันรักเธอ"),
        ("ar", "السَّلَامُ عَلَيْكُمْ", "السَّلَامُ عَلَيْكُمْ"),
        ("tr", "İstanbul", "i̇stanbul"),
        ("fr", "½ l'été 80 %", "un deux l été quatre-vingts"),
        ("fa", "می\u200cخواهم", "می\u200cخواهم"),
        ("vi", "ế tiếng", "ế tiếng"),
    ],
)
def test_combining_marks_stay(code: str, text: str, expected: str) -> None:
    assert multilingual_2026_11(text, code) == expected


def test_a_text_without_a_language_keeps_its_digits() -> None:
    assert RULES.normalize("25 boeken!", None) == "25 boeken"


def test_a_lattice_of_spellings_is_refused_and_not_scored_as_text() -> None:
    lattice = '[["मैं"], ["हूँ", "हूं"]]'
    with pytest.raises(
        DataError, match="a Hindi reference is a lattice of spellings .* needs OIWER, which is not here"
    ):
        RULES.keeps(lattice, "", "Hindi")
    assert RULES.keeps("मैं हूँ", "मैं हूँ", "Hindi")


def test_compounds_are_joined_on_both_sides() -> None:
    assert RULES.join("de voor deur is", "de voordeur is", "Dutch") == ("de voordeur is", "de voordeur is")
