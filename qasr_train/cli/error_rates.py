"""Owns the error rate of two lists of texts, as a notebook asks for it.

Input: references and hypotheses. Output: a pooled rate with its counts, interval and rules. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qasr_train.errors import DataError
from qasr_train.evaluation.scoring.metrics import GroupScore
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.significance import Interval
from qasr_train.text.languages import resolve_language
from qasr_train.text.normalize import DEFAULT_NORMALIZER, get_normalizer
from qasr_train.transcription.predictions import Prediction


@dataclass(frozen=True)
class ErrorRate:
    """A pooled error rate. percent: None where the references hold nothing to divide by.

    num_errors, num_reference: in words (wer) or characters (cer), after normalising. interval: 95 %.
    num_not_scored: rows that the normaliser leaves out. normalizer: name and version of the rules.
    """

    percent: float | None
    num_errors: int
    num_reference: int
    num_utterances: int
    num_not_scored: int
    interval: Interval | None
    normalizer: str


def wer(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    language: str | None = None,
    normalizer: str = DEFAULT_NORMALIZER,
) -> ErrorRate:
    """The word error rate of hypotheses, pooled over all, as `recipes/score.py` counts it.

    Args:
        language: name or code ("German", "de") of all of them; None: rules common to all languages.
        normalizer: the rules, e.g. "qasr-2", "leaderboard-2026-08", "none".

    Raises:
        UserError: lists of unequal length, or empty; an unknown language or normaliser.
    """
    group = _score(references, hypotheses, language, normalizer)
    num_errors = group["substitutions"] + group["deletions"] + group["insertions"]
    return _error_rate(group, group["wer_percent"], num_errors, group["num_reference_words"], group["interval"])


def cer(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    language: str | None = None,
    normalizer: str = DEFAULT_NORMALIZER,
) -> ErrorRate:
    """The character error rate; as `wer`."""
    group = _score(references, hypotheses, language, normalizer)
    return _error_rate(
        group,
        group["cer_percent"],
        group["num_character_errors"],
        group["num_reference_characters"],
        group["cer_interval"],
    )


def listed(values: Sequence[Any]) -> list[Any]:
    """The values as a list; one text given alone would be taken letter by letter.

    Raises:
        DataError: it is one text.
    """
    if isinstance(values, str | Path):
        raise DataError(f"{str(values)!r} is one text; give a list, even of one")
    return list(values)


def _score(references: Sequence[str], hypotheses: Sequence[str], language: str | None, normalizer: str) -> GroupScore:
    references, hypotheses = listed(references), listed(hypotheses)
    if len(references) != len(hypotheses):
        raise DataError(
            f"{len(references)} references and {len(hypotheses)} hypotheses; give one of each per utterance"
        )
    rules, name = get_normalizer(normalizer), resolve_language(language, where="language") if language else None
    pairs = zip(references, hypotheses, strict=True)
    predictions = [
        Prediction(None, None, None, reference, hypothesis, id=str(number), language=name)
        for number, (reference, hypothesis) in enumerate(pairs)
    ]
    return score_predictions(predictions, rules).overall


def _error_rate(
    group: GroupScore, percent: float | None, num_errors: int, num_reference: int, interval: Interval | None
) -> ErrorRate:
    return ErrorRate(
        percent,
        num_errors,
        num_reference,
        num_utterances=group["num_utterances"],
        num_not_scored=group["num_not_scored"],
        interval=interval,
        normalizer=group.normalizer,
    )
