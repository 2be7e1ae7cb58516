"""Owns how an output is written, held against its reference: errors of punctuation, capitals, numbers, units, fillers.

Input: a scored utterance. Output: `RowStyle`, (errors, places) of each trait and what was written otherwise. A place is where the
reference or the output shows the trait; an error where they differ there. What was misheard is no error of numbers, units or
capitals: those are held against words that are the same.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rapidfuzz.distance import Levenshtein

from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.scoring.word_pairs import word_pairs
from qasr_train.evaluation.style.settings import Trait
from qasr_train.evaluation.style.stretches import RULES, Stretch, stretches
from qasr_train.text.alternatives.notation import first_spelling
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import Normalizer
from qasr_train.text.style import FILLERS, MARKS, number_words, unit_words

_PART = re.compile(r"\d(?:[\d.,:/ ]*\d)?|[^\W\d_]+|[^\w\s]")
_INSIDE = re.compile(r"(?<=\w)[^\w\s]+(?=\w)")  # 10:30, e-mail, U.S: no punctuation
_INSIDE_NUMBER = re.compile(r"(?<=\d)[.,:](?=\d)")  # in languages without spaces
_DOTS = re.compile(r"\.{2,}")
_DIGIT = re.compile(r"\d")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What was written otherwise: of the reference and of the output; "" for nothing."""

    trait: Trait
    expected: str
    written: str


@dataclass(slots=True)
class RowStyle:
    """One utterance. counts: trait -> (errors, places). otherwise: the errors by themselves."""

    counts: dict[Trait, tuple[int, int]] = field(default_factory=dict)
    otherwise: list[Otherwise] = field(default_factory=list)

    def add(self, trait: Trait, expected: str, written: str) -> None:
        """One place, an error where both differ."""
        errors, places = self.counts.get(trait, (0, 0))
        is_error = expected != written
        self.counts[trait] = (errors + is_error, places + 1)
        if is_error:
            self.otherwise.append(Otherwise(trait, expected, written))


def row_style(row: UtteranceScore, normalizer: Normalizer) -> RowStyle | None:
    """How an utterance is written; None where it is not scored, failed, or is too long to align.

    Of alternatives in a reference the first spelling is how the house writes. normalizer: what the row was scored by.
    """
    text, language = row.prediction.text, row.prediction.language
    if not row.is_scored or not row.is_heard or not text:
        return None
    first, normalized = first_spelling(text), None
    if normalizer == RULES and first == text and not row.spellings:  # to normalise is most of the work
        normalized = row.counts.normalized_reference, row.counts.normalized_hypothesis
    found = stretches(first, row.prediction.pred_text, language, normalized)
    if found is None:
        return None
    style = RowStyle()
    for one in found:
        _punctuation(one, language, style)
        if one.is_same:
            _capitals(one, style)
            _numbers_and_units(one, language, style)
    _fillers(found, language, style)
    return style


def _punctuation(one: Stretch, language: str | None, style: RowStyle) -> None:
    """Marks in order: substituted, deleted, inserted, or the same (Meister et al. 2023, LibriSpeech-PC)."""
    said, written = _marks(one.said, language), _marks(one.written, language)
    for step in Levenshtein.opcodes(said, written):
        pairs = max(step.src_end - step.src_start, step.dest_end - step.dest_start)
        for number in range(pairs):
            expected = said[step.src_start + number] if number < step.src_end - step.src_start else ""
            other = written[step.dest_start + number] if number < step.dest_end - step.dest_start else ""
            style.add(Trait.punctuation, expected, other)


def _marks(words: Sequence[str], language: str | None) -> list[str]:
    if language in CER_LANGUAGES:
        outside = [_INSIDE_NUMBER.sub("", _DOTS.sub("…", "".join(words)))]
    else:
        outside = [_INSIDE.sub("", _DOTS.sub("…", word)) for word in words]
    return [mark for text in outside for mark in MARKS.findall(text)]


def _capitals(one: Stretch, style: RowStyle) -> None:
    """Words that are the same but for their letters' case, where either has a capital."""
    said, written = ([_stripped(word) for word in words] for words in (one.said_words, one.written_words))
    if len(said) != len(written):
        return
    for expected, other in zip(said, written, strict=True):
        has_capital = expected != expected.lower() or other != other.lower()
        if has_capital and expected.casefold() == other.casefold():
            style.add(Trait.capitals, expected, other)


def _numbers_and_units(one: Stretch, language: str | None, style: RowStyle) -> None:
    units, numbers = unit_words(language), number_words(language)
    separator = "" if language in CER_LANGUAGES else " "
    sides = [_parts(words, separator) for words in (one.said_words, one.written_words)]
    of_units = [[part for part in side if part in units] for side in sides]
    if any(of_units):
        style.add(Trait.units, *(" ".join(side) for side in of_units))
    others = [[part for part in side if part not in units] for side in sides]
    if any(_DIGIT.search(part) or part in numbers for side in others for part in side):
        style.add(Trait.numbers, *(" ".join(side) for side in others))


def _parts(words: Sequence[str], separator: str) -> list[str]:
    """Numbers, words and signs, lower case: "$5mg" is three."""
    text = separator.join(_stripped(word) for word in words).lower()
    return _PART.findall(_HYPHEN.sub(" ", text))


def _fillers(found: Sequence[Stretch], language: str | None, style: RowStyle) -> None:
    """Fillers that stand in one text alone, or beside another word; one filler is as good as another."""
    known = FILLERS.get(language or "")
    if known is None:
        return
    said, written = ([_stripped(w).lower() for one in found for w in words(one)] for words in _BOTH)
    if known.isdisjoint(said) and known.isdisjoint(written):
        return
    for pair in word_pairs(
        *([_AS_ONE if w in known else w for w in side] for side in (said, written)), merges_compounds=False
    ):
        if _AS_ONE in pair[:2]:
            style.add(Trait.fillers, *("filler" if w == _AS_ONE else w for w in pair[:2]))


_BOTH: tuple[Callable[[Stretch], tuple[str, ...]], ...] = (lambda one: one.said, lambda one: one.written)
_AS_ONE = "\0"


def _stripped(word: str) -> str:
    """Without marks around it; signs stay."""
    return word.strip(".,?!;:…。、，？！；：،؟؛।\"'“”‘’«»„()[]{}¿¡-–—*")
