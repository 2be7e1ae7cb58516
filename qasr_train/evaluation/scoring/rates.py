"""Owns what an error rate is made of: errors and reference lengths, by words or by characters, whichever a language is scored by.

Input: `UtteranceScore`s. Output: counts per utterance; percent; the interval of a mean of rates.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from qasr_train.evaluation.scoring.significance import Counts, Interval, ResampleBy, mean_interval
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


def macro_interval(
    rows: Sequence[UtteranceScore],
    key: Callable[[UtteranceScore], str],
    *,
    metric: str | None = None,
    confidence: float = 0.95,
    resample_by: ResampleBy = ResampleBy.auto,
) -> Interval | None:
    """Of the unweighted mean of the error rates of the parts that `key` makes. metric: None: the primary one of each part."""
    parts: dict[str, list[UtteranceScore]] = defaultdict(list)
    for row in rows:
        if row.is_scored:
            parts[key(row)].append(row)
    metrics = [metric or primary_metric_of({row.prediction.language for row in part}) for part in parts.values()]
    counted = [(part, counts_of(part, one)) for part, one in zip(parts.values(), metrics, strict=True)]
    counted = [(part, counts) for part, counts in counted if counts[1].any()]
    return mean_interval(
        [counts for _, counts in counted],
        [[row.prediction.speaker for row in part] for part, _ in counted],
        [[row.prediction.id for row in part] for part, _ in counted],
        confidence=confidence,
        resample_by=resample_by,
    )
