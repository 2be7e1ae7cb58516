"""Owns what the words of an aligner are: a transcript cut into units, each of which gets its times.

Input: text and its language. Output: `Unit`s: what is shown, punctuation with it, and what the model is given. The rules are
those of the published model (qwen-asr; transformers' `split_words_for_alignment`): Chinese characters one by one, Japanese by
nagisa, Korean by soynlp, everything else by spaces; letters, numbers and apostrophes are kept. Imports no torch.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from qasr_train.errors import ConfigError

# First and last code point of the blocks of Chinese characters, which stand for a unit each.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


@dataclass(frozen=True, slots=True)
class Unit:
    """shown: as the transcript has it, with punctuation around it. spoken: what of it the model is given."""

    shown: str
    spoken: str


def split_units(text: str, language: str | None) -> list[Unit]:
    """The units of a transcript in order; what stands alone and is not spoken (a dash) goes with the one before it.

    Raises:
        ConfigError: Japanese or Korean, and the package that cuts it is not installed.
    """
    units: list[Unit] = []
    leading = ""
    for piece in _pieces(text.strip(), (language or "").lower()):
        spoken = spoken_letters(piece)
        if spoken:
            units.append(Unit(leading + piece, spoken))
            leading = ""
        elif units:
            last = units[-1]
            units[-1] = Unit(last.shown + piece, last.spoken)
        else:
            leading += piece
    return [Unit(unit.shown.strip(), unit.spoken) for unit in units]


def spoken_letters(word: str) -> str:
    """What of a word the model is given."""
    return "".join(filter(_is_spoken, word))


def _pieces(text: str, language: str) -> Iterator[str]:
    """The text in pieces that make it up again, but for blanks: each holds one unit at most."""
    if language == "japanese":
        return iter(_japanese(text))
    if language == "korean":
        return iter(_korean(text))
    return _by_spaces(text)


def _by_spaces(text: str) -> Iterator[str]:
    for chunk in text.split():
        begin = 0
        for place, letter in enumerate(chunk):
            if not _is_ideograph(letter):
                continue
            if place > begin:
                yield chunk[begin:place]
            yield letter
            begin = place + 1
        if begin < len(chunk):
            yield chunk[begin:]


def _japanese(text: str) -> list[str]:
    try:
        import nagisa
    except ImportError:
        raise ConfigError("Japanese is cut into words by the package nagisa: pip install nagisa") from None
    return list(nagisa.tagging(text).words)


def _korean(text: str) -> list[str]:
    try:
        from soynlp.tokenizer import LTokenizer
    except ImportError:
        raise ConfigError("Korean is cut into words by the package soynlp: pip install soynlp") from None
    return list(LTokenizer().tokenize(text))


def _is_ideograph(letter: str) -> bool:
    code = ord(letter)
    return any(first <= code <= last for first, last in _IDEOGRAPHS)


def _is_spoken(letter: str) -> bool:
    return letter == "'" or unicodedata.category(letter)[0] in "LN"
