"""How transcripts are written, on texts whose style a person sees at once."""

import pytest

from qasr_train.data.mixture import ListPool
from qasr_train.text.style import MIN_ROWS, TextStyle, number_words, set_style, style_remarks, text_style
from tests.helpers import utterance


@pytest.mark.parametrize(
    ("text", "language", "style"),
    [
        ("The patient, 54, was seen.", "English", TextStyle("cased", "marks", "digits")),
        ("the patient was seen at ten", "English", TextStyle("lower", "none", "words")),
        ("THE PATIENT WAS SEEN", "English", TextStyle("upper", "none", None)),
        ("yes", "English", TextStyle("lower", None, None)),  # too short to miss a full stop
        ("I", "English", TextStyle("upper", None, None)),
        ("give 2.5 of it now", "English", TextStyle("lower", "none", "digits")),  # a decimal point is no punctuation
        ("in room 5 for twenty days", "English", TextStyle("lower", "none", "both")),
        ("one of them went home", "English", TextStyle("lower", "none", None)),  # "one" is no number here
        ("患者今天出院。", "Chinese", TextStyle(None, "marks", None)),  # no case; no spaces
        ("المريض يعاني من ألم؟", "Arabic", TextStyle(None, "marks", None)),
        ("er kam um zwölf uhr", "German", TextStyle("lower", "none", "words")),
        ("", None, TextStyle(None, None, None)),
        ("42", None, TextStyle(None, None, "digits")),
    ],
)
def test_the_style_of_a_text(text: str, language: str | None, style: TextStyle) -> None:
    assert text_style(text, language) == style


def test_number_words_are_whole_words_of_known_languages() -> None:
    assert {"two", "twenty", "ninety"} <= number_words("English") and "one" not in number_words("English")
    assert "deux" in number_words("French") and "vingt" in number_words("French")
    assert number_words("Hindi") == number_words(None) == frozenset()


def rows(text: str, number: int = MIN_ROWS) -> list[tuple[str, str | None]]:
    return [(text, "English")] * number


def test_one_way_of_writing_gives_no_remark_and_two_are_named_with_their_shares() -> None:
    clean = set_style(rows("he was seen on the ward at ten"))
    assert style_remarks({"main": clean}) == []
    assert clean.describe() == "letter case lower 100 %; punctuation none 100 %; numbers words 100 %"
    mixed = set_style(rows("he was seen on the ward", 30) + rows("He was seen on the ward.", 10))
    first, second = style_remarks({"main": mixed})
    assert first.startswith("main: letter case is mixed (lower 75 %, cased 25 %)")
    assert second.startswith("main: punctuation is mixed (none 75 %, marks 25 %)")


def test_a_tenth_of_strays_is_no_mixture() -> None:
    style = set_style(rows("he was seen on the ward", 90) + rows("HE WAS SEEN ON THE WARD", 10))
    assert style_remarks({"main": style}) == []


def test_sets_that_differ_are_told_apart() -> None:
    styles = {
        "target": set_style(rows("he had 5 of them today")),
        "replay": set_style(rows("He had five of them today.")),
        "tiny": set_style(rows("HE HAD FIVE", MIN_ROWS - 1)),  # too few to say
    }
    remarks = style_remarks(styles)
    assert [remark.split(" (")[0] for remark in remarks] == [
        "sets differ in letter case",
        "sets differ in punctuation",
        "sets differ in numbers",
    ]
    assert "(target: lower, replay: cased)" in remarks[0] and "(target: digits, replay: words)" in remarks[2]


def test_verbatim_beside_clean_transcripts_is_told() -> None:
    clean = set_style(rows("he was seen on the ward", 50))
    verbatim = set_style(rows("uh he was um seen on the ward", 50))
    assert verbatim.filler_percent == pytest.approx(25.0) and verbatim.describe().endswith(
        "fillers 25.0 % of the words"
    )
    [remark] = style_remarks({"calls": verbatim, "replay": clean})
    assert remark.startswith("some sets are verbatim and others clean (calls: 25.0 % fillers, replay: 0.0 % fillers)")
    assert style_remarks({"calls": verbatim, "other": set_style(rows("um he was seen on the ward", 50))}) == []
    assert set_style([("äh um", "German")] * 200).filler_percent == 50.0  # "um" is a German word
    assert set_style([("um", "Portuguese")] * 500).filler_percent is None


def test_a_long_list_is_sampled_from_end_to_end() -> None:
    rows = [utterance(id=str(i), text=f"text {i}") for i in range(5000)]
    sampled = ListPool("main", rows, 1.0, (0,)).sampled_texts()
    assert len(sampled) == 1667  # every third
    assert sampled[0] == ("text 0", "English") and sampled[-1] == ("text 4998", "English")
