"""Owns what was taken for what: the aligned words (or characters) of an utterance, and the most frequent errors of a run.

Input: `UtteranceScore`s. Output: alignments as lists of runs and pairs, and counts of substitutions, insertions, deletions.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.scoring.word_pairs import utterance_pairs
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import Normalizer


@dataclass(slots=True)
class Confusions:
    """How often which word stood for which (characters in languages written without spaces)."""

    substitutions: Counter[tuple[str, str]] = field(default_factory=Counter)
    insertions: Counter[str] = field(default_factory=Counter)
    deletions: Counter[str] = field(default_factory=Counter)


# What both sides have alike, as one text; or (reference word, hypothesis word), one of them "" for a deletion or insertion.
Piece = str | tuple[str, str]


def aligned_pieces(row: UtteranceScore, normalizer: Normalizer) -> list[Piece] | None:
    """The normalised texts of an utterance side by side; None where they are too long to align for a picture."""
    pairs = utterance_pairs(row, normalizer)
    if pairs is None:
        return None
    separator = "" if row.prediction.language in CER_LANGUAGES else " "
    pieces: list[Piece] = []
    run: list[str] = []
    for pair in pairs:
        if pair.is_same:
            run.append(pair.expected)
            continue
        if run:
            pieces.append(separator.join(run))
            run = []
        pieces.append((pair.expected, pair.heard))
    return [*pieces, separator.join(run)] if run else pieces


def drawn_pieces(row: UtteranceScore, normalizer: Normalizer) -> list[Piece] | None:
    """Aligned pieces, neighbouring insertions (and deletions) as one: a loop of 10,000 words must not be 10,000 elements."""
    pieces = aligned_pieces(row, normalizer)
    if pieces is None:
        return None
    separator = "" if row.prediction.language in CER_LANGUAGES else " "
    drawn: list[Piece] = []
    for _, group in itertools.groupby(
        pieces, key=lambda piece: "same" if isinstance(piece, str) else (not piece[0], not piece[1])
    ):
        run = list(group)
        if isinstance(run[0], str) or (run[0][0] and run[0][1]):
            drawn += run
        else:
            said, heard = ([piece[side] for piece in run if piece[side]] for side in (0, 1))
            drawn.append((separator.join(said), separator.join(heard)))
    return drawn


def count_confusions(rows: Sequence[UtteranceScore], normalizer: Normalizer) -> Confusions:
    """Count the errors of the rows that are scored and not too long to align."""
    confusions = Confusions()
    for row in rows:
        if not row.is_scored or row.counts.normalized_reference == row.counts.normalized_hypothesis:
            continue
        for piece in aligned_pieces(row, normalizer) or []:
            if isinstance(piece, str):
                continue
            expected, got = piece
            if expected and got:
                confusions.substitutions[expected, got] += 1
            elif expected:
                confusions.deletions[expected] += 1
            else:
                confusions.insertions[got] += 1
    return confusions
