"""Owns what texts come down to under the rules of a run: normalised, their errors counted, their terms found; each once.

Input: `Asked` and `Hypothesis`. Output: `Judge`, which the rewards ask. A clip has a group of hypotheses and every hypothesis
several rewards, so what was worked out for one is kept for the next.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import kaldialign
from rapidfuzz.distance import LCSseq, Levenshtein

from qasr_train.rewards.base import Asked, Hypothesis
from qasr_train.rewards.settings import RewardRules
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import TermFinder
from qasr_train.text.tokens import has_loop, tokens

_KEPT = 4096  # texts whose normal form is remembered: some hundred groups of a step, with room


@dataclass(frozen=True, slots=True)
class Compared:
    """A reference and a hypothesis side by side, in the tokens of the language: words, or characters where it has no spaces.

    is_kept: the reference holds tokens, and the normaliser does not leave the row out. num_errors: of words, or of
    characters; num_expected: the reference's; num_written: the hypothesis's. num_kept: the longest sequence of tokens that
    both hold in the same order. character_error_rate: share of the reference's characters, spaces between words counted.
    has_loop: the hypothesis repeats itself as the reference does not.
    """

    is_kept: bool
    num_errors: int
    num_expected: int
    num_written: int
    num_kept: int
    character_error_rate: float
    has_loop: bool

    @property
    def error_rate(self) -> float | None:
        """Errors by reference length, 1 is 100 %; None where the reference is left out."""
        return self.num_errors / self.num_expected if self.is_kept else None


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of a row: in the reference, in the hypothesis, and the smaller of both, term by term."""

    num_spoken: int
    num_written: int
    num_found: int


class Judge:
    """Compares by one normaliser, as the evaluation does, and finds terms by the same rules.

    gate_error_rate, style: see `RewardRules`.
    """

    def __init__(self, rules: RewardRules, spellings: Mapping[str, str] | None = None) -> None:
        """spellings: of the term list that `rules.terms` names, each the spelling of a term; None: there is none."""
        self.gate_error_rate, self.style = rules.gate_error_rate, rules.style
        self._normalizer = normalizer = get_normalizer(rules.normalizer)
        self._spellings = dict(spellings or {})
        self._normalized: Callable[[str, str | None], str] = lru_cache(_KEPT)(normalizer.normalize)
        self._compared = lru_cache(_KEPT)(self._compare)
        self._finder = lru_cache(256)(self._make_finder)
        self._found = lru_cache(_KEPT)(self._find)

    def normalized(self, text: str, language: str | None) -> str:
        """A text by the rules of the normaliser."""
        return self._normalized(text, language)

    def compared(self, asked: Asked, hypothesis: Hypothesis) -> Compared:
        """The two texts side by side, by the language of the reference."""
        return self._compared(asked.reference, hypothesis.text, asked.language)

    def terms(self, asked: Asked, hypothesis: Hypothesis) -> Terms | None:
        """The terms of the row, or of the list where the row has none; None where there are neither."""
        if not (asked.terms or self._spellings):
            return None
        spoken, written = (
            self._found(text, asked.terms, asked.language) for text in (asked.reference, hypothesis.text)
        )
        return Terms(spoken.total(), written.total(), (spoken & written).total())

    def _find(self, text: str, terms: tuple[str, ...], language: str | None) -> Counter[str]:
        finder = self._finder(terms, language)
        return Counter(hit.term for hit in finder.find(self.normalized(text, language)))

    def _make_finder(self, terms: tuple[str, ...], language: str | None) -> TermFinder:
        spellings = [(term, term) for term in terms] or list(self._spellings.items())
        return TermFinder(spellings, self._normalizer, language)

    def _compare(self, reference: str, hypothesis: str, language: str | None) -> Compared:
        rules = self._normalizer
        expected = self.normalized(reference, language)
        ours, theirs = rules.join(expected, self.normalized(hypothesis, language), language)
        said, heard = (tokens(" ".join(text.split()), language) for text in (ours, theirs))
        separator = "" if language in CER_LANGUAGES else " "
        characters = separator.join(said)
        num_character_errors = Levenshtein.distance(characters, separator.join(heard))
        return Compared(
            is_kept=bool(said) and rules.keeps(reference, expected, language),
            num_errors=num_character_errors if language in CER_LANGUAGES else self._word_errors(said, heard, language),
            num_expected=len(said),
            num_written=len(heard),
            num_kept=LCSseq.similarity(said, heard),
            character_error_rate=num_character_errors / max(1, len(characters)),
            has_loop=has_loop(heard) and not has_loop(said),
        )

    def _word_errors(self, said: list[str], heard: list[str], language: str | None) -> int:
        if said == heard:
            return 0
        merges = self._normalizer.merges_compounds(language)
        return int(kaldialign.edit_distance(said, heard, merge_compounds=merges)["total"])
