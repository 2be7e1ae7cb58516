"""Languages: the table is the published one, and every usual spelling finds its name."""

import json

import pytest

from qasr_train.errors import DataError
from qasr_train.text.language_codes import OTHER_LANGUAGES, OTHER_SPELLINGS
from qasr_train.text.languages import CER_LANGUAGES, LANGUAGE_CODES, LANGUAGES, resolve_language
from tests.helpers import SHARED, needs_shared


@needs_shared
def test_the_table_is_that_of_the_published_model() -> None:
    config = json.loads((SHARED / "qwen3_asr" / "original" / "Qwen3-ASR-0.6B" / "config.json").read_text())
    assert list(LANGUAGES) == config["support_languages"]


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("English", "English"),
        ("english", "English"),
        (" en ", "English"),
        ("en-US", "English"),
        ("zh_CN", "Chinese"),
        ("zh-Hans-CN", "Chinese"),
        ("yue", "Cantonese"),
        ("cmn", "Chinese"),
        ("tl", "Filipino"),
        ("PT-br", "Portuguese"),
    ],
)
def test_names_codes_and_locales_are_understood(spelling: str, name: str) -> None:
    assert resolve_language(spelling, where="x") == name


@pytest.mark.parametrize("spelling", [None, "", "  ", "unknown", "auto", "None", "und"])
def test_an_unknown_language_is_none(spelling: str | None) -> None:
    assert resolve_language(spelling, where="x") is None


def test_a_wrong_spelling_names_the_place_and_the_choices() -> None:
    with pytest.raises(
        DataError, match=r"m.jsonl:3: unknown language 'Englsh'; use one of Chinese, English, .*Macedonian"
    ):
        resolve_language("Englsh", where="m.jsonl:3")


def test_an_added_language_is_found_whatever_its_case() -> None:
    assert resolve_language("swahili", where="x", new_languages=["Swahili"]) == "Swahili"


def test_codes_are_unique_and_cer_languages_are_known() -> None:
    assert len(set(LANGUAGE_CODES.values())) == len(LANGUAGES) == 30
    assert set(LANGUAGES) >= CER_LANGUAGES


# Hong Kong and Macau speak Cantonese (Common Voice, Azure); Taiwan, Singapore and the mainland Mandarin.
LOCALES = {
    "zh-HK": "Cantonese",
    "zh_hk": "Cantonese",
    "zh-Hant-HK": "Cantonese",
    "zh-MO": "Cantonese",
    "zh-yue": "Cantonese",
    "yue_hant_hk": "Cantonese",
    "yue-CN": "Cantonese",
    "Chinese-HK": "Cantonese",
    "zh-TW": "Chinese",
    "zh-Hant": "Chinese",
    "zh-SG": "Chinese",
    "cmn_hans_cn": "Chinese",
    "cmn-Hans-HK": "Chinese",
    "zh_CN.UTF-8": "Chinese",
    "pt-BR": "Portuguese",
    "pt-PT": "Portuguese",
    "es-419": "Spanish",
    "en-UK": "English",
    "de@euro": "German",
    "arz": "Arabic",
    "ar-MA": "Arabic",
    "prs": "Persian",
    "fa-AF": "Persian",
    "zsm": "Malay",
    "mo": "Romanian",
    "fil-PH": "Filipino",
    "Farsi": "Persian",
    "deu": "German",
    "ger": "German",
}


@pytest.mark.parametrize(("locale", "name"), LOCALES.items())
def test_a_locale_is_the_language_that_is_spoken_there(locale: str, name: str) -> None:
    assert resolve_language(locale, where="x") == name


@pytest.mark.parametrize(
    ("locale", "meaning"),
    [
        ("nb", " (Norwegian, a language the model was not trained on)"),
        ("nn-NO", " (Norwegian, a language the model was not trained on)"),
        ("sr-Latn", " (Serbian, a language the model was not trained on)"),
        ("zh-nan", " (Min Nan Chinese, a language the model was not trained on)"),
        ("zh-min-nan", " (Min Nan Chinese, a language the model was not trained on)"),
        ("nan-tw", " (Min Nan Chinese, a language the model was not trained on)"),
        ("gsw-CH", " (Swiss German, a language the model was not trained on)"),
        ("zh-Hans-HK", ""),  # Mandarin or Cantonese
        ("en-zh", ""),  # two languages
        ("xx", ""),
    ],
)
def test_a_locale_of_no_language_of_the_model_is_asked_for(locale: str, meaning: str) -> None:
    with pytest.raises(DataError) as caught:
        resolve_language(locale, where="m.jsonl:3")
    assert str(caught.value).startswith(f"m.jsonl:3: unknown language {locale!r}{meaning}; use one of ")


def test_codes_of_an_added_language_find_it() -> None:
    for code in "no", "nb", "nb-NO", "nor":
        assert resolve_language(code, where="x", new_languages=["Norwegian"]) == "Norwegian"
    assert resolve_language("sr-Latn", where="x", new_languages=["serbian"]) == "serbian"
    assert resolve_language("nb-NO", where="x", new_languages=["nb"]) == "nb"


def test_no_code_means_two_languages() -> None:
    codes = {code: name for name, code in LANGUAGE_CODES.items()}
    assert not [code for code in OTHER_LANGUAGES if code in codes or code in OTHER_SPELLINGS]
    assert not [code for code, name in OTHER_SPELLINGS.items() if codes.get(code, name) != name]
    assert set(OTHER_SPELLINGS.values()) <= set(LANGUAGES)
