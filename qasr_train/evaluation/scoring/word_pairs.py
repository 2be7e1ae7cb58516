"""Owns which word stands for which: two texts side by side after normalising, compounds joined where the rules say.

Input: an utterance's texts, or tokens (words; characters in languages written without spaces). Output: pairs of them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import kaldialign

from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.text.normalize import Normalizer
from qasr_train.text.tokens import tokens

# A pair with more cells than this takes seconds and says little when drawn (10k words against 10k words is 100 million).
MAX_CELLS = 4_000_000


class WordPair(NamedTuple):
    """A word of the reference and what was heard for it; one of them is "" for a deletion or an insertion.

    Where compounds are merged, either may be several words, with spaces between them.
    """

    expected: str
    heard: str
    is_same: bool


def utterance_pairs(row: UtteranceScore, normalizer: Normalizer) -> Iterator[WordPair] | None:
    """The normalised texts of an utterance side by side; None where they are too long."""
    texts = (row.counts.normalized_reference, row.counts.normalized_hypothesis)
    reference, hypothesis = (tokens(text, row.prediction.language) for text in texts)
    if len(reference) * len(hypothesis) > MAX_CELLS:
        return None
    return word_pairs(reference, hypothesis, merges_compounds=normalizer.merges_compounds(row.prediction.language))


def word_pairs(reference: Sequence[str], hypothesis: Sequence[str], *, merges_compounds: bool) -> Iterator[WordPair]:
    """The two side by side with the fewest errors.

    Args:
        merges_compounds: "white paper" against "whitepaper" is the same.
    """
    for expected, heard in kaldialign.align(reference, hypothesis, "", merge_compounds=merges_compounds):
        is_same = expected == heard or (merges_compounds and expected.replace(" ", "") == heard.replace(" ", ""))
        yield WordPair(expected, heard, is_same)
