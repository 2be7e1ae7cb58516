"""Languages: the table is the published one, and every usual spelling finds its name."""

import json

import pytest

from qasr_train.errors import DataError
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
