"""Owns the probe by spelling switches: where rules of comparison erase how a word is written, does a model follow each reference?

Input: references and what a model wrote, raw. Output: `Rendering`s (one of several ways to write the same), and how much more
often they agree than two habits would by chance (Cohen's kappa within each word, a permutation test). A model with a habit of its
own, whichever it is, has a kappa of 0: only the text of the very row tells which way that row has it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from qasr_train.text.normalize import Normalizer

_MAX_WORDS = 4  # of one way to write something
_LONGEST_SEARCHED = 2  # words, of ways that references alone tell: of more there are too many runs to try
_NUM_SHUFFLES = 2000
_EDGES = re.compile(r"^\W+|\W+$")


class Pair(NamedTuple):
    """A clip's reference and what a model wrote, raw."""

    id: str
    reference: str
    heard: str
    language: str | None


@dataclass(frozen=True, slots=True)
class Rendering:
    """One place where both texts say the same. family: what the rules make of it; reference, heard: how each writes it."""

    id: str
    family: str
    reference: str
    heard: str

    @property
    def agrees(self) -> bool:
        """Whether the model wrote it as the reference does."""
        return self.reference == self.heard


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a model follows the references' switches.

    num_places: in words that the references write in several ways. num_agreed: of them. expected: agreements of two habits.
    kappa: (agreed - expected) / (places - expected); None without a place. p_value: one-sided, by shuffling within each word.
    """

    num_places: int
    num_agreed: int
    expected: float
    kappa: float | None
    p_value: float


def find_renderings(pairs: Sequence[Pair], normalizer: Normalizer) -> list[Rendering]:
    """Every place in which both texts say what the references, or a model beside them, write in more than one way."""
    kept, equal = [], []
    for pair in pairs:
        ours, theirs = _bare(pair.reference), _bare(pair.heard)
        for tag, begin, end, other_begin, other_end in SequenceMatcher(
            None, ours, theirs, autojunk=False
        ).get_opcodes():
            if tag == "equal":
                equal.append((pair, ours[begin:end]))
            elif tag == "replace" and max(end - begin, other_end - other_begin) <= _MAX_WORDS:
                kept += _same_by_rules(pair, ours[begin:end], theirs[other_begin:other_end], normalizer)
    # A model that follows every switch differs nowhere, so the references have to tell what can be written in two ways.
    families = _switched(pairs, normalizer) | {form: one.family for one in kept for form in (one.reference, one.heard)}
    for pair, words in equal:
        kept += [
            Rendering(pair.id, families[form], form, form) for form in _runs(words, _MAX_WORDS) if form in families
        ]
    return kept


def measure_agreement(renderings: Sequence[Rendering], seed: int) -> Agreement:
    """Agreement beyond chance, over the words that the references themselves write in more than one way."""
    groups: dict[str, list[Rendering]] = defaultdict(list)
    for one in renderings:
        groups[one.family].append(one)
    switched = [group for group in groups.values() if len({one.reference for one in group}) > 1]
    num_places = sum(map(len, switched))
    num_agreed = sum(one.agrees for group in switched for one in group)
    expected = sum(map(_expected, switched))
    if not num_places:
        return Agreement(0, 0, 0.0, None, 1.0)
    kappa = (num_agreed - expected) / (num_places - expected) if num_places > expected else 0.0
    return Agreement(num_places, num_agreed, round(expected, 2), round(kappa, 4), _p_value(switched, num_agreed, seed))


def _bare(text: str) -> list[str]:
    """Words without case and edge punctuation, which many programs put there themselves."""
    return [word for word in (_EDGES.sub("", one).casefold() for one in text.split()) if word]


def _runs(words: Sequence[str], longest: int) -> list[str]:
    """Every run of up to so many words."""
    return [
        " ".join(words[place : place + length])
        for length in range(1, longest + 1)
        for place in range(len(words) - length + 1)
    ]


def _switched(pairs: Sequence[Pair], normalizer: Normalizer) -> dict[str, str]:
    """Form -> family, of what references write in two ways: one word or two that the rules make the same of.

    Two words of which each is what the rules make of it alone are no form of their own ("the 20": "20" is).
    """
    ways: dict[tuple[str | None, str], set[str]] = defaultdict(set)
    known: dict[tuple[str | None, str], str] = {}

    def normal(form: str, language: str | None) -> str:
        if (language, form) not in known:
            known[language, form] = " ".join(normalizer.normalize(form, language).split())
        return known[language, form]

    for pair in pairs:
        for form in set(_runs(_bare(pair.reference), _LONGEST_SEARCHED)):
            family = normal(form, pair.language)
            parts = form.split()
            is_whole = len(parts) == 1 or family != " ".join(normal(part, pair.language) for part in parts).strip()
            if family and is_whole:
                ways[pair.language, family].add(form)
    return {form: family for (_, family), forms in ways.items() if len(forms) > 1 for form in forms}


def _same_by_rules(pair: Pair, ours: Sequence[str], theirs: Sequence[str], normalizer: Normalizer) -> list[Rendering]:
    reference, heard = " ".join(ours), " ".join(theirs)
    family = " ".join(normalizer.normalize(reference, pair.language).split())
    is_same = bool(family) and family == " ".join(normalizer.normalize(heard, pair.language).split())
    return [Rendering(pair.id, family, reference, heard)] if is_same else []


def _expected(group: Sequence[Rendering]) -> float:
    ours, theirs = Counter(one.reference for one in group), Counter(one.heard for one in group)
    return sum(number * theirs[form] for form, number in ours.items()) / len(group)


def _p_value(groups: Sequence[Sequence[Rendering]], num_agreed: int, seed: int) -> float:
    draw = np.random.default_rng(seed)
    totals = np.zeros(_NUM_SHUFFLES, dtype=np.int64)
    for group in groups:
        forms = {
            form: number for number, form in enumerate(sorted({f for one in group for f in (one.reference, one.heard)}))
        }
        ours = np.array([forms[one.reference] for one in group])
        theirs = np.array([forms[one.heard] for one in group])
        totals += (draw.permuted(np.tile(theirs, (_NUM_SHUFFLES, 1)), axis=1) == ours).sum(axis=1)
    return float((1 + (totals >= num_agreed).sum()) / (1 + _NUM_SHUFFLES))
