"""Other languages of `leaderboard-2026-11`: every expected value is of the leaderboard's own stored code, run beside ours."""

import pytest

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


def test_hindi_has_the_rules_of_voi_oiwer() -> None:
    assert RULES.normalize("मैं, हिन्दी-बोलता हूँ। 25% क़लम OK", "Hindi") == "मैं हिन्दी बोलता हूँ 25% क\u093cलम ok"
    assert RULES.join("घर वाला", "घरवाला", "Hindi") == ("घर वाला", "घरवाला")
    assert not RULES.merges_compounds("Hindi") and RULES.merges_compounds("German")


def test_compounds_are_joined_on_both_sides() -> None:
    assert RULES.join("de voor deur is", "de voordeur is", "Dutch") == ("de voordeur is", "de voordeur is")
