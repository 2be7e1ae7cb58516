"""Owns the rules for languages other than English: the leaderboard's (which break scripts with combining marks), and ours.

Input: a raw transcript and the ISO code of its language, or None. Output: words apart by single spaces.
Numbers in digits become words by `num2words` where it knows the language; docs/evaluation.md lists what that leaves.
"""

import functools
import re
import unicodedata
from collections.abc import Mapping
from difflib import SequenceMatcher

from num2words import num2words

from qasr_train.text.english import without_brackets
from qasr_train.text.languages import LANGUAGE_CODES

# The leaderboard asks the package `regex` what a word is: joiners belong to it there, and numbers that are no digits do not.
_NOT_WORD = re.compile(r"[^\w\s\u200c\u200d]")
_THOUSANDS_GROUP = re.compile(r"(\d)\s+(\d{3})\b")
_DIGITS = re.compile(r"\d+")


class _ByCategory(dict[int, str]):
    """Fills itself: a character of some Unicode categories becomes a space or nothing, any other stays."""

    def __init__(self, to_space: str, deleted: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._to_space = to_space
        self._deleted = deleted

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        self[code] = "" if category in self._deleted else " " if category[0] in self._to_space else character
        return self[code]


_MARKS_AND_SYMBOLS_TO_SPACES = _ByCategory("MSP", frozenset({"No"}))
_SYMBOLS_TO_SPACES = _ByCategory(
    "SP", frozenset({"Cf"})
)  # Cf: joiners, direction marks, soft hyphens: nobody hears them


# ---------------------------------------------------------------- the leaderboard's


def leaderboard_multilingual(text: str, code: str | None) -> str:
    """Text as the leaderboard of August 2026 compares it outside English; official for de fr es it pt.

    Combining marks become spaces, as they do there: Hindi, Thai and vocalised Arabic fall into fragments.
    """
    text = without_brackets(text.lower())
    text = unicodedata.normalize("NFKC", text).translate(_MARKS_AND_SYMBOLS_TO_SPACES).lower()
    text = " ".join(_NOT_WORD.sub("", text).split())
    return text if code is None else leaderboard_numbers(text, code)


def leaderboard_numbers(text: str, code: str) -> str:
    """Digits in words, as the leaderboard has them: `10 000` joined pairwise, then each run of digits through num2words."""
    text = _THOUSANDS_GROUP.sub(r"\1\2", text)
    return " ".join(_DIGITS.sub(lambda match: _leaderboard_number(match[0], code), text).split())


@functools.lru_cache(maxsize=65536)
def _leaderboard_number(digits: str, code: str) -> str:
    try:
        return str(num2words(int(digits), lang=code))
    except Exception:  # num2words raises many kinds; the leaderboard keeps the digits for all of them
        return digits


def join_compounds(reference: str, hypothesis: str) -> tuple[str, str]:
    """Both sides with the same joined form where they differ only by where a compound is split.

    Source: the leaderboard's rule. Per region that difflib finds unequal, the words are joined if their letters agree.
    """
    if reference == hypothesis:
        return reference, hypothesis
    reference_words, hypothesis_words = reference.split(), hypothesis.split()
    new_reference: list[str] = []
    new_hypothesis: list[str] = []
    for _, i1, i2, j1, j2 in SequenceMatcher(None, reference_words, hypothesis_words).get_opcodes():
        ours, theirs = reference_words[i1:i2], hypothesis_words[j1:j2]
        if ours != theirs and "".join(ours) == "".join(theirs):
            ours = theirs = ["".join(ours)]
        new_reference.extend(ours)
        new_hypothesis.extend(theirs)
    return " ".join(new_reference), " ".join(new_hypothesis)


# ---------------------------------------------------------------- ours

# Languages for which num2words 0.5.14 gives words of that language ("fil" would give Finnish, zh yue hi ms el mk nothing).
_NUM2WORDS_CODES = frozenset(
    ["en", "ar", "de", "fr", "es", "pt", "id", "it", "ko", "ru", "th", "vi", "ja", "tr", "nl", "sv", "da", "fi", "pl", "cs", "fa",
     "ro", "hu"]
)  # fmt: skip
_NO_DECIMALS = frozenset({"ar", "vi", "tr"})  # it gives money or runs the words together
_WITHOUT_SPACES = frozenset({"zh", "yue", "ja", "th", "ko"})  # a counter follows the number without one
_DECIMAL_COMMA = frozenset(
    ["de", "fr", "es", "pt", "id", "it", "ru", "vi", "tr", "nl", "sv", "da", "fi", "pl", "cs", "el", "ro", "hu", "mk"]
)
_SPACE_THOUSANDS = frozenset(["fr", "ru", "sv", "fi", "pl", "cs", "hu", "mk"])
_PERCENT_WORDS = {
    "de": "prozent", "fr": "pour cent", "es": "por ciento", "pt": "por cento", "it": "per cento", "nl": "procent",
    "sv": "procent", "da": "procent", "id": "persen", "ms": "peratus", "ro": "la sută", "hu": "százalék",
    "el": "τοις εκατό", "vi": "phần trăm",
}  # fmt: skip

_NUMBER_COMMA_POINT = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?(?![\d,])|\d+(?:\.\d+)?")
_NUMBER_POINT_COMMA = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?(?![\d.])|\d+(?:,\d+)?")
_NUMBER_SPACE_COMMA = re.compile(r"\d{1,3}(?:[. \u00a0\u202f]\d{3})+(?:,\d+)?(?![\d.])|\d+(?:,\d+)?")
_PERCENT = re.compile(r"(?<=\d)\s*%")
_MAX_DIGITS = 15  # longer runs are identifiers, not quantities; read digit by digit they would not match words either

_TATWEEL = "\u0640"  # stretches an Arabic word on the page, and is a letter to Unicode
# Spellings that one text has and another lacks, though nobody hears them.
_BY_LANGUAGE: dict[str, Mapping[int, int | str]] = {
    "tr": {ord("İ"): "i", ord("I"): "ı"},  # before lower-casing, which would make "i̇" and "i" of them
    "ro": str.maketrans("şţŞŢ", "șțȘȚ"),  # cedilla for comma below
    "ru": str.maketrans("ёЁ", "еЕ"),
    "fa": {ord("ي"): "ی", ord("ك"): "ک", 0x200C: " "},  # Arabic letters for Persian ones; the half-space
}


def our_multilingual(text: str, code: str | None) -> str:
    """Text by our rules, for any language: combining marks are kept, case folded as the language does, numbers as words.

    1 NFKC (full width folded), Thai and Lao vowels put together again. 2 spellings of one language made equal. 3 numbers to
    words, thousands and decimals as the language writes them. 4 case folded. 5 punctuation and symbols to spaces, joiners
    deleted. 6 spaces squeezed.
    """
    text = unicodedata.normalize("NFKC", text).replace("\u0e4d\u0e32", "\u0e33").replace("\u0ecd\u0eb2", "\u0eb3")
    text = text.replace(_TATWEEL, "")
    if code in _BY_LANGUAGE:
        text = text.translate(_BY_LANGUAGE[code])
    if any(character.isdecimal() for character in text):
        text = _numbers_to_words(text, code)
    text = unicodedata.normalize("NFC", text.casefold()).translate(_SYMBOLS_TO_SPACES)
    return " ".join(text.split())


def _numbers_to_words(text: str, code: str | None) -> str:
    text = "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in text)  # Hindi, Arabic, Persian digits too
    if code in _PERCENT_WORDS:
        text = _PERCENT.sub(f" {_PERCENT_WORDS[code]}", text)
    pattern = _NUMBER_COMMA_POINT
    if code in _DECIMAL_COMMA:
        pattern = _NUMBER_SPACE_COMMA if code in _SPACE_THOUSANDS else _NUMBER_POINT_COMMA
    return pattern.sub(lambda match: _our_number(match[0], code), text)


@functools.lru_cache(maxsize=65536)
def _our_number(written: str, code: str | None) -> str:
    """The words of a number, or its bare digits where num2words does not know the language or the number."""
    has_decimal_comma = code in _DECIMAL_COMMA
    plain = re.sub(r"[. \u00a0\u202f]" if has_decimal_comma else ",", "", written).replace(",", ".")
    is_decimal = "." in plain
    if (
        code not in _NUM2WORDS_CODES
        or (is_decimal and code in _NO_DECIMALS)
        or (plain[0] == "0" and plain.isdecimal() and len(plain) > 1)
        or len(plain) > _MAX_DIGITS
    ):
        return plain.replace(".", " ")
    try:
        words = str(num2words(float(plain) if is_decimal else int(plain), lang=code))
    except Exception:  # it raises NotImplementedError, OverflowError, IndexError ... by language and size
        return plain.replace(".", " ")
    return words if code in _WITHOUT_SPACES else f" {words} "


def language_code(language: str | None) -> str | None:
    """The ISO code of a language's name; any other spelling is passed on in lower case (a code we have no name for)."""
    return None if language is None else LANGUAGE_CODES.get(language, language.lower())
