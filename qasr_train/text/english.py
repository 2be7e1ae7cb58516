"""Owns the English rules: those of the Open ASR Leaderboard of August 2026, step by step, and ours built of the same steps.

Input: a raw transcript. Output: lower-case words apart by single spaces, numbers as digits. The rules and their order are those
of huggingface/open_asr_leaderboard at d1e99b2 (docs/evaluation.md); the big tables come from the package `whisper-normalizer`.
"""

import functools
import json
import re
import unicodedata
from importlib.resources import files

from whisper_normalizer.english import EnglishNumberNormalizer

_SPANS = re.compile(r"[<\[][^>\]]*[>\]]")
_PARENTHESES = re.compile(r"\(([^)]+?)\)")
_FILLERS = re.compile(r"\b(?:hmm|mm|mhm|mmm|uh|um|ah|aha|ahh|ahm|eh|ehehe|em|hm|huh|hum|mhum|uhm|umm|uhuh)\b")
_SPACE_BEFORE_APOSTROPHE = re.compile(r"\s+'")

# Whisper's table in its order. Words without an apostrophe exclude each other, so one pass over them gives the same result.
_SHORT_FORMS = {
    "won't": "will not",
    "can't": "can not",
    "let's": "let us",
    "ain't": "aint",
    "y'all": "you all",
    "i'ma": "i am going to",
    "ma'am": "madam",
}
_WORDS = {
    "wanna": "want to",
    "gotta": "got to",
    "gonna": "going to",
    "imma": "i am going to",
    "woulda": "would have",
    "coulda": "could have",
    "shoulda": "should have",
    "mr": "mister ",
    "mrs": "missus ",
    "st": "saint ",
    "dr": "doctor ",
    "prof": "professor ",
    "capt": "captain ",
    "gov": "governor ",
    "ald": "alderman ",
    "gen": "general ",
    "sen": "senator ",
    "rep": "representative ",
    "pres": "president ",
    "rev": "reverend ",
    "hon": "honorable ",
    "asst": "assistant ",
    "assoc": "associate ",
    "lt": "lieutenant ",
    "col": "colonel ",
    "jr": "junior ",
    "sr": "senior ",
    "esq": "esquire ",
}
_ENDINGS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"'d been\b", " had been"),
        (r"'s been\b", " has been"),
        (r"'d gone\b", " had gone"),
        (r"'s gone\b", " has gone"),
        (r"'d done\b", " had done"),
        (r"'s got\b", " has got"),
        (r"n't\b", " not"),
        (r"'re\b", " are"),
        # Elsewhere 's is more often a possessive, which must not become "is".
        (r"\b(it|he|she|what|that|who|here|there|how|when|where|why|this)'s\b", r"\1 is"),
        (r"'d\b", " would"),
        (r"'ll\b", " will"),
        (r"'t\b", " not"),
        (r"'ve\b", " have"),
        (r"'m\b", " am"),
    )
]
_COMPOUNDS = {
    "et cetera": "etc",
    "all right": "alright",
    "al right": "alright",
    "how ever": "however",
    "wi fi": "wifi",
    "hi fi": "hifi",
    "lo fi": "lofi",
    "sci fi": "scifi",
    "e mail": "email",
    "e book": "ebook",
    "e commerce": "ecommerce",
    "x ray": "xray",
    "t shirt": "tshirt",
    "a m": "am",
    "p m": "pm",
    "o k": "okay",
}
_MORE_SPELLINGS = {
    "ok": "okay",
    "kay": "okay",
    "etcetera": "etc",
    # Misprints of the package's table ("archeology</span>", "pummel", "pummeled", "snowplow"), which the leaderboard's has not.
    "archaeology": "archeology",
    "pummelled": "pummeled",
    "pummelling": "pummeling",
    "snowploughs": "snowplows",
}


def _one_of(words: dict[str, str]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in words) + r")\b")


_SHORT_FORM = _one_of(_SHORT_FORMS)
_WORD = _one_of(_WORDS)
_COMPOUND = _one_of(_COMPOUNDS)

_DIGIT_COMMA = re.compile(r"(\d),(\d)")
_PERIOD_NOT_BEFORE_DIGIT = re.compile(r"\.([^0-9]|$)")
_STRAY_PREFIX = re.compile(r"[.$¢€£]([^0-9])")
_STRAY_PERCENT = re.compile(r"([^0-9])%")

# Letters that NFKD does not take apart (Whisper's table).
_LETTERS = {
    "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ß": "ss", "ẞ": "SS", "đ": "d", "Đ": "D",
    "ð": "d", "Ð": "D", "þ": "th", "Þ": "th", "ł": "l", "Ł": "L",
}  # fmt: skip
_KEPT_SYMBOLS = ".%$¢€£"


