"""Owns the rules of `leaderboard-2026-11` outside English and Mandarin: those of August, but combining marks stay.

Input: a raw transcript and the ISO code of its language, or None. Output: words apart by single spaces. Source: the stored
normalizer/normalizer.py (32,167 characters) and normalizer/data_utils.py at d394be4 of huggingface/open_asr_leaderboard.
"""

import unicodedata

from qasr_train.text.english import without_brackets
from qasr_train.text.multilingual import leaderboard_numbers

_JOINERS = "\u200c\u200d"  # word characters to the package `regex`, by which the leaderboard asks


class WordCharacters(dict[int, str]):
    """Fills itself: symbols and punctuation become a space; letters, marks, digits, white space stay; `others` for the rest."""

    def __init__(self, others: str) -> None:
        super().__init__()
        self._others = others

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] in "SP":
            self[code] = " "
        else:
            is_kept = category[0] in "LM" or category in ("Nd", "Nl") or character.isspace() or character in _JOINERS
            self[code] = character if is_kept else self._others
        return self[code]


_WORD_CHARACTERS = WordCharacters(others="")


def multilingual_2026_11(text: str, code: str | None) -> str:
    """Text as the leaderboard compares it outside English and Mandarin after August 2026; official for de fr es it pt nl.

    Devanagari, Thai and vocalised Arabic stay whole: combining marks are kept.
    """
    text = unicodedata.normalize("NFKC", without_brackets(text.lower()))
    text = " ".join(text.translate(_WORD_CHARACTERS).lower().split())
    return text if code is None else leaderboard_numbers(text, code)
