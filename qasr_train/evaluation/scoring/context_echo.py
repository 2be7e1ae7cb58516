"""Owns what a system made of the terms offered to it in the prompt: how many it wrote that were spoken, and that were not.

Input: `UtteranceScore`s and the predictions' `context`. Output: `ContextScores`, `context` of scores.json.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qasr_train.evaluation.scoring.alignment import UtteranceScore
from qasr_train.evaluation.scoring.metrics import Resampling, percent
from qasr_train.evaluation.scoring.significance import Counts, Interval, error_rate_interval
from qasr_train.text.normalize import Normalizer, get_normalizer
from qasr_train.text.terms import TermFinder
from qasr_train.transcription.predictions import Prediction

_SEPARATORS = re.compile(r"[\n\r,;，、；،؛]")
MAX_TERM_WORDS = (
    8  # a longer piece of a context is background text: nobody says it whole, so it would only dilute the rates
)


@dataclass(slots=True)
class UtteranceContext:
    """The terms offered to one utterance, by what became of them. num_prose: pieces too long to be terms.

    spoken: those of the reference. found: those of them in the output. echoed: in the output, not in the reference.
    """

    offered: list[str]
    spoken: list[str]
    found: list[str]
    echoed: list[str]
    num_prose: int


@dataclass(slots=True)
class ContextScore:
    """Figures of one group. Each term counts once for every utterance it was offered to.

    num_utterances: scored rows to which terms were offered. num_with_echo: those of them with an echo.
    context_recall_percent: found / spoken. context_echo_percent: echoed / unspoken. *_interval: their bootstrap intervals.
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


@dataclass(slots=True)
class ContextScores:
    """Offered terms over a run. utterances: parallel to the rows; None: not scored, or no context."""

    overall: ContextScore
    sets: dict[str, ContextScore]
    utterances: list[UtteranceContext | None]

    def to_json(self) -> dict[str, Any]:
        """`context` of scores.json."""
        sets = {name: dataclasses.asdict(group) for name, group in self.sets.items()}
        return {"overall": dataclasses.asdict(self.overall), "sets": sets}


def score_context(
    rows: Sequence[UtteranceScore],
    predictions: Sequence[Prediction],
    normalizer_name: str,
    resampling: Resampling | None = None,
) -> ContextScores | None:
    """What became of the terms in each row's context; None where no scored row has one.

    A term counts as spoken (written) when its words stand in the reference (output) in a row, also inside a longer term.
    """
    offers = _Offers(get_normalizer(normalizer_name))
    found = [
        offers.follow(row, prediction.context) if row.is_scored and prediction.context else None
        for row, prediction in zip(rows, predictions, strict=True)
    ]
    scored = [(row, one) for row, one in zip(rows, found, strict=True) if one is not None]
    if not scored:
        return None
    draws = resampling or Resampling()
    names = sorted({row.set for row, _ in scored})
    return ContextScores(
        overall=_context_score(scored, draws),
        sets={name: _context_score([pair for pair in scored if pair[0].set == name], draws) for name in names},
        utterances=found,
    )


def context_fields(one: UtteranceContext | None) -> dict[str, Any]:
    """`context_terms` of a row of utterances.jsonl: hundreds may be offered to every row, so those are only counted."""
    if one is None:
        return {"context_terms": None}
    lists = {"spoken": one.spoken, "found": one.found, "echoed": one.echoed}
    return {"context_terms": {"num_offered": len(one.offered), **lists, "num_prose": one.num_prose}}


def context_terms(context: str) -> tuple[list[str], int]:
    """(the terms of a context, how many pieces are too long to be one); pieces are parted by commas, semicolons, new lines."""
    pieces = [piece.strip() for piece in _SEPARATORS.split(context) if piece.strip()]
    terms = [piece for piece in dict.fromkeys(pieces) if len(piece.split()) <= MAX_TERM_WORDS]
    return terms, sum(len(piece.split()) > MAX_TERM_WORDS for piece in pieces)


class _Offers:
    """Follows offered terms; the finder of a context is built once, since many rows share one."""

    def __init__(self, normalizer: Normalizer) -> None:
        self._normalizer = normalizer
        self._finders: dict[tuple[str, str | None], tuple[TermFinder, int]] = {}

    def follow(self, row: UtteranceScore, context: str) -> UtteranceContext:
        finder, num_prose = self._finder(context, row.language)
        spoken, written = finder.present(row.normalized_reference), finder.present(row.normalized_hypothesis)
        return UtteranceContext(
            offered=sorted(finder.terms),
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


def _context_score(scored: Sequence[tuple[UtteranceScore, UtteranceContext]], resampling: Resampling) -> ContextScore:
    ones = [one for _, one in scored]
    counts = [
        ContextCounts(len(one.spoken), len(one.found), len(one.offered) - len(one.spoken), len(one.echoed))
        for one in ones
    ]
    speakers, options = [row.speaker for row, _ in scored], dataclasses.asdict(resampling)
    intervals = {
        name: error_rate_interval(*ratio, speakers, **options) for name, ratio in context_ratios(counts).items()
    }
    num_offered, num_spoken = sum(len(one.offered) for one in ones), sum(len(one.spoken) for one in ones)
    num_found, num_echoed = sum(len(one.found) for one in ones), sum(len(one.echoed) for one in ones)
    return ContextScore(
        num_utterances=sum(bool(one.offered) for one in ones),
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
