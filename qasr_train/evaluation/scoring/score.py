"""Owns a scored run: the rows of one system under one normaliser, and every figure of them.

Input: predictions and a normaliser. Output: `ScoredRun`. Needs no model and no GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from qasr_train.errors import DataError
from qasr_train.evaluation.columns.scored import ColumnScores, column_scores
from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.latency.figures import StreamScores, stream_scores
from qasr_train.evaluation.scoring.alignment import row_warnings, score_utterances
from qasr_train.evaluation.scoring.context_echo import ContextScores, follow_context, score_context
from qasr_train.evaluation.scoring.entities import (
    CountedTerms,
    EntityScores,
    counted_terms,
    find_terms,
    score_entities,
)
from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import GroupScore, Resampling, score_group
from qasr_train.evaluation.scoring.rates import macro_interval
from qasr_train.evaluation.scoring.significance import Interval
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.spellings.taken import UsedLexicon, used_lexicon
from qasr_train.evaluation.style.figures import StyleScores, score_style
from qasr_train.evaluation.words.scores import WordMeasure, WordScores, score_words
from qasr_train.text.alternatives.lexicon import SpellingLexicon
from qasr_train.text.normalize import Normalizer
from qasr_train.text.terms import TermList
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.prompts import PromptForm


@dataclass(frozen=True)
class ScoredRun:
    """One system, scored utterance by utterance; made from predictions, or read from the folder of a run.

    All figures are made of the rows, each once, when it is first asked for.

    rows: every utterance, scored or not. resampling: how intervals are made.
    terms: the list by which terms were counted; None: by none. warnings: what a reader of the figures should know.
    provenance: what made the predictions; `run` in it is the record of a run (run.json).
    path: where the run lies, as messages and comparisons name it. by: the columns that rates are given by.
    word_measure: how it is told how sure each word was. traits: of style, whose error rates are given.
    lexicon: the equal spellings it was scored with; None: those alone that references state themselves.
    """

    normalizer: Normalizer
    rows: list[UtteranceScore]
    resampling: Resampling = field(default_factory=Resampling)
    terms: CountedTerms | None = None
    warnings: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    path: str = "a run in memory"
    by: By = field(default_factory=By)
    word_measure: WordMeasure = field(default_factory=WordMeasure)
    lexicon: UsedLexicon | None = None
    traits: Sequence[str] = ()

    @property
    def record(self) -> dict[str, Any]:
        """What the run says of itself; {} where nothing is known."""
        run = self.provenance.get("run")
        return run if isinstance(run, dict) else {}

    @cached_property
    def prompts(self) -> list[str]:
        """The prompt forms its rows were transcribed with, by name; "own" where a row states none."""
        return sorted({row.prediction.prompt or PromptForm.own.value for row in self.rows})

    @cached_property
    def overall(self) -> GroupScore:
        """All utterances, pooled."""
        return self._groups.by(lambda row: "")[""]

    @cached_property
    def sets(self) -> dict[str, GroupScore]:
        """By the name of a set."""
        return self._groups.by(lambda row: row.prediction.set)

    @cached_property
    def languages(self) -> dict[str, GroupScore]:
        """By language, "unknown" where rows have none."""
        return self._groups.by(language_label)

    @cached_property
    def roles(self) -> dict[str, GroupScore]:
        """By role, where rows have one."""
        return {role: group for role, group in self._groups.by(lambda row: row.prediction.role or "").items() if role}

    @cached_property
    def set_languages(self) -> dict[tuple[str, str], GroupScore]:
        """By (set, language)."""
        return self._groups.by(lambda row: (row.prediction.set, language_label(row)))

    @property
    def macro_wer_percent(self) -> float | None:
        """Unweighted mean of the rounded WER of the sets, the leaderboard's average; micro is that of `overall`."""
        return _mean([group["wer_percent"] for group in self.sets.values()])

    @property
    def macro_primary_percent(self) -> float | None:
        """Unweighted mean over languages of CER or WER, whichever is primary, as the Qwen3-ASR report does."""
        return _mean([group.primary_percent for group in self.languages.values()])

    @cached_property
    def macro_wer_interval(self) -> Interval | None:
        """Of `macro_wer_percent`, two-sided."""
        return macro_interval(self.rows, lambda row: row.prediction.set, metric="wer", **self.resampling.options())

    @cached_property
    def macro_primary_interval(self) -> Interval | None:
        """Of `macro_primary_percent`, two-sided."""
        return macro_interval(self.rows, language_label, **self.resampling.options())

    @cached_property
    def entities(self) -> EntityScores | None:
        """Recognition of the terms of a list; None without one."""
        return score_entities(self.rows, self.terms, self.resampling) if self.terms else None

    @cached_property
    def context(self) -> ContextScores | None:
        """What became of terms offered in the prompt; None where no row had any."""
        return score_context(self.rows, self.resampling)

    @cached_property
    def words(self) -> WordScores | None:
        """How sure the system was of its words, and which are to be checked; None where predictions do not tell."""
        return score_words(self.rows, self.normalizer, self.word_measure, self.resampling)

    @cached_property
    def style(self) -> StyleScores | None:
        """How its outputs are written; None where no trait is asked for."""
        return score_style(self.rows, self.normalizer, self.traits, self.resampling)

    @cached_property
    def streaming(self) -> StreamScores | None:
        """How soon the words of streams stood; None where nothing was heard as it came."""
        return stream_scores(self.rows, self.normalizer, self.resampling)

    @cached_property
    def columns(self) -> list[ColumnScores]:
        """Rates by each column asked for; raises ConfigError where one parts nothing."""
        return column_scores(self.rows, self.by, self._groups, self.normalizer, self.resampling)

    @cached_property
    def _groups(self) -> Groups[UtteranceScore, GroupScore]:
        return Groups(self.rows, lambda part: score_group(part, self.normalizer.name, self.resampling))


def score_predictions(
    predictions: Sequence[Prediction],
    normalizer: Normalizer,
    *,
    failed_as_empty: bool = False,
    resampling: Resampling | None = None,
    num_workers: int = 1,
    terms: TermList | None = None,
    lexicon: SpellingLexicon | None = None,
    mixed: bool = False,
) -> ScoredRun:
    """Score predictions: the errors of each, and through `ScoredRun` pooled counts per set, language, role and over all.

    Args:
        failed_as_empty: a failed row counts as an empty hypothesis instead of being left out.
        num_workers: processes, used from some thousand rows on; more than 1 needs a `__main__` guard in a script.
        terms: what the figures of entities are made of.
        lexicon: spellings that are equal, besides those that references state themselves.
        mixed: whether errors are counted by script, and where languages meet.

    Raises:
        DataError: no predictions; a reference states alternatives that are not closed, or too many; `mixed`
            where no reference holds two scripts.
    """
    if not predictions:
        raise DataError("there are no predictions to score; the run produced none")
    rows = score_utterances(
        predictions,
        normalizer,
        failed_as_empty=failed_as_empty,
        num_workers=num_workers,
        lexicon=lexicon,
        mixed=mixed,
    )
    warnings = row_warnings(predictions)
    if terms is not None:
        rows, term_warnings = find_terms(rows, terms, normalizer)
        warnings += term_warnings
    return ScoredRun(
        normalizer,
        follow_context(rows, normalizer),
        resampling or Resampling(),
        counted_terms(terms) if terms is not None else None,
        warnings,
        lexicon=used_lexicon(lexicon),
    )


def language_label(row: UtteranceScore) -> str:
    """The language of a row as tables name it."""
    return row.prediction.language or "unknown"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None
