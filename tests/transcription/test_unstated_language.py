"""Rows that state no language: what their script decides, what a name says, and what is left undecided."""

from collections import Counter

import pytest

from qasr_train.transcription.unstated_language import (
    describe_reasons,
    language_of_name,
    languages_of_unstated,
    script_of,
)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("저는 Microsoft Office 사용해요", "Hangul"),  # six syllables, fifteen letters
        ("hello everybody 안녕", "Latin"),
        ("東京都庁の前", "kana"),
        ("コーヒー", "kana"),
        ("我在北京工作的时候常常喝这个牌子の茶", "Han"),  # one kana of eighteen letters is no Japanese
        ("สวัสดี", "Thai"),
        ("Ω in αβγ", "Greek"),
        ("das Ω-Zeichen, 5 µm", "Latin"),
        ("один дом", "Cyrillic"),
        ("مرحبا", "Arabic"),
        ("किताब पढ़ो", "Devanagari"),
        ("Đừng đi", "Latin"),
        ("שלום", "other"),
        ("12:30 ...", None),
        ("", None),
    ],
)
def test_the_script_is_that_of_most_letters(text: str, script: str | None) -> None:
    assert script_of(text) == script


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("fleurs_vi_test", "Vietnamese"),
        ("common_voice_17_de", "German"),
        ("fleurs_pt_br_test", "Portuguese"),
        ("fleurs_cmn_hans_cn", "Chinese"),
        ("common_voice_zh-HK", "Cantonese"),
        ("calls german dev", "German"),
        ("voxpopuli_en", "English"),
        ("librispeech_test_clean", None),
        ("ami_test", None),
        ("in_house_test", None),
        ("my_test", None),  # Burmese is none of the thirty
        ("hf_de_novo", None),
        ("speaker_id", None),
        ("what_is_it", None),
        ("predictions", None),
    ],
)
def test_the_language_of_a_name_stands_at_its_end(name: str, language: str | None) -> None:
    assert language_of_name(name) == language


def test_codes_that_are_words_count_where_names_are_made_by_a_rule() -> None:
    assert language_of_name("mls_it_test", takes_words=True) == "Italian"


@pytest.mark.parametrize(
    ("text", "set_name", "expected"),
    [
        ("una casa", "mls_es", "Spanish"),
        ("una casa", "medical", None),  # Spanish without accents: nothing says so
        ("один дом", "fleurs_ru_test", "Russian"),
        ("один дом", "fleurs_uk_test", None),
        ("один дом", "fleurs_de_test", None),  # whatever it is called, this is no German
        ("안녕하세요", "fleurs_de_test", "Korean"),
        ("下雨了", "fleurs_yue_hant_hk", "Cantonese"),
        ("下雨了", "medical", "Chinese"),
        ("", "fleurs_de_test", "German"),
        (None, "medical", None),
    ],
)
def test_script_before_name_before_nothing(text: str | None, set_name: str, expected: str | None) -> None:
    [(language, _)] = languages_of_unstated([text], [set_name], is_leaderboards=False)
    assert language == expected


def test_latin_letters_are_english_in_the_leaderboards_form_alone_and_other_scripts_never() -> None:
    texts, names = ["una casa", "один дом", "किताब"], ["medical"] * 3
    reasons = languages_of_unstated(texts, names, is_leaderboards=True)
    assert reasons == [("English", "as the leaderboard's manifests are"), (None, ""), (None, "")]
    assert describe_reasons(Counter(reasons[:1]), 3) == [
        "1 of 3 rows name no language; they are scored by the rules for English 1 (as the leaderboard's manifests are): state it "
        "with language=NAME, or as the language of the source"
    ]
    assert describe_reasons(Counter(), 3) == []
