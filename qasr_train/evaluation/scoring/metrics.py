"""Owns the aggregates: pooled error rates and their intervals, speed, and the other ways in which a system can go wrong.

Input: `UtteranceScore`s of one group (a set, a language ...). Output: `GroupScore`, the objects inside scores.json.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qasr_train.evaluation.scoring.significance import Counts, Interval, error_rate_interval
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.text.languages import CER_LANGUAGES


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made: share inside, number of resamples, seed."""

    confidence: float = 0.95
    num_resamples: int = 2000
    seed: int = 0


@dataclass(slots=True)
class GroupScore:
    """Figures of one group of utterances. Rates in percent are None where there is nothing to divide by.

    wer_percent, cer_percent: pooled errors / pooled reference length, rounded to two places as the leaderboard does.
    undefined_because: why wer_percent is None.
    primary_metric, primary_percent: CER for Chinese, Cantonese, Japanese, Korean, Thai; WER otherwise.
    num_utterances: rows that count; num_not_scored rows do not, for the reasons counted in not_scored.
    interval, cer_interval: bootstrap intervals of wer_percent and cer_percent.
    rtfx: seconds of audio per second of inference; None unless both are known for every row that did not fail.
    language_accuracy_percent: of num_with_predicted_language rows, how many were heard in their own language.
    empty_output_percent: share of rows with speech for which nothing was written.
    loop_percent: share of rows whose hypothesis repeats itself as the reference does not.
    num_nonspeech, hallucination_percent, num_nonspeech_words: rows whose reference is empty, the share of them for which
        something was written, and how many words.
    """

    normalizer: str
    wer_percent: float | None
    cer_percent: float | None
    undefined_because: str | None
    primary_metric: str
    primary_percent: float | None
    substitutions: int
    deletions: int
    insertions: int
    num_reference_words: int
    num_character_errors: int
    num_reference_characters: int
    num_utterances: int
    num_not_scored: int
    not_scored: dict[str, int]
    interval: Interval | None
    cer_interval: Interval | None
    audio_s: float | None
    inference_s: float | None
    rtfx: float | None
    num_with_predicted_language: int
    language_accuracy_percent: float | None
    empty_output_percent: float | None
    loop_percent: float | None
    num_truncated: int
    num_failed: int
    num_nonspeech: int
    hallucination_percent: float | None
    num_nonspeech_words: int

    @property
    def primary_interval(self) -> Interval | None:
        """The interval of primary_percent."""
        return self.cer_interval if self.primary_metric == "cer" else self.interval

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and None."""
        return dataclasses.asdict(self)


def score_group(rows: Sequence[UtteranceScore], normalizer: str, resampling: Resampling) -> GroupScore:
    """Figures of one group; rows with is_scored False are counted, and enter no error rate."""
    scored = [row for row in rows if row.is_scored]
    errors, num_words = counts_of(scored, "wer")
    character_errors, num_characters = counts_of(scored, "cer")
    speakers = [row.prediction.speaker for row in scored]
    options = dataclasses.asdict(resampling)
    wer_percent, cer_percent = (
        percent(errors.sum(), num_words.sum()),
        percent(character_errors.sum(), num_characters.sum()),
    )
    primary_metric = primary_metric_of({row.prediction.language for row in scored})
    audio_s, inference_s = _seconds(rows)
    return GroupScore(
        normalizer=normalizer,
        wer_percent=wer_percent,
        cer_percent=cer_percent,
        undefined_because=_undefined_because(scored) if wer_percent is None else None,
        primary_metric=primary_metric,
        primary_percent=cer_percent if primary_metric == "cer" else wer_percent,
        substitutions=sum(row.counts.substitutions for row in scored),
        deletions=sum(row.counts.deletions for row in scored),
        insertions=sum(row.counts.insertions for row in scored),
        num_reference_words=int(num_words.sum()),
        num_character_errors=int(character_errors.sum()),
        num_reference_characters=int(num_characters.sum()),
        num_utterances=len(scored),
        num_not_scored=len(rows) - len(scored),
        not_scored=dict(Counter(row.not_scored_because or "" for row in rows if not row.is_scored)),
        interval=error_rate_interval(errors, num_words, speakers, **options),
        cer_interval=error_rate_interval(character_errors, num_characters, speakers, **options),
        audio_s=audio_s,
        inference_s=inference_s,
        rtfx=round(audio_s / inference_s, 4) if audio_s is not None and inference_s else None,
        num_truncated=sum(bool(row.prediction.is_truncated) for row in rows),
        num_failed=sum(row.prediction.failed is not None for row in rows),
        **_other_ways_to_fail(rows),
    )


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


def _other_ways_to_fail(rows: Sequence[UtteranceScore]) -> dict[str, Any]:
    heard = [row for row in rows if row.prediction.failed is None]
    told = [row.prediction for row in heard if row.prediction.language and row.prediction.predicted_language]
    speech = [row.counts for row in heard if row.counts.normalized_reference]
    nonspeech = [row.counts for row in heard if row.prediction.text is not None and not row.prediction.text.strip()]
    return {
        "num_with_predicted_language": len(told),
        "language_accuracy_percent": percent(sum(row.language == row.predicted_language for row in told), len(told)),
        "empty_output_percent": percent(sum(not row.normalized_hypothesis for row in speech), len(speech)),
        "loop_percent": percent(sum(row.counts.has_loop for row in heard), len(heard)),
        "num_nonspeech": len(nonspeech),
        "hallucination_percent": percent(sum(bool(row.normalized_hypothesis) for row in nonspeech), len(nonspeech)),
        "num_nonspeech_words": sum(row.insertions for row in nonspeech),
    }


def _seconds(rows: Sequence[UtteranceScore]) -> tuple[float | None, float | None]:
    heard = [row.prediction for row in rows if row.prediction.failed is None]
    audio = [one.duration_s for one in heard]
    inference = [one.time_s for one in heard]
    audio_s = None if None in audio else sum(value for value in audio if value is not None)
    inference_s = None if None in inference else sum(value for value in inference if value is not None)
    return audio_s, inference_s


def _undefined_because(scored: Sequence[UtteranceScore]) -> str:
    if not scored:
        return "no row counts"
    num_inserted = sum(row.counts.insertions for row in scored)
    return "no reference words (the leaderboard's scorer says inf)" if num_inserted else "no reference words"
