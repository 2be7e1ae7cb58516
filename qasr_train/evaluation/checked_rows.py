"""Owns the rows of a manifest beside what a model heard: how far apart each pair is, in which order, and over which limit.

Input: utterances and their scores. Output: `CheckedRow`s.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qasr_train.evaluation.scoring.alignment import score_utterances
from qasr_train.evaluation.scoring.rates import primary_error_percent, primary_errors, primary_metric_of
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.manifest import Utterance
from qasr_train.text.normalize import Normalizer
from qasr_train.transcription.predictions import Prediction


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row of the manifest beside what the model heard.

    metric: "wer" or "cer", by the row's language, or by that which was heard where it states none.
    percent: error rate of this row by `metric`; None where the recording could not be read.
    rejected: why it is not in the filtered manifest; None: it is.
    """

    utterance: Utterance
    score: UtteranceScore
    metric: str
    percent: float | None
    rejected: str | None

    @property
    def prediction(self) -> Prediction:
        """What the model heard."""
        return self.score.prediction

    @property
    def remarks(self) -> list[str]:
        """What speaks for a fault of the model rather than of the transcript, or for another one."""
        heard, stated = self.prediction.predicted_language, self.utterance.language
        found = {
            "the hypothesis repeats itself": self.score.counts.has_loop,
            "the hypothesis is cut short": bool(self.prediction.is_truncated),
            "nothing was heard": bool(self.score.counts.normalized_reference)
            and not self.score.counts.normalized_hypothesis,
            f"heard as {heard}": bool(heard and stated and heard != stated),
        }
        return [remark for remark, is_found in found.items() if is_found]


def check_rows(
    utterances: Sequence[Utterance],
    scores: Sequence[UtteranceScore],
    normalizer: Normalizer,
    limits_percent: Mapping[str, float | None],
) -> list[CheckedRow]:
    """Each row with its own error rate and the verdict of the limits, in the order of the manifest.

    Args:
        scores: of the utterances, in their order. Rows that state no language are scored anew, by the rules of the one heard.
        limits_percent: metric -> the most a row may differ; None: no limit.
    """
    scores = _by_language_heard(scores, normalizer)
    return [_checked(one, score, limits_percent) for one, score in zip(utterances, scores, strict=True)]


def rank(rows: Sequence[CheckedRow]) -> list[CheckedRow]:
    """By falling error rate; of equals, the one with more errors first, as a long text is not all wrong by chance.

    Rows of which the recording could not be read come last.
    """
    return sorted(rows, key=lambda row: (row.percent is None, -(row.percent or 0.0), -primary_errors(row.score)))


def _by_language_heard(scores: Sequence[UtteranceScore], normalizer: Normalizer) -> list[UtteranceScore]:
    unstated = [i for i, score in enumerate(scores) if not score.prediction.language]
    heard = [replace(scores[i].prediction, language=scores[i].prediction.predicted_language) for i in unstated]
    num_workers = len(os.sched_getaffinity(0))
    anew = dict(zip(unstated, score_utterances(heard, normalizer, num_workers=num_workers), strict=True))
    return [anew.get(i, score) for i, score in enumerate(scores)]


def _checked(utterance: Utterance, score: UtteranceScore, limits_percent: Mapping[str, float | None]) -> CheckedRow:
    failed = score.prediction.failed
    metric = primary_metric_of({score.prediction.language})
    percent = None if failed else primary_error_percent(score)
    limit = limits_percent[metric]
    row = CheckedRow(utterance, score, metric, percent, rejected=failed)
    if percent is None or limit is None or percent <= limit:
        return row
    remarks = f" ({', '.join(row.remarks)})" if row.remarks else ""
    return replace(row, rejected=f"{metric.upper()} {percent:.0f} %, more than max_{metric}_percent={limit:g}{remarks}")
