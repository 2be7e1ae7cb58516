"""Owns what a normalised text is made of: the words or characters that are aligned, and the scripts of its letters.

Input: a text and its language. Output: its tokens; names of scripts.
"""

import unicodedata
from functools import cache

from qasr_train.text.languages import CER_LANGUAGES

_ONE_SCRIPT = dict.fromkeys(("IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"), "CJK")  # mixed in Japanese


def tokens(text: str, language: str | None) -> list[str]:
    """What the primary metric of a language counts: characters in languages written without spaces, words in others."""
    return list(text.replace(" ", "")) if language in CER_LANGUAGES else text.split()


@cache
def script_of(character: str) -> str:
    """The first word of its Unicode name, which names the script of a letter: "LATIN", "CYRILLIC", "CJK" ...; "?": no name."""
    return unicodedata.name(character, "?").split(" ")[0]


def is_in_other_script(text: str, than: str) -> bool:
    """Whether more than half of the letters of `text` are of scripts in which `than`, which has letters, has none.

    Chinese characters and kana count as one script, since Japanese mixes them.
    """
    known = {_family(character) for character in set(than) if character.isalpha()}
    families = [_family(character) for character in text if character.isalpha()]
    return bool(known) and 2 * sum(family not in known for family in families) > len(families)


def _family(letter: str) -> str:
    script = script_of(letter)
    return _ONE_SCRIPT.get(script, script)