class _AsciiLetters(dict[int, str]):
    """Fills itself: per character what stands for it once diacritics, symbols and punctuation are gone."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if character in _KEPT_SYMBOLS:
            replacement = character
        elif character in _LETTERS:
            replacement = _LETTERS[character]
        elif category == "Mn":
            replacement = ""
        else:
            replacement = " " if category[0] in "MSP" else character
        self[code] = replacement
        return replacement


_ASCII_LETTERS = _AsciiLetters()


def leaderboard_english(text: str) -> str:
    """English text as the leaderboard of August 2026 compares it. The sixteen steps are numbered as in docs/evaluation.md."""
    text = text.lower()  # 1
    text = without_brackets(text)  # 2, 3
    return _strip_stray(join_letters(fold_names(_words_and_numbers(text))))


def without_brackets(text: str) -> str:
    """Text without `<...>`, `[...]` and then `(...)`; what is opened and never closed stays."""
    text = without_spans(text)
    end = text.rfind(")") + 1
    return _PARENTHESES.sub("", text[:end]) + text[end:]


def without_spans(text: str) -> str:
    """Text without `<...>` and `[...]`.

    Nothing behind the last closing bracket is looked at: there each opening one would be followed to the end in vain, and
    100,000 of them would take a minute.
    """
    end = max(text.rfind(">"), text.rfind("]")) + 1
    return _SPANS.sub("", text[:end]) + text[end:]


def our_english(text: str) -> str:
    """English text by our rules: the leaderboard's, but curly apostrophes count as straight ones, words in brackets stay,
    and different given names stay different."""
    text = unicodedata.normalize("NFKC", text).lower().translate(STRAIGHT_APOSTROPHES)
    return _strip_stray(join_letters(_words_and_numbers(text)))


@functools.cache
def given_names() -> dict[str, str]:
    """Variant -> the spelling kept, of given names said alike; read from assets/given_names.txt the first time."""
    lines = files("qasr_train").joinpath("assets/given_names.txt").read_text(encoding="utf-8").splitlines()
    groups = [line.split() for line in lines if not line.startswith("#")]
    return {variant: kept for kept, *variants in groups for variant in variants}


STRAIGHT_APOSTROPHES = str.maketrans("’‘ʼ`´＇", "''''''")


def _words_and_numbers(text: str) -> str:
    """Steps 4 to 12."""
    text = spelt_out(text)
    text = without_digit_commas(text)  # 7
    text = plain_letters(text)
    return american(numbers_to_digits(text, _numbers()))  # 11


def without_digit_commas(text: str) -> str:
    """Step 7: "1,234" as "1234"."""
    return _DIGIT_COMMA.sub(r"\1\2", text)


def spelt_out(text: str) -> str:
    """Steps 4 to 6: lower-case text without fillers, contractions and titles in full."""
    return in_full(_FILLERS.sub("", text))  # 4


def in_full(text: str) -> str:
    """Steps 5 and 6: contractions and titles of lower-case text in full."""
    has_apostrophe = "'" in text
    if has_apostrophe:
        text = _SPACE_BEFORE_APOSTROPHE.sub("'", text)  # 5
        text = _SHORT_FORM.sub(lambda match: _SHORT_FORMS[match[0]], text)  # 6
    text = _WORD.sub(lambda match: _WORDS[match[0]], text)
    if has_apostrophe:
        for pattern, replacement in _ENDINGS:
            text = pattern.sub(replacement, text)
    return text


def plain_letters(text: str) -> str:
    """Steps 8 to 10: periods at a word's end, diacritics, punctuation go (. % $ and the like stay); `wi fi` is `wifi`."""
    return without_symbols(_PERIOD_NOT_BEFORE_DIGIT.sub(r" \1", text))  # 8


def without_symbols(text: str) -> str:
    """Steps 9 and 10: diacritics and punctuation go (. % $ and the like stay); `wi fi` is `wifi`."""
    text = unicodedata.normalize("NFKD", text).translate(_ASCII_LETTERS)  # 9
    return _COMPOUND.sub(lambda match: _COMPOUNDS[" ".join(match[0].split())], text)  # 10


def american(words: list[str]) -> str:
    """Step 12: the words in American spelling."""
    spellings = _spellings()
    return " ".join(spellings.get(word, word) for word in words)


def numbers_to_digits(text: str, read_numbers: EnglishNumberNormalizer) -> list[str]:
    """Step 11, words: skips Whisper's slow word loop where no word and no digit could be changed by it."""
    words = text.split()
    number_words = _number_words()
    if not any(word in number_words or not word.isalpha() for word in words) and "half" not in words:
        return words
    try:
        return read_numbers(text).split()
    except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError):
        # Whisper's code asserts that digits make a number; a run of more than 4300 digits (a model in a loop) does not in Python.
        return words


def fold_names(text: str) -> str:
    """Step 13: one spelling for given names said alike."""
    names = given_names()
    return " ".join(names.get(word, word) for word in text.split())


def join_letters(text: str) -> str:  # 14
    """ "b b c" -> "bbc", "5 g" -> "5g"; a run that holds the words "a" or "i" is joined from three on."""
    words = text.split()
    joined: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        if len(word) == 1 and word.isalnum():
            run.append(word)
            continue
        if run:
            is_acronym = len(run) >= (3 if "a" in run or "i" in run else 2)
            joined.extend(["".join(run)] if is_acronym else run)
            run = []
        joined.append(word)
    return " ".join(joined[:-1])


def _strip_stray(text: str) -> str:
    text = _STRAY_PREFIX.sub(r" \1", text)  # 15
    text = _STRAY_PERCENT.sub(r"\1 ", text)
    return " ".join(text.split())  # 16


@functools.cache
def _numbers() -> EnglishNumberNormalizer:
    return EnglishNumberNormalizer()


@functools.cache
def _number_words() -> frozenset[str]:
    # "and" alone changes nothing; with a number before or after it, that number is seen anyway.
    return frozenset(_numbers().words - {"and"})


@functools.cache
def _spellings() -> dict[str, str]:
    table = files("whisper_normalizer").joinpath("normalizers/english.json")
    return json.loads(table.read_text(encoding="utf-8")) | _MORE_SPELLINGS
