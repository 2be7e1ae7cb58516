"""Owns the rules `qasr-2` for languages other than English: what order the steps come in, and what all languages share.

Input: a raw transcript and the ISO code of its language, or None. Output: words apart by single spaces.
Numbers are in written_numbers.py (how digits are said) and spoken_numbers.py, spellings of one word in respelling.py.
"""

import re
import unicodedata
from collections.abc import Mapping

from qasr_train.text.number_context import APART
from qasr_train.text.respelling import respell, thai
from qasr_train.text.written_numbers import KEPT_PLUS, KEPT_POINT, KEPT_SLASH, speak_numbers

_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_PERSIAN_ORDINAL = re.compile(r"(?<=\d)\u200c(?=ا\u064f?م(?:ین)?\b)")  # ۳‌ام is the third, and not 3 and a word
# What NFKC would make plain letters of, though it is said otherwise; kept aside in the private area.
_KEPT = str.maketrans("ºª№", "\ue001\ue002\ue003")
_BACK = str.maketrans("\ue001\ue002\ue003", "ºª№")
_TATWEEL = "\u0640"  # stretches an Arabic word on the page, and is a letter to Unicode
_ONE_SHAPE = str.maketrans("\u2010\u2011\u2012\u2212\ufe63\uff0d٪؉", "------%‰")
_SHOWN = str.maketrans({KEPT_POINT: ".", KEPT_SLASH: "/", KEPT_PLUS: "+", APART: ","})
_SIGNS_OF_VALUE = frozenset("%‰")  # and all of money (Sc): they are said, so they never become spaces

# Spellings that one text has and another lacks, though nobody hears them.
_BY_LANGUAGE: dict[str, Mapping[int, int | str]] = {
    "tr": {ord("İ"): "i", ord("I"): "ı"},  # before lower-casing, which would make "i̇" and "i" of them
    "ro": str.maketrans("şţŞŢ", "șțȘȚ"),  # cedilla for comma below
    "ru": str.maketrans("ёЁ", "еЕ"),
    "fa": {ord("ي"): "ی", ord("ى"): "ی", ord("ك"): "ک"},  # Arabic letters for Persian ones
}


class _Symbols(dict[int, str]):
    """Fills itself: punctuation and symbols become a space, except signs of value; any other character stays."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        is_said = category == "Sc" or character in _SIGNS_OF_VALUE
        self[code] = f" {character} " if is_said else " " if category[0] in "SP" else character
        return self[code]


class _Invisible(dict[int, str]):
    """Fills itself: what nobody sees or hears (joiners, soft hyphens, marks of direction, variation selectors) goes."""

    def __missing__(self, code: int) -> str:
        is_unseen = unicodedata.category(chr(code)) == "Cf" or code == 0x034F or 0xFE00 <= code <= 0xFE0F
        self[code] = "" if is_unseen else chr(code)
        return self[code]


_SYMBOLS = _Symbols()
_INVISIBLE = _Invisible()


def visible(text: str, code: str | None) -> str:
    """Text in NFKC without what nobody sees. The half-space of Persian is a space; 2½ is 2 1/2 and never 21/2."""
    if code == "fa":
        text = _PERSIAN_ORDINAL.sub("", text).replace("\u200c", " ")
    text = _VULGAR.sub(" ", text).translate(_KEPT).translate(_INVISIBLE)
    return unicodedata.normalize("NFKC", text).replace("\u2044", "/").translate(_BACK).translate(_ONE_SHAPE)


def qasr_2(text: str, code: str | None) -> str:
    """Text by the rules `qasr-2`, for any language but English.

    1 what nobody sees goes, NFKC. 2 letters of one language that nobody hears apart. 3 digits and signs in words. 4 case folded,
    punctuation to spaces, signs of value kept. 5 spellings of one word. 6 spaces squeezed.
    """
    text = thai(visible(text, code)).replace("\u0ecd\u0eb2", "\u0eb3").replace(_TATWEEL, "")
    if code in _BY_LANGUAGE:
        text = text.translate(_BY_LANGUAGE[code])
    text = unicodedata.normalize("NFC", speak_numbers(text, code).casefold())
    return respell(" ".join(text.translate(_SYMBOLS).translate(_SHOWN).split()), code)
