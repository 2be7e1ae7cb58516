"""Owns whether several routes to a model say the same: texts that differ, error rates beside the first route's, speed, memory.

Input: for each route a scored run of the same clips, seconds of each clip heard alone, peak memory. Output: `RouteResult`s, of
which the first is what the others are compared with; the `DifferentText`s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from qasr_train.errors import DataError
from qasr_train.evaluation.comparing.group import compare_pairs
from qasr_train.evaluation.comparing.paired import PairedTest
from qasr_train.evaluation.comparing.pairs import pair_runs
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import Interval
from qasr_train.transcription.predictions import Prediction

PERCENTILES = (50, 95, 99)


class Standing(str, Enum):
    """How a route stands beside the first."""

    first = "the first"
    same = "same texts"
    no_worse = "no worse"
    worse = "WORSE"
    unknown = "cannot tell"


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a model's transcripts.

    what: it is, as a person would say. run: scored. latencies_s: of clips heard one at a time; [] where nobody measured.
    memory_bytes: resident, at the peak; device_bytes: of the GPU; None where not known.
    """

    name: str
    what: str
    run: ScoredRun
    latencies_s: Sequence[float] = ()
    memory_bytes: int | None = None
    device_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RouteResult:
    """A row of the table.

    num_equal: texts that are the first route's to the letter; num_same_words: by the rules of comparison; of num_clips that
    neither failed. percent, interval: error rate by `metric`. test: against the first, the same clips; None of the first itself.
    latencies_s: by PERCENTILES; [] where not measured. rtfx: as evaluations have it.
    """

    name: str
    what: str
    standing: Standing
    num_clips: int
    num_equal: int
    num_same_words: int
    num_failed: int
    metric: str
    percent: float | None
    interval: Interval | None
    test: PairedTest | None
    rtfx: float | None
    latencies_s: list[float] = field(default_factory=list)
    memory_bytes: int | None = None
    device_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DifferentText:
    """A clip that some route hears otherwise than the first. texts: route -> what it wrote, or why it failed, the first first."""

    id: str
    reference: str
    texts: dict[str, str]


def compare_routes(routes: Sequence[Route], margin_points: float, resampling: Resampling) -> list[RouteResult]:
    """A result for each route, the first first.

    A route is no worse where the one-sided upper bound of its loss is at most the margin, worse where it surely loses and more
    than the margin is not ruled out (non-inferiority; Piaggio et al. 2012). Equal texts need no test.

    Args:
        margin_points: of error rate.

    Raises:
        DataError: a route has not heard the same clips, or none of them without failing.
    """
    return [_result(routes[0], route, margin_points, resampling) for route in routes]


def different_texts(routes: Sequence[Route]) -> list[DifferentText]:
    """The clips of which not all routes wrote the same, in the first one's order."""
    said = {route.name: {row.key: row.prediction for row in route.run.rows} for route in routes}
    found = []
    for row in routes[0].run.rows:
        texts = {name: _written(rows[row.key]) for name, rows in said.items() if row.key in rows}
        if len(set(texts.values())) > 1:
            found.append(DifferentText(row.prediction.id, row.prediction.text or "", texts))
    return found


def _result(first: Route, route: Route, margin_points: float, resampling: Resampling) -> RouteResult:
    pairs, _ = pair_runs(first.run, route.run)
    if len(first.run.rows) != len(route.run.rows) or {row.key for row in first.run.rows} != {
        row.key for row in route.run.rows
    }:
        raise DataError(
            f"route {route.name!r} has not heard the clips that {first.name!r} has; begin anew in another run_dir"
        )
    compared = compare_pairs(pairs, resampling)
    num_equal = sum(pair.baseline.prediction.pred_text == pair.candidate.prediction.pred_text for pair in pairs)
    num_same = sum(
        pair.baseline.counts.normalized_hypothesis == pair.candidate.counts.normalized_hypothesis for pair in pairs
    )
    failed = sum(row.prediction.failed is not None for row in route.run.rows)
    is_first = route is first
    group = route.run.overall
    return RouteResult(
        name=route.name,
        what=route.what,
        standing=Standing.first
        if is_first
        else _standing(compared.test, margin_points, num_equal == len(pairs) and not failed),
        num_clips=len(pairs),
        num_equal=num_equal,
        num_same_words=num_same,
        num_failed=failed,
        metric=compared.metric,
        percent=group.primary_percent,
        interval=group.primary_interval,
        test=None if is_first else compared.test,
        rtfx=group["rtfx"],
        latencies_s=[round(float(np.percentile(route.latencies_s, one)), 4) for one in PERCENTILES]
        if route.latencies_s
        else [],
        memory_bytes=route.memory_bytes,
        device_bytes=route.device_bytes,
    )


def _standing(test: PairedTest | None, margin_points: float, is_same: bool) -> Standing:
    if is_same:
        return Standing.same
    if test is None:
        return Standing.unknown
    if test.one_sided_upper_percent <= margin_points:
        return Standing.no_worse
    return Standing.worse if test.interval.low_percent > 0 else Standing.unknown


def _written(prediction: Prediction) -> str:
    return f"(failed: {prediction.failed})" if prediction.failed else prediction.pred_text
