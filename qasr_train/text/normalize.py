"""Owns the table of normalisers: name (with its version) -> the rules under which two transcripts are compared.

Input: raw reference and hypothesis, and the reference's language. Output: what of them is aligned; whether the row counts.
To add one: write a function `(text, language) -> text` and a line in NORMALIZERS. A changed rule gets a new name.
"""

from collections.abc import Callable
from dataclasses import dataclass

from qasr_train.errors import ConfigError
from qasr_train.text.english import leaderboard_english, our_english
from qasr_train.text.english_2 import english_2
from qasr_train.text.leaderboard.english import english_2026_11
from qasr_train.text.leaderboard.hindi import hindi_2026_11
from qasr_train.text.leaderboard.mandarin import mandarin_2026_11, require_libraries
from qasr_train.text.leaderboard.multilingual import multilingual_2026_11
from qasr_train.text.multilingual import (
    join_compounds,
    language_code,
    leaderboard_multilingual,
    our_multilingual,
)
from qasr_train.text.qasr_2 import qasr_2

LEADERBOARD = "leaderboard-2026-08"
LEADERBOARD_2026_11 = "leaderboard-2026-11"
DEFAULT_NORMALIZER = "qasr-2"  # where nothing says how a run was, or is to be, scored
_IGNORED_REFERENCE = "ignore time segment in scoring"


def _leaderboard(text: str, language: str | None) -> str:
    code = language_code(language)
    return leaderboard_english(text) if code == "en" else leaderboard_multilingual(text, code)


def _leaderboard_pair(reference: str, hypothesis: str, language: str | None) -> tuple[str, str]:
    return (reference, hypothesis) if language_code(language) == "en" else join_compounds(reference, hypothesis)


def _leaderboard_2026_11(text: str, language: str | None) -> str:
    code = language_code(language)
    if code == "en":
        return english_2026_11(text)
    if code == "hi":
        return hindi_2026_11(text)
    return mandarin_2026_11(text) if code == "zh" else multilingual_2026_11(text, code)


def _leaderboard_2026_11_pair(reference: str, hypothesis: str, language: str | None) -> tuple[str, str]:
    """Mandarin is compared character by character, where it does not count how words are joined; OIWER joins none."""
    joins = language_code(language) not in ("en", "zh", "hi")
    return join_compounds(reference, hypothesis) if joins else (reference, hypothesis)


def _leaderboard_keeps(reference: str, normalized: str, language: str | None) -> bool:
    """English is tested after normalising, other languages before."""
    tested = (normalized if language_code(language) == "en" else reference).strip()
    return tested not in ("", _IGNORED_REFERENCE)


def _merged_by_leaderboard(language: str | None) -> bool:
    return True


def _merged_by_leaderboard_2026_11(language: str | None) -> bool:
    """Hindi is scored by OIWER, to which a compound is two words."""
    return language_code(language) != "hi"


def _leaderboard_2026_11_requires(language: str | None) -> None:
    if language_code(language) == "zh":
        require_libraries()


def _ours(text: str, language: str | None) -> str:
    code = language_code(language)
    return our_english(text) if code == "en" else our_multilingual(text, code)


def _ours_2(text: str, language: str | None) -> str:
    code = language_code(language)
    return english_2(text) if code == "en" else qasr_2(text, code)


def _unchanged(text: str, language: str | None) -> str:
    return text


def _same_pair(reference: str, hypothesis: str, language: str | None) -> tuple[str, str]:
    return reference, hypothesis


def _requires_nothing(language: str | None) -> None:
    pass


def _merges_none(language: str | None) -> bool:
    return False


def _keeps_all(reference: str, normalized: str, language: str | None) -> bool:
    return True


@dataclass(frozen=True)
class Normalizer:
    """Rules of comparison.

    name: with its version; stored in every score.
    normalize: (text, language) -> words apart by white space.
    join: (normalised reference, normalised hypothesis, language) -> both again, once each has seen the other.
    keeps: (raw reference, normalised reference, language) -> False where the row is left out of every total.
    requires: refuses (ConfigError) a language whose rules need a package that is not installed.
    merges_compounds: (language) -> whether "white paper" against "whitepaper" costs nothing, whichever side joins them.
    """

    name: str
    normalize: Callable[[str, str | None], str]
    join: Callable[[str, str, str | None], tuple[str, str]] = _same_pair
    keeps: Callable[[str, str, str | None], bool] = _keeps_all
    requires: Callable[[str | None], None] = _requires_nothing
    merges_compounds: Callable[[str | None], bool] = _merges_none


NORMALIZERS = {
    normalizer.name: normalizer
    for normalizer in (
        # The Open ASR Leaderboard of August 2026: for figures to stand beside published ones. English, de fr es it pt.
        Normalizer(
            LEADERBOARD, _leaderboard, _leaderboard_pair, _leaderboard_keeps, merges_compounds=_merged_by_leaderboard
        ),
        # The same after August 2026, from stored code that is partly of branches. English, de fr es it pt nl,
        # Mandarin by CER, Hindi by OIWER.
        Normalizer(
            LEADERBOARD_2026_11,
            _leaderboard_2026_11,
            _leaderboard_2026_11_pair,
            _leaderboard_keeps,
            _leaderboard_2026_11_requires,
            merges_compounds=_merged_by_leaderboard_2026_11,
        ),
        # Ours, for all thirty languages of Qwen3-ASR: the default until qasr-2, kept for figures that were made by it.
        Normalizer("qasr-1", _ours),
        # Ours, with numbers, signs and spellings mended where qasr-1 punishes right words.
        Normalizer("qasr-2", _ours_2),
        # The texts as they are: case, punctuation and digits count.
        Normalizer("none", _unchanged),
    )
}


def get_normalizer(name: str, key: str = "normalizer") -> Normalizer:
    """The normaliser of that name; key: the setting that names it, for the message.

    Raises:
        ConfigError: no such name; lists the choices.
    """
    if name not in NORMALIZERS:
        raise ConfigError(f"{key}={name}: unknown; choose one of {', '.join(NORMALIZERS)}")
    return NORMALIZERS[name]
