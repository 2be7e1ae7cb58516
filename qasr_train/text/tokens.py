"""Owns what a normalised text is made of: the words or characters that are aligned, loops of them, the scripts of its letters.

Input: a text and its language. Output: its tokens; names of scripts.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from qasr_train.text.languages import CER_LANGUAGES

_ONE_SCRIPT = dict.fromkeys(("IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"), "CJK")  # mixed in Japanese
# A loop: a unit of at most 20 tokens that stands 4 times or more in a row and so covers 8 tokens or more.
_MAX_LOOP_UNIT = 20
_MIN_LOOP_REPEATS = 4
_MIN_LOOP_TOKENS = 8


def tokens(text: str, language: str | None) -> list[str]:
    """What the primary metric of a language counts: characters in languages written without spaces, words in others."""
    return list(text.replace(" ", "")) if language in CER_LANGUAGES else text.split()


def has_loop(sequence: Sequence[str]) -> bool:
    """Whether tokens repeat themselves: a unit of up to 20 that stands 4 times or more in a row, over 8 tokens or more."""
    num_repeated = len(sequence) - len(set(sequence))
    if num_repeated < _MIN_LOOP_TOKENS * (_MIN_LOOP_REPEATS - 1) // _MIN_LOOP_REPEATS:
        return False
    for period in range(1, min(_MAX_LOOP_UNIT, len(sequence) // _MIN_LOOP_REPEATS) + 1):
        needed = max(_MIN_LOOP_REPEATS * period, _MIN_LOOP_TOKENS) - period
        same = "".join("1" if a == b else "0" for a, b in zip(sequence, sequence[period:], strict=False))
        if re.search("1" * needed, same):
            return True
    return False


# Scripts of which each character is a token where two languages meet: those of CER_LANGUAGES, and others without spaces.
_BY_CHARACTER = frozenset({"CJK", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"})
NO_SCRIPT = "none"  # of a token without letters: a number, a sign


def mixed_tokens(text: str) -> list[str]:
    """What MER counts: characters of scripts written without spaces (Hangul too), words of others; "打开 wifi" is three."""
    found: list[str] = []
    for word in text.split():
        place = len(found)
        for character in word:
            if script_family(character) in _BY_CHARACTER:
                found.append(character)
                place = len(found)
            elif place < len(found):
                found[-1] += character
            else:
                found.append(character)
    return found


def script_of_token(token: str) -> str:
    """The script of a token's first letter, Chinese characters and kana as one ("CJK"); NO_SCRIPT of a token without letters."""
    families = [script_family(one) for one in token if one.isalpha() or unicodedata.category(one) in ("Mn", "Mc")]
    return families[0] if families else NO_SCRIPT


@cache
def script_of(character: str) -> str:
    """The first word of its Unicode name, which names the script of a letter: "LATIN", "CYRILLIC", "CJK" ...; "?": no name."""
    return unicodedata.name(character, "?").split(" ")[0]


def is_in_other_script(text: str, than: str) -> bool:
    """Whether more than half of the letters of `text` are of scripts in which `than`, which has letters, has none.

    Chinese characters and kana count as one script, since Japanese mixes them.
    """
    known = {script_family(character) for character in set(than) if character.isalpha()}
    families = [script_family(character) for character in text if character.isalpha()]
    return bool(known) and 2 * sum(family not in known for family in families) > len(families)


def script_family(letter: str) -> str:
    """The script of a letter; Chinese characters and kana are one."""
    script = script_of(letter)
    return _ONE_SCRIPT.get(script, script)
