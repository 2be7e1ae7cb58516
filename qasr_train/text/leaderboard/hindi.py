"""Owns the rules of `leaderboard-2026-11` for Hindi: those of voi-oiwer 0.1.4, by which the leaderboard scores it.

Input: a raw transcript, or one spelling of a lattice. Output: words apart by single spaces. Source: voi_oiwer/_normalize.py (MIT)
and what it asks of indic-nlp-library 0.92 for Devanagari; one spelling of a place is held against the hypothesis by OIWER.
"""

import re
import string
import unicodedata

_DROPPED = "‘ʼ\u200b\u200c\u200d´,\u200e\u200f“”"
_SPACED = "॥।۔–’°¬ۭ۪‑—"
# The order matters: "," is dropped, all other punctuation but "%" is a space.
_REFINED = str.maketrans(
    dict.fromkeys(string.punctuation, " ") | dict.fromkeys(_SPACED, " ") | dict.fromkeys(_DROPPED, "") | {"%": "%"}
)
# What is left for indic-nlp-library to change.
_INDIC = str.maketrans(
    {"\ufeff": "", "\ufffe": "", "\u2060": "", "\u00ad": "", "\u00a0": " ", "„": '"', "‚": "'", "…": "...", "ॲ": "ए"}
)
_NUKTA_LETTERS = "\u0929\u0931\u0934\u0958\u0959\u095a\u095b\u095c\u095d\u095e\u095f"
_DECOMPOSED = str.maketrans({letter: unicodedata.normalize("NFD", letter) for letter in _NUKTA_LETTERS})
_SPACES = re.compile("[ \t]+")


def hindi_2026_11(text: str) -> str:
    """Text as voi-oiwer compares it: punctuation but `%` goes, letters with a nukta are two characters, lower case."""
    text = text.translate(_REFINED).translate(_INDIC).replace("''", '"').translate(_DECOMPOSED)
    return " ".join(_SPACES.sub(" ", text).lower().split())
