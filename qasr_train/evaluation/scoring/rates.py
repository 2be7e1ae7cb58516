"""Owns what an error rate is made of: errors and reference lengths, by words or by characters, whichever a language is scored by.

Input: `UtteranceScore`s. Output: counts per utterance; percent.
"""

from collections.abc import Sequence

import numpy as np

from qasr_train.evaluation.scoring.significance import Counts
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.text.languages import CER_LANGUAGES

Ratio = tuple[Counts, Counts]  # (errors, reference lengths), each (utterances,) int


def counts_of(rows: Sequence[UtteranceScore], metric: str) -> tuple[Counts, Counts]:
    """(errors, reference lengths) per row, in characters for "cer", else in words: two (rows,) int arrays."""
    counted = [row.counts for row in rows]
    if metric == "cer":
        counts = [(one.num_character_errors, one.num_reference_characters) for one in counted]
    else:
        counts = [(one.num_errors, one.num_reference_words) for one in counted]
    errors, lengths = np.asarray(counts, dtype=np.int64).reshape(-1, 2).T
    return errors, lengths


def primary_counts(row: UtteranceScore) -> tuple[int, int]:
    """(errors, reference length) of one utterance by the primary metric of its language."""
    counts = row.counts
    if primary_metric_of({row.prediction.language}) == "cer":
        return counts.num_character_errors, counts.num_reference_characters
    return counts.num_errors, counts.num_reference_words


def primary_errors(row: UtteranceScore) -> int:
    """Errors of one utterance by the primary metric of its language."""
    return primary_counts(row)[0]


def primary_error_percent(row: UtteranceScore) -> float:
    """Percent of one utterance, for sorting rows only; against an empty reference each inserted word counts as 100."""
    num_errors, length = primary_counts(row)
    return 100.0 * num_errors / max(1, length)


def primary_metric_of(languages: set[str | None]) -> str:
    """ "cer" where every language of a group is one of CER_LANGUAGES, else "wer"."""
    return "cer" if languages and languages <= CER_LANGUAGES else "wer"


def percent(part: float, whole: float) -> float | None:
    """100 * part / whole to two places; None where the whole is 0."""
    return round(100 * (float(part) / float(whole)), 2) if whole else None
