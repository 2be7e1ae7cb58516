"""Owns the words to check of a run: how sure the system was of each, what that is worth, over all and by set.

Input: scored rows and a `WordMeasure`. Output: `WordScores`, `words` of scores.json.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.rates import primary_errors
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.words.calibration import Calibration
from qasr_train.evaluation.words.confidences import JudgedWords, judged_words
from qasr_train.evaluation.words.figures import Measured, WordFigures, measure, word_figures
from qasr_train.evaluation.words.settings import READ_PERCENTS, Aggregate
from qasr_train.text.normalize import Normalizer
from qasr_train.text.tokens import tokens


@dataclass(frozen=True, slots=True)
class WordMeasure:
    """How confidence is measured. read_percents: shares of the words that somebody might read. calibration: None: as told.

    dev_sets: sets that the calibration was fitted on, which enter no figure.
    """

    aggregate: Aggregate = Aggregate.product
    read_percents: tuple[float, ...] = READ_PERCENTS
    calibration: Calibration | None = None
    dev_sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class WordScores:
    """The words of a run. of_row: calibrated confidences by (set, id), also of the sets that the calibration was fitted on.

    has_terms: whether a term list was counted.
    """

    measure: WordMeasure
    overall: WordFigures
    sets: dict[str, WordFigures]
    of_row: dict[tuple[str, str], list[float]]
    has_terms: bool

    def to_json(self) -> dict[str, Any]:
        """`words` of scores.json."""
        calibration = self.measure.calibration
        return {
            "aggregate": self.measure.aggregate.value,
            "calibration": calibration.to_json() if calibration else None,
            "dev_sets": list(self.measure.dev_sets),
            "overall": asdict(self.overall),
            "sets": {name: asdict(group) for name, group in self.sets.items()},
        }


def score_words(
    rows: Sequence[UtteranceScore], normalizer: Normalizer, how: WordMeasure, resampling: Resampling
) -> WordScores | None:
    """The words to check of a run; None where its predictions tell no probabilities, or hold no word."""
    if not any(row.prediction.pieces for row in rows if row.is_scored):
        return None
    words = {row.key: judged_words(row, normalizer, how.aggregate) for row in rows if row.is_scored}
    judged = [row for row in rows if row.is_scored and row.prediction.set not in how.dev_sets]
    sets = list(dict.fromkeys(row.prediction.set for row in judged))

    def figures(group: Sequence[UtteranceScore]) -> WordFigures:
        return word_figures(_measured(group, words, how), how.read_percents, resampling)

    return WordScores(
        measure=how,
        overall=figures(judged),
        sets={name: figures([row for row in judged if row.prediction.set == name]) for name in sets},
        of_row={key: _calibrated(one, how.calibration) for key, one in words.items() if one is not None},
        has_terms=any(row.terms is not None and row.terms.places is not None for row in judged),
    )


def words_of_sets(
    rows: Sequence[UtteranceScore], normalizer: Normalizer, aggregate: Aggregate, sets: Sequence[str]
) -> Measured:
    """The words of some sets as they were told, of all where none is named: what a calibration is fitted on."""
    chosen = [row for row in rows if row.is_scored and (not sets or row.prediction.set in sets)]
    words = {row.key: judged_words(row, normalizer, aggregate) for row in chosen}
    return _measured(chosen, words, WordMeasure(aggregate))


def _measured(
    rows: Sequence[UtteranceScore], words: dict[tuple[str, str], JudgedWords | None], how: WordMeasure
) -> Measured:
    of_row = [words[row.key] for row in rows]
    unknown = [(0, 0) if one else _untold(row) for row, one in zip(rows, of_row, strict=True)]
    return measure(of_row, unknown, [row.prediction.speaker for row in rows], how.calibration)


def _untold(row: UtteranceScore) -> tuple[int, int]:
    """(words of the hypothesis, errors) of a row whose words nobody knows how sure they are."""
    return len(tokens(row.counts.normalized_hypothesis, row.prediction.language)), primary_errors(row)


def _calibrated(words: JudgedWords, calibration: Calibration | None) -> list[float]:
    if calibration is None:
        return words.confidences
    calibrated: list[float] = calibration(np.array(words.confidences)).tolist()
    return calibrated
