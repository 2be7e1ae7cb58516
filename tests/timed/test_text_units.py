"""Where lines may break, and how wide text is."""

from qasr_train.timed.text_units import text_units, width


def units(text: str, max_width: int = 42) -> list[str]:
    return [unit.text for unit in text_units(text, max_width)]


def test_words_break_at_spaces_and_japanese_at_characters_but_not_before_a_full_stop() -> None:
    assert units("one two") == ["one", " two"]
    assert units("「猫。」だ") == ["「猫。」", "だ"]
    assert units("AI搭載") == ["AI", "搭", "載"]


def test_korean_breaks_at_spaces() -> None:
    assert units("음성 인식") == ["음성", " 인식"]


def test_marks_stay_with_their_letter_where_a_long_word_is_cut() -> None:
    assert units("ก็ก็ก็", 2) == ["ก็ก็", "ก็"]


def test_wide_characters_take_two_columns_and_marks_none() -> None:
    assert (width("ab"), width("猫"), width("e\u0301"), width("ａ")) == (2, 2, 1, 2)
