"""Owns a learning curve as a whole: its points, what the last amount changed, how it may go on, and the verdict; curve.json.

Input: for each amount and seed a scored run of the tests, and of clips that were trained on. Output: `Curve`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from qasr_train.evaluation.comparing.paired import PairedTest
from qasr_train.evaluation.learning.amounts import (
    ALL_SETS,
    Amount,
    CurvePoint,
    Growth,
    RoleRate,
    change_by_role,
    combine_tests,
    curve_point,
    growth_between,
)
from qasr_train.evaluation.learning.extrapolation import Extrapolation, extrapolate
from qasr_train.evaluation.learning.verdict import (
    FAR_PERCENT,
    Evidence,
    Rate,
    Share,
    Verdict,
    is_still_falling,
    judge_curve,
)
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.rates import counts_of, primary_error_percent, primary_metric_of
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import ResampleBy, independent_units
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.run.history import read_history

CURVE_VERSION = 2  # 2: verdict, extrapolation, trained_on, by_seed
LOSS = "train/loss_nats"


@dataclass(frozen=True, slots=True)
class AmountRuns:
    """One amount, trained once a seed. tests, taught: of each training; taught is empty where it was not measured.

    folder: of a training, whose log is read; None: of the model before training.
    """

    amount: Amount
    tests: list[ScoredRun]
    taught: list[ScoredRun] = field(default_factory=list)
    folder: Path | None = None


@dataclass(frozen=True)
class Curve:
    """Points by rising amount. source: what was cut. suite: its name. growth: between the last two, by role.

    verdict, extrapolation: of the target role, or of all sets where none has a role; None of one point.
    """

    source: str
    suite: str
    points: Sequence[CurvePoint]
    growth: Sequence[Growth]
    verdict: Verdict | None = None
    extrapolation: Extrapolation | None = None

    def sentences(self) -> list[str]:
        """Whether more recordings still help, and what to do."""
        if not self.growth:
            return ["one amount alone does not say whether more recordings help; give others, or include_base=true"]
        told = [one.sentence() for one in self.growth]
        told += self.extrapolation.sentences() if self.extrapolation else []
        return told + ([self.verdict.sentence()] if self.verdict else [])


def make_curve(
    source: str,
    suite: str,
    runs: Sequence[AmountRuns],
    longer: AmountRuns | None = None,
    *,
    resample_by: ResampleBy = ResampleBy.auto,
    seed: int = 0,
) -> Curve:
    """The curve of all that was trained and scored.

    Args:
        runs: by rising amount. longer: the largest amount trained longer; None: not made. seed: of the bootstrap.

    Raises:
        ConfigError: sets hold no reference words. DataError: the runs are not of the same utterances.
    """
    resampling = Resampling(resample_by=resample_by)
    runs = [_resampled(one, resampling) for one in runs]
    points = [curve_point(one.amount, one.tests, one.taught) for one in runs]
    if len(runs) < 2:
        return Curve(source, suite, points, [])
    few, many = runs[-2:]
    growth = growth_between((few.amount.num_clips, few.tests), (many.amount.num_clips, many.tests))
    main = growth[0].role if growth else next(iter(points[-1].rates))
    trained = [one for one in runs if one.amount.num_clips]
    test = next((one.test for one in growth), None)
    evidence = Evidence(
        few=few.amount.num_clips,
        many=many.amount.num_clips,
        growth=test,
        test=_rate(points[-1].rates[main]),
        taught=_rate(points[-1].taught) if points[-1].taught else None,
        far_test=_far([row for run in many.tests for row in run.rows if _is_of(row, main)]),
        far_taught=_far([row for run in many.taught for row in run.rows]),
        longer=_longer(many, _resampled(longer, resampling), main) if longer else None,
        is_falling=_is_falling(many.folder),
    )
    return Curve(source, suite, points, growth, judge_curve(evidence), _extrapolated(trained, main, resampling, seed))


def curve_row(curve: Curve) -> dict[str, Any]:
    """The content of curve.json. growth: between the last two points."""
    return {
        "version": CURVE_VERSION,
        "source": curve.source,
        "points": [_point_row(one) for one in curve.points],
        "growth": [{**asdict(one), "sentence": one.sentence()} for one in curve.growth],
        "extrapolation": asdict(curve.extrapolation) if curve.extrapolation else None,
        "verdict": {**asdict(curve.verdict), "answer": curve.verdict.answer.value} if curve.verdict else None,
    }


def _point_row(point: CurvePoint) -> dict[str, Any]:
    roles = {role: asdict(rate) for role, rate in point.rates.items()}
    return {**asdict(point.amount), "roles": roles, "trained_on": asdict(point.taught) if point.taught else None}


def _resampled(runs: AmountRuns, resampling: Resampling) -> AmountRuns:
    tests, taught = ([replace(one, resampling=resampling) for one in part] for part in (runs.tests, runs.taught))
    return replace(runs, tests=tests, taught=taught)


def _rate(rate: RoleRate) -> Rate:
    return Rate(rate.percent, rate.interval)


def _far(rows: Sequence[UtteranceScore]) -> Share:
    """Clips with speech that were heard as something else."""
    spoken = [row for row in rows if row.is_scored and row.counts.num_reference_words]
    return Share(sum(primary_error_percent(row) > FAR_PERCENT for row in spoken), len(spoken))


def _is_of(row: UtteranceScore, role: str) -> bool:
    return role in (ALL_SETS, row.prediction.role)


def _longer(usual: AmountRuns, longer: AmountRuns, role: str) -> PairedTest | None:
    """The longer trainings against the usual ones of the same seeds, as far as both were made."""
    pairs = zip(usual.tests, longer.tests, strict=False)
    tests = [found[role] for ours, theirs in pairs if role in (found := change_by_role(ours, theirs))]
    return combine_tests(tests) if tests else None


def _is_falling(folder: Path | None) -> bool | None:
    return None if folder is None else is_still_falling([loss for _, loss in read_history(folder).curve(LOSS)])


def _extrapolated(trained: Sequence[AmountRuns], role: str, resampling: Resampling, seed: int) -> Extrapolation | None:
    """By the utterances that every run has scored; None where nothing was trained."""
    if not trained:
        return None
    rows = [
        [{row.key: row for row in run.rows if row.is_scored and _is_of(row, role)} for run in one.tests]
        for one in trained
    ]
    keys = [key for key in rows[0][0] if all(key in found for of_amount in rows for found in of_amount)]
    first = [rows[0][0][key] for key in keys]
    metric = primary_metric_of({row.prediction.language for row in first})
    counted = [[counts_of([found[key] for key in keys], metric) for found in of_amount] for of_amount in rows]
    errors, lengths = (np.array([[both[place] for both in of_amount] for of_amount in counted]) for place in (0, 1))
    units = independent_units([row.prediction.speaker for row in first], resampling.resample_by).numbers
    return extrapolate([one.amount.num_clips for one in trained], errors, lengths, units, seed)
