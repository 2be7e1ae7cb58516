"""Sentences: everyday ones in four languages (seen or held out), words that do not exist, and medical dictations.

In: a language and a seeded generator.  Out: lower-case text without punctuation.
Held out is a property of the text itself (a hash), so the base model's training and every later script agree about it.
"""

import random
import zlib
from collections.abc import Callable

from scripts.demo.vocabulary import DIGITS, KINDS, LANGUAGES, LATINATE_PREFIXES, LATINATE_SUFFIXES, SYLLABLES, TEMPLATES

_HELD_OUT_ONE_IN = 12
_MAX_DRAWS = 10_000


def is_held_out(text: str) -> bool:
    """True for the one sentence in twelve that no training of the base model has seen.  Single words never are."""
    return " " in text and zlib.crc32(text.encode()) % _HELD_OUT_ONE_IN == 0


def draw_sentence(language: str, rng: random.Random, held_out: bool) -> str:
    """A template sentence of `language` that is (or is not) held out."""
    for _ in range(_MAX_DRAWS):
        text = _fill(rng.choice(TEMPLATES[language]), {**KINDS[language], "digit": DIGITS[language]}, rng)
        if is_held_out(text) == held_out:
            return text
    raise AssertionError(f"no {language} sentence with held_out={held_out} in {_MAX_DRAWS} draws")


def draw_words(language: str, num_words: int, rng: random.Random) -> str:
    """`num_words` real words in random order, never a held-out sequence."""
    return _draw_seen(lambda: " ".join(rng.choice(all_words(language)) for _ in range(num_words)))


def draw_digits(language: str, num_digits: int, rng: random.Random) -> str:
    """A sequence of spoken digits, never a held-out one."""
    return _draw_seen(lambda: " ".join(rng.choice(DIGITS[language]) for _ in range(num_digits)))


def draw_pseudo_words(language: str, num_words: int, rng: random.Random) -> str:
    """Words that do not exist, one in four a real one: they make the model listen instead of guessing from context."""

    def draw() -> str:
        words = [
            rng.choice(all_words(language)) if rng.random() < 0.25 else _pseudo_word(language, rng)
            for _ in range(num_words)
        ]
        return " ".join(words)

    return _draw_seen(draw)


def all_words(language: str) -> list[str]:
    """Every word type of `language` once, in a fixed order."""
    if language not in _WORDS:
        raise ValueError(f"no vocabulary for language {language!r}: choose from {', '.join(LANGUAGES)}")
    return _WORDS[language]


def _collect_words(language: str) -> list[str]:
    phrases = [phrase for phrases in KINDS[language].values() for phrase in phrases]
    plain_templates = [word for template in TEMPLATES[language] for word in template.split() if "{" not in word]
    words = [word for phrase in phrases for word in phrase.split()]
    return sorted(set(words) | set(plain_templates) | set(DIGITS[language]))


def _pseudo_word(language: str, rng: random.Random) -> str:
    onsets, nuclei, codas = SYLLABLES[language]
    num_syllables = rng.choices((1, 2, 3, 4), (20, 45, 28, 7))[0]
    word = "".join(rng.choice(onsets) + rng.choice(nuclei) + rng.choice(codas) for _ in range(num_syllables))
    if language != "English":
        return word
    if rng.random() < 0.25:
        word = rng.choice(LATINATE_PREFIXES) + word
    if rng.random() < 0.4:
        word += rng.choice(LATINATE_SUFFIXES)
    return word


def _draw_seen(draw: Callable[[], str]) -> str:
    for _ in range(_MAX_DRAWS):
        text = draw()
        if not is_held_out(text):
            return text
    raise AssertionError(f"only held-out texts in {_MAX_DRAWS} draws")


def _fill(template: str, kinds: dict[str, list[str]], rng: random.Random) -> str:
    words = []
    for piece in template.split():
        words.append(rng.choice(kinds[piece[1:-1]]) if piece.startswith("{") else piece)
    return " ".join(words)


_WORDS = {language: _collect_words(language) for language in LANGUAGES}
