"""Owns the table of languages Qwen3-ASR was trained on: name in the prompt, ISO code, and how users spell them.

Input: a name, code or locale from a manifest ("English", "en", "en-US", "zh-HK"). Output: the name the model uses, or None
(unknown). What codes and locales mean, and by which sources, stands in language_codes.py.
Source of the 30 names: `support_languages` of the published Qwen/Qwen3-ASR-0.6B config.json.
"""

import re
from collections.abc import Collection

from qasr_train.errors import DataError
from qasr_train.text.language_codes import (
    CANTONESE_REGIONS,
    EXTLANGS,
    NO_REGIONS,
    OTHER_LANGUAGES,
    OTHER_SPELLINGS,
)

LANGUAGE_CODES = {
    "Chinese": "zh",
    "English": "en",
    "Cantonese": "yue",
    "Arabic": "ar",
    "German": "de",
    "French": "fr",
    "Spanish": "es",
    "Portuguese": "pt",
    "Indonesian": "id",
    "Italian": "it",
    "Korean": "ko",
    "Russian": "ru",
    "Thai": "th",
    "Vietnamese": "vi",
    "Japanese": "ja",
    "Turkish": "tr",
    "Hindi": "hi",
    "Malay": "ms",
    "Dutch": "nl",
    "Swedish": "sv",
    "Danish": "da",
    "Finnish": "fi",
    "Polish": "pl",
    "Czech": "cs",
    "Filipino": "fil",
    "Persian": "fa",
    "Greek": "el",
    "Romanian": "ro",
    "Hungarian": "hu",
    "Macedonian": "mk",
}
LANGUAGES = tuple(LANGUAGE_CODES)

# Languages written without spaces between words, or where the field reports characters (docs/evaluation.md).
CER_LANGUAGES = frozenset({"Chinese", "Cantonese", "Japanese", "Korean", "Thai"})

_UNKNOWN = {"", "none", "unknown", "auto", "und", "null"}
_BY_SPELLING = (
    {name.lower(): name for name in LANGUAGES} | {code: name for name, code in LANGUAGE_CODES.items()} | OTHER_SPELLINGS
)


class UnknownLanguageError(DataError):
    """A language that maps to none of the model's. reason: the same without the place and the choices."""

    def __init__(self, value: str | None, meaning: str, where: str) -> None:
        self.reason = f"unknown language {value!r}{meaning}"
        super().__init__(
            f"{where}: {self.reason}; use one of {', '.join(LANGUAGES)}, its ISO code, or leave it empty if unknown (a language "
            "the model does not have yet goes into `new_languages` of the source)"
        )


def resolve_language(value: str | None, *, where: str, new_languages: Collection[str] = ()) -> str | None:
    """The model's name of a language, or None where the language is unknown.

    Args:
        value: name ("English"), ISO code ("en") or locale ("en-US", "zh_HK"); None, "", "unknown", "auto" mean unknown.
        where: what to name in the error, e.g. "train.jsonl:12" or "decode.language".
        new_languages: names the user adds to the model's own thirty; matched regardless of case.

    A code of a language that was added finds its name too: "nb" with "Norwegian" in `new_languages`.

    Raises:
        UnknownLanguageError: the spelling is not known; names the value, the place and the choices.
    """
    spelling = (value or "").strip().lower()
    if spelling in _UNKNOWN:
        return None
    added = {name.lower(): name for name in new_languages}
    for key in (spelling, _primary(spelling)):
        if key in added:
            return added[key]
        if key in _BY_SPELLING:
            return _BY_SPELLING[key]
        if (other := OTHER_LANGUAGES.get(key, "").lower()) in added:
            return added[other]
    raise UnknownLanguageError(value, _meaning(spelling), where)


def _primary(spelling: str) -> str:
    """What decides the language in a locale: "en" of "en-us.utf-8", "yue" of "zh-hk" and "zh-yue"; "" where that is unclear."""
    first, *others = re.split(r"[.@]", spelling)[0].replace("_", "-").split("-")
    if others and others[0] in NO_REGIONS:
        return ""  # en-zh: speech in two languages
    extlangs = EXTLANGS.get(LANGUAGE_CODES.get(_BY_SPELLING.get(first, ""), ""), frozenset())
    if others and first not in extlangs and (others[0] in extlangs or others[:2] == ["min", "nan"]):
        return "nan" if others[0] == "min" else others[0]
    if _BY_SPELLING.get(first) == "Chinese" and first != "cmn" and CANTONESE_REGIONS.intersection(others):
        return "" if "hans" in others else "yue"  # simplified characters in Hong Kong may be of either
    return first


def _meaning(spelling: str) -> str:
    """What is known of a code the model does not have, for the sentence."""
    name = OTHER_LANGUAGES.get(spelling) or OTHER_LANGUAGES.get(_primary(spelling))
    return f" ({name}, a language the model was not trained on)" if name else ""


def iso_code(language: str) -> str | None:
    """The ISO 639 code of a language by its name, two letters where there are any; None of a name no table holds."""
    others = (code for code, name in OTHER_LANGUAGES.items() if name.lower() == language.lower())
    return LANGUAGE_CODES.get(language) or next(others, None)
