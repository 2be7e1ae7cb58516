"""English of `leaderboard-2026-11`: every expected value is of the leaderboard's own stored code, run beside ours."""

import pytest

from qasr_train.text.leaderboard.english import english_2026_11
from qasr_train.text.normalize import NORMALIZERS

RULES = NORMALIZERS["leaderboard-2026-11"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oh no it is oh nine", "oh no it is oh 9"),
        ("oh", "oh"),
        ("oh oh", "oh oh"),
        ("four oh one", "401"),
        ("nineteen oh five", "1905"),
        ("oh seven nine eight", "0798"),
        ("oh seven", "oh 7"),
        ("call 20 oh", "call 20 oh"),
        ("five point oh", "5 oh"),
        ("five point oh two", "5.02"),
        ("point oh", "oh"),
        ("minus oh", "-oh"),
        ("minus minus oh five", "-oh 5"),
        ("one hundred and oh", "100 oh"),
        ("one hundred and oh five", "10005"),
        ("double oh seven", "007"),
        ("triple oh", "000"),
        ("oh double oh", "oh 00"),
        ("zero oh", "0 oh"),
        ("o five oh", "05 oh"),
        ("negative oh no", "-oh no"),
        ("five dollars oh three", "$5 oh 3"),
        ("first oh two three", "1st 023"),
        ("per cent oh five", "per cent oh 5"),
    ],
)
def test_oh_is_a_zero_among_digits_alone(text: str, expected: str) -> None:
    assert english_2026_11(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("five o'clock", "5"),
        ("Five o’clock", "5"),
        ("five oclock", "5"),
        ("5 o ' clock", "5"),
        ("twenty-five o'clock", "250 clock"),
        ("half past five", "5 30"),
        ("half-past five", "half past 5"),
        ("a quarter to one", "12 45"),
        ("quarter past six o'clock", "6 15"),
        ("ten minutes before zero", "23 50"),
        ("twenty five minutes after 12", "12 25"),
        ("seventy minutes past 3", "70 minutes past 3"),
        ("half past 24", "half past 24"),
        ("at 05:00 and 10:30", "at 5 and 10 30"),
        ("7:05pm", "75 pm"),
        ("24:00", "24 0"),
        ("10:00:00", "10 00"),
        ("1.5:30", "one.5 30"),
        ("at 07:05", "at 75"),
        ("zero o'clock", "0"),
    ],
)
def test_clock_times_are_read_alike_spoken_or_written(text: str, expected: str) -> None:
    assert english_2026_11(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uh uhh uuuh uhhhh um umm umh er err erm errr hmm hhm hm mm mmm m", "m"),
        ("ah aah ahm ahh aha ahaaa ah-ha", ""),
        ("eh ehm em emm ehr eheh ehehe", ""),
        ("hah heh huh hunh hum mhum hmmph", ""),
        ("tsk tttsk ugh uuugh mmkay ahem mh mhm mmhm uhuh uhum", ""),
        ("um-hmm yes", "yes"),
        ("ohm ha herr ermine ummah", "ohm ha herr ermine ummah"),
    ],
)
def test_fillers_go_however_long_they_are_drawn_out(text: str, expected: str) -> None:
    assert english_2026_11(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wait...", "wait"),
        ("he said . and ... then", "he said and then"),
        ("5 % of . $", "5 of"),
        ("$ 5 and %5", "5 and 5"),
        ("it's uh been", "it is been"),
        ("it's been", "it has been"),
        ("a  quarter past  two", "2 15"),
        ("I don't   'cause", "i do not cause"),
        ("1,234 and 5.0.", "1234 and 5"),
    ],
)
def test_stray_symbols_and_white_space(text: str, expected: str) -> None:
    assert english_2026_11(text) == expected


def test_what_the_date_does_not_change_is_as_in_august() -> None:
    august = NORMALIZERS["leaderboard-2026-08"]
    text = "Mr. O'Brien's colour: $2.5 million, e-mail Stephen at 1 2 3, B. B. C. [noise] and two and a half"
    assert RULES.normalize(text, "English") == august.normalize(text, "English")
    assert RULES.merges_compounds("English")
    assert not RULES.keeps("uhhh", RULES.normalize("uhhh", "English"), "English")
