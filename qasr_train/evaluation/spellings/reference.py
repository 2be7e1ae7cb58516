"""Owns the reading of a reference as slots of right spellings, by its own notation and by a lexicon, and the one path taken.

Input: a raw reference, a normaliser, a lexicon or None. Output: `PathTaken`, the normalised reference that the hypothesis is held
against, and the spelling taken in each place where there are several.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.evaluation.scoring.utterance import TakenSpelling
from qasr_train.evaluation.spellings.lattice import best_spellings
from qasr_train.text.alternatives.lexicon import SpellingLexicon
from qasr_train.text.alternatives.notation import (
    MAX_VARIANTS,
    Slot,
    first_spelling,
    has_alternatives,
    parse_alternatives,
)
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import Normalizer
from qasr_train.text.terms import TermFinder
from qasr_train.text.tokens import tokens


@dataclass(frozen=True, slots=True)
class PathTaken:
    """A reference with several spellings, as the hypothesis is held against it: normalised, and which spellings were taken."""

    text: str
    spellings: tuple[TakenSpelling, ...]


class References:
    """Reads references by one normaliser and one lexicon.

    Spellings are chosen with each of them, and each stretch between them, normalised on its own, and before compounds are joined
    (`Normalizer.join`, `merges_compounds`); what is counted is the reference with the chosen ones, normalised as a whole.
    """

    def __init__(self, normalizer: Normalizer, lexicon: SpellingLexicon | None = None) -> None:
        self._normalizer = normalizer
        self._lexicon = lexicon
        self._known: dict[str | None, _LanguageSpellings] = {}

    def path_taken(self, reference: str, hypothesis: str, language: str | None) -> PathTaken:
        """The path of a reference that a hypothesis takes; of a reference with one spelling itself, normalised.

        Args:
            reference: as it stands. hypothesis: normalised.

        Raises:
            DataError: alternatives that are not closed, or too many.
        """
        slots = parse_alternatives(reference)
        taken: list[TakenSpelling] = []
        if any(len(slot) > 1 for slot in slots):
            reference, taken = self._written_out(slots, hypothesis, language)
        elif has_alternatives(reference):
            reference = first_spelling(reference)
        text = self._normalizer.normalize(reference, language)
        if self._lexicon is not None:
            split = self._equal(language).split(text)
            chosen = _chosen(split, hypothesis, language)
            taken += [TakenSpelling(one, slot) for one, slot in zip(chosen, split, strict=True) if len(slot) > 1]
            text = _joined(chosen) if len(split) > 1 or chosen != [text] else text
        return PathTaken(text, tuple(taken))

    def _written_out(
        self, slots: Sequence[Slot], hypothesis: str, language: str | None
    ) -> tuple[str, list[TakenSpelling]]:
        """The reference with a spelling in every place, as it stands there, and which they are."""
        equal = self._equal(language)
        taken = []
        texts: list[str] = []
        # What each slot may read, normalised, also by the lexicon; the last one stands for itself.
        readings = [self._readings(slot, equal, language) for slot in slots]
        flat = [tuple(text for text, _ in one) for stretch in readings for one in stretch]
        chosen = iter(_chosen(flat, hypothesis, language))
        for slot, stretch in zip(slots, readings, strict=True):
            found = [dict(one)[next(chosen)] for one in stretch]
            if len(slot) == 1:
                texts.append(slot[0])
                continue
            normal = [self._normalizer.normalize(text, language) for text in slot]
            texts.append(slot[found[0]])
            if len(set(normal)) > 1:
                taken.append(TakenSpelling(normal[found[0]], tuple(dict.fromkeys(normal))))
        return _joined(texts), taken

    def _readings(self, slot: Slot, equal: "_LanguageSpellings", language: str | None) -> list[list[tuple[str, int]]]:
        """Of a slot the places it falls into, and in each what may be read there with the number of the spelling it is of."""
        normal = [self._normalizer.normalize(text, language) for text in slot]
        if len(slot) == 1:
            return [[(text, 0) for text in place] for place in equal.split(normal[0])]
        first: dict[str, int] = {}
        for number, text in enumerate(normal):
            for reading in equal.written_out(text):
                first.setdefault(reading, number)
        return [list(first.items())]

    def _equal(self, language: str | None) -> "_LanguageSpellings":
        if language not in self._known:
            self._known[language] = _LanguageSpellings(self._lexicon, self._normalizer, language)
        return self._known[language]


def _chosen(slots: Sequence[Slot], hypothesis: str, language: str | None) -> list[str]:
    sequences = [[tokens(text, language) for text in slot] for slot in slots]
    numbers = (
        best_spellings(sequences, tokens(hypothesis, language)) if any(len(s) > 1 for s in slots) else [0] * len(slots)
    )
    return [slot[number] for slot, number in zip(slots, numbers, strict=True)]


def _joined(texts: Sequence[str]) -> str:
    return " ".join(text for text in texts if text)


class _LanguageSpellings:
    """The groups of a lexicon in one language, normalised; of no lexicon none."""

    def __init__(self, lexicon: SpellingLexicon | None, normalizer: Normalizer, language: str | None) -> None:
        self._language = language
        self._separator = "" if language in CER_LANGUAGES else " "
        groups = lexicon.of_language(language) if lexicon else []
        self._finder = TermFinder(
            [(spelling, str(number)) for number, group in enumerate(groups) for spelling in group], normalizer, language
        )
        self._spellings = [
            tuple(dict.fromkeys(text for spelling in group if (text := normalizer.normalize(spelling, language))))
            for group in groups
        ]

    def written_out(self, text: str) -> list[str]:
        """A normalised text in every spelling, as it is first; as it is alone where there are too many."""
        slots = self.split(text)
        if math.prod(map(len, slots)) > MAX_VARIANTS:
            return [text]
        return [_joined(parts) for parts in itertools.product(*slots)]

    def split(self, text: str) -> list[Slot]:
        """A normalised text as slots: in each place of a group its spellings, as written first."""
        hits = self._finder.find(text)
        if not hits:
            return [(text,)]
        sequence = tokens(text, self._language)
        slots: list[Slot] = []
        place = 0
        for hit in hits:
            slots.append((self._separator.join(sequence[place : hit.start]),))
            as_written = self._separator.join(sequence[hit.start : hit.stop])
            slots.append(tuple(dict.fromkeys((as_written, *self._spellings[int(hit.term)]))))
            place = hit.stop
        return [slot for slot in [*slots, (self._separator.join(sequence[place:]),)] if slot != ("",)]
