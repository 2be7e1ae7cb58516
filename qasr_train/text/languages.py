"""Owns the table of languages Qwen3-ASR was trained on: name in the prompt, ISO code, and how users spell them.

Input: a name, code or locale from a manifest ("English", "en", "en-US"). Output: the name the model uses, or None (unknown).
Source of the 30 names: `support_languages` of the published Qwen/Qwen3-ASR-0.6B config.json.
"""

from collections.abc import Collection

from qasr_train.errors import DataError

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

_OTHER_CODES = {"cmn": "Chinese", "zho": "Chinese", "mandarin": "Chinese", "tl": "Filipino", "tgl": "Filipino"}
_UNKNOWN = {"", "none", "unknown", "auto", "und", "null"}
_BY_SPELLING = (
    {name.lower(): name for name in LANGUAGES} | {code: name for name, code in LANGUAGE_CODES.items()} | _OTHER_CODES
)


def resolve_language(value: str | None, *, where: str, new_languages: Collection[str] = ()) -> str | None:
    """The model's name of a language, or None where the language is unknown.

    Args:
        value: name ("English"), ISO code ("en") or locale ("en-US", "zh_CN"); None, "", "unknown", "auto" mean unknown.
        where: what to name in the error, e.g. "train.jsonl:12" or "decode.language".
        new_languages: names the user adds to the model's own thirty; matched regardless of case.

    Raises:
        DataError: the spelling is not known; names the value, the place and the choices.
    """
    spelling = (value or "").strip().lower()
    if spelling in _UNKNOWN:
        return None
    added = {name.lower(): name for name in new_languages}
    for key in (spelling, spelling.replace("_", "-").split("-")[0]):
        if key in added:
            return added[key]
        if key in _BY_SPELLING:
            return _BY_SPELLING[key]
    raise DataError(
        f"{where}: unknown language {value!r}; use one of {', '.join(LANGUAGES)}, its ISO code, or leave it empty if "
        "unknown (a language the model does not have yet goes into `new_languages` of the source)"
    )
