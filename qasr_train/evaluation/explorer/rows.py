"""Owns which utterances stand in the table of a report's page, in which order, and what is told of each.

Input: `UtteranceScore`s, a baseline's, how sure each word was. Output: a dict an utterance, which explorer.js draws.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from qasr_train.evaluation.scoring.confusions import drawn_pieces
from qasr_train.evaluation.scoring.rates import primary_error_percent, primary_errors
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.scoring.word_pairs import utterance_pairs
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import Normalizer
from qasr_train.text.tokens import tokens

# At most so many utterances, those with the most errors first; a page of 5,000 stays quick.
MAX_EXPLORED = 10_000


def worst_first(rows: Sequence[UtteranceScore]) -> list[UtteranceScore]:
    """Rows by falling number of errors; what is not scored comes last."""
    return sorted(rows, key=lambda row: (not row.is_scored, -primary_errors(row), *row.key))


def most_changed_first(
    rows: Sequence[UtteranceScore], before: Mapping[tuple[str, str], UtteranceScore]
) -> list[UtteranceScore]:
    """Rows by how much their error rate rose over the baseline's, most first. before: the baseline's rows by key."""
    return sorted(rows, key=lambda row: primary_error_percent(before[row.key]) - primary_error_percent(row))


def explorer_row(
    row: UtteranceScore,
    normalizer: Normalizer,
    baseline: UtteranceScore | None = None,
    confidences: Sequence[float] | None = None,
) -> dict[str, Any]:
    """One row of the error explorer, short keys since there are thousands: explorer.js says what each means.

    confidences: of the words of its normalised hypothesis, 0 to 1; None: not known.
    """
    heard, counts = row.prediction, row.counts
    content: dict[str, Any] = {
        "s": heard.set,
        "i": heard.id,
        "l": heard.language or "unknown",
        "d": heard.duration_s,
        "e": primary_errors(row),
        "w": round(primary_error_percent(row), 1),
        "c": [counts.substitutions, counts.deletions, counts.insertions],
        "f": _flags(row),
        "r": heard.text or "",
        "h": heard.pred_text,
        "a": drawn_pieces(row, normalizer),
    }
    if confidences:
        content["k"] = [round(1000 * one) for one in _as_shown(row, normalizer, confidences)]
        content["z"] = int(heard.language in CER_LANGUAGES)
    if row.terms is not None:
        content["t"] = sorted({*row.terms.reference, *row.terms.hypothesis})
    if row.spellings:
        content["v"] = [[one.taken, *(text for text in one.spellings if text != one.taken)] for one in row.spellings]
    if baseline is not None:
        content["b"] = {
            "w": round(primary_error_percent(baseline), 1),
            "h": baseline.prediction.pred_text,
            "a": drawn_pieces(baseline, normalizer),
        }
    return content


def _as_shown(row: UtteranceScore, normalizer: Normalizer, confidences: Sequence[float]) -> list[float]:
    """By the words as `drawn_pieces` shows the output: of a compound written otherwise the reference's are shown."""
    shown: list[float] = []
    place = 0
    for pair in utterance_pairs(row, normalizer) or ():
        heard = _num_words(pair.heard, row.prediction.language)
        own, place = confidences[place : place + heard], place + heard
        if pair.is_same and _num_words(pair.expected, row.prediction.language) != heard:
            own = [min(own)] * _num_words(pair.expected, row.prediction.language)
        shown += own
    return shown


def _num_words(text: str, language: str | None) -> int:
    return len(tokens(text, language))


def _flags(row: UtteranceScore) -> list[str]:
    heard, counts = row.prediction, row.counts
    is_speech, is_written = bool(counts.normalized_reference), bool(counts.normalized_hypothesis)
    is_told_other = bool(heard.language and heard.predicted_language) and heard.language != heard.predicted_language
    return [
        name
        for name, is_set in (
            ("failed", not row.is_heard),
            ("left out", not row.is_scored),
            ("empty", row.is_empty),
            ("garbled", row.is_garbled),
            ("loop", counts.has_loop),
            ("cut off", row.is_cut_off),
            ("words in non-speech", not is_speech and is_written),
            ("wrong language", is_told_other or row.is_in_other_language),
            ("term missed", row.terms is not None and bool(row.terms.missed)),
            ("term added", row.terms is not None and bool(row.terms.added)),
            ("context echoed", row.context_terms is not None and bool(row.context_terms.echoed)),
        )
        if is_set
    ]
