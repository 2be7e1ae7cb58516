"""Owns which words are heard worse in one group than in the others; for reading, not tested.

Input: scored rows, the group of each. Output: `WorseWord`s, those with the most errors beyond the others' rate first.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.scoring.word_pairs import utterance_pairs
from qasr_train.text.normalize import Normalizer
from qasr_train.text.tokens import tokens

MAX_WORDS = 10
_MIN_WRONG = 2  # a word missed once says nothing
_MIN_SHARE = 1.5  # times as often as in the others


@dataclass(frozen=True, slots=True)
class WorseWord:
    """A word of the references: how often it was spoken in a group and heard wrongly there, and in the other groups."""

    group: str
    word: str
    num_spoken: int
    num_wrong: int
    num_spoken_elsewhere: int
    num_wrong_elsewhere: int


def worse_words(
    rows: Sequence[UtteranceScore], groups: Sequence[str | None], normalizer: Normalizer
) -> list[WorseWord]:
    """At most MAX_WORDS words that were missed or replaced more often in one group than in the others together.

    Left out: words missed once in a group, and those the others never spoke.
    """
    spoken: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    for row, group in zip(rows, groups, strict=True):
        if group is None or not row.is_scored:
            continue
        said, missed = _words(row, normalizer)
        spoken.update((group, word) for word in said)
        wrong.update((group, word) for word in missed)
    all_spoken, all_wrong = _over_groups(spoken), _over_groups(wrong)
    found = []
    for (group, word), num_wrong in wrong.items():
        here, others = spoken[group, word], all_spoken[word] - spoken[group, word]
        wrong_there = all_wrong[word] - num_wrong
        if num_wrong < _MIN_WRONG or not others or num_wrong * others <= _MIN_SHARE * wrong_there * here:
            continue
        found.append(
            (num_wrong - here * wrong_there / others, WorseWord(group, word, here, num_wrong, others, wrong_there))
        )
    found.sort(key=lambda one: (-one[0], one[1].word, one[1].group))
    return [one for _, one in found[:MAX_WORDS]]


def _words(row: UtteranceScore, normalizer: Normalizer) -> tuple[list[str], list[str]]:
    """(words of the reference, those of them that were not heard); what is too long to align is left out."""
    if row.counts.normalized_reference == row.counts.normalized_hypothesis:
        return list(tokens(row.counts.normalized_reference, row.prediction.language)), []
    pairs = [pair for pair in utterance_pairs(row, normalizer) or () if pair.expected]
    return [pair.expected for pair in pairs], [pair.expected for pair in pairs if not pair.is_same]


def _over_groups(counts: Counter[tuple[str, str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for (_, word), number in counts.items():
        total[word] += number
    return total
