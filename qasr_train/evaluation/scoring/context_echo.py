"""Owns what a system made of the terms offered to it in the prompt: how many it wrote that were spoken, and that were not.

Input: `UtteranceScore`s, whose predictions have a `context`. Output: the rows with what became of its terms; `ContextScores`,
`context` of scores.json.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.rates import percent
from qasr_train.evaluation.scoring.significance import Counts, Interval, error_rate_interval
from qasr_train.evaluation.scoring.utterance import UtteranceContext, UtteranceScore
from qasr_train.text.normalize import Normalizer
from qasr_train.text.terms import TermFinder, context_terms


@dataclass(frozen=True, slots=True)
class ContextScore:
    """Figures of one group. Each term counts once for every utterance it was offered to.

    num_utterances: scored rows to which terms were offered. num_with_echo: those of them with an echo.
    context_recall_percent: found / spoken. context_echo_percent: echoed / unspoken. *_interval: their intervals.
    """

    num_utterances: int
    num_offered: int
    num_spoken: int
    num_found: int
    context_recall_percent: float | None
    num_unspoken: int
    num_echoed: int
    context_echo_percent: float | None
    num_with_echo: int
    num_prose: int
    recall_interval: Interval | None
    echo_interval: Interval | None


@dataclass(frozen=True, slots=True)
class ContextCounts:
    """Offered terms of one utterance: spoken, spoken and written, not spoken, written though not spoken."""

    num_spoken: int
    num_found: int
    num_unspoken: int
    num_echoed: int


@dataclass(frozen=True, slots=True)
class ContextScores:
    """Offered terms over a run."""

    overall: ContextScore
    sets: dict[str, ContextScore]

    def to_json(self) -> dict[str, Any]:
        """`context` of scores.json."""
        sets = {name: dataclasses.asdict(group) for name, group in self.sets.items()}
        return {"overall": dataclasses.asdict(self.overall), "sets": sets}


def follow_context(rows: Sequence[UtteranceScore], normalizer: Normalizer) -> list[UtteranceScore]:
    """The rows, with what became of the terms in the context of each that is scored and has one.

    A term counts as spoken (written) when its words stand in the reference (output) in a row, also inside a longer term.
    """
    offers = _Offers(normalizer)
    return [
        replace(row, context_terms=offers.follow(row, context))
        if row.is_scored and (context := row.prediction.context)
        else row
        for row in rows
    ]


def score_context(rows: Sequence[UtteranceScore], resampling: Resampling) -> ContextScores | None:
    """Figures of the terms that `follow_context` followed; None where no row was offered any."""
    scored = [row for row in rows if row.context_terms is not None]
    if not scored:
        return None
    groups = Groups(scored, lambda part: _context_score(part, resampling))
    return ContextScores(groups.by(lambda row: "")[""], groups.by(lambda row: row.prediction.set))


def context_counts(context: UtteranceContext) -> ContextCounts:
    """The counts of one utterance."""
    num_spoken = len(context.spoken)
    return ContextCounts(num_spoken, len(context.found), context.num_offered - num_spoken, len(context.echoed))


class _Offers:
    """Follows offered terms; the finder of a context is built once, since many rows share one."""

    def __init__(self, normalizer: Normalizer) -> None:
        self._normalizer = normalizer
        self._finders: dict[tuple[str, str | None], tuple[TermFinder, int]] = {}

    def follow(self, row: UtteranceScore, context: str) -> UtteranceContext:
        finder, num_prose = self._finder(context, row.prediction.language)
        spoken = finder.present(row.counts.normalized_reference)
        written = finder.present(row.counts.normalized_hypothesis)
        return UtteranceContext(
            num_offered=len(finder.terms),
            spoken=sorted(spoken),
            found=sorted(spoken & written),
            echoed=sorted(written - spoken),
            num_prose=num_prose,
        )

    def _finder(self, context: str, language: str | None) -> tuple[TermFinder, int]:
        key = (context, language)
        if key not in self._finders:
            terms, num_prose = context_terms(context)
            self._finders[key] = TermFinder([(term, term) for term in terms], self._normalizer, language), num_prose
        return self._finders[key]


def context_ratios(counts: Sequence[ContextCounts]) -> dict[str, tuple[Counts, Counts]]:
    """Context recall and echo as (numerators, denominators) per utterance, each (utterances,) int."""
    spoken, found, unspoken, echoed = (
        np.asarray([getattr(one, field.name) for one in counts], dtype=np.int64)
        for field in dataclasses.fields(ContextCounts)
    )
    return {"recall": (found, spoken), "echo": (echoed, unspoken)}


def _context_score(rows: Sequence[UtteranceScore], resampling: Resampling) -> ContextScore:
    ones = [row.context_terms for row in rows if row.context_terms is not None]
    counts = [context_counts(one) for one in ones]
    speakers, options = [row.prediction.speaker for row in rows], resampling.options()
    intervals = {
        name: error_rate_interval(*ratio, speakers, **options) for name, ratio in context_ratios(counts).items()
    }
    num_offered, num_spoken = sum(one.num_offered for one in ones), sum(one.num_spoken for one in counts)
    num_found, num_echoed = sum(one.num_found for one in counts), sum(one.num_echoed for one in counts)
    return ContextScore(
        num_utterances=sum(bool(one.num_offered) for one in ones),
        num_offered=num_offered,
        num_spoken=num_spoken,
        num_found=num_found,
        context_recall_percent=percent(num_found, num_spoken),
        num_unspoken=num_offered - num_spoken,
        num_echoed=num_echoed,
        context_echo_percent=percent(num_echoed, num_offered - num_spoken),
        num_with_echo=sum(bool(one.echoed) for one in ones),
        num_prose=sum(one.num_prose for one in ones),
        recall_interval=intervals["recall"],
        echo_interval=intervals["echo"],
    )
