"""Owns the points of a learning curve: error rates by the amount that was trained on, and whether more of it still helps.

Input: scored runs by amount, of one training or of several seeds. Output: `CurvePoint`s with the error rate of each role,
`Growth` between two amounts.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev

from qasr_train.errors import ConfigError
from qasr_train.evaluation.comparing.group import compare_pairs
from qasr_train.evaluation.comparing.paired import POWER, PairedTest
from qasr_train.evaluation.comparing.pairs import pair_runs
from qasr_train.evaluation.scoring.distributions import t_of_p, t_p_value, t_quantile
from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import GroupScore
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import Interval, interval_text

ALL_SETS = "all sets"  # in place of a role where no set has one
_ROLES = ("target", "guard", ALL_SETS)


@dataclass(frozen=True, slots=True)
class Amount:
    """What was trained on of the source that is cut, and how long; of the model before training all is 0.

    num_clips: drawn, before the limits of length. hours: of these. num_speakers: who are named; None: none is.
    num_steps: of the optimizer, to the end. checkpoint: the one evaluated; None: the model before training.
    """

    num_clips: int
    hours: float = 0.0
    num_speakers: int | None = 0
    num_steps: int = 0
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class RoleRate:
    """The pooled error rate of the sets of a role. metric: "wer" or "cer".

    percent: of several trainings their mean; by_seed: of each. interval: holds the tests and, of several, the trainings.
    """

    metric: str
    percent: float
    interval: Interval | None
    by_seed: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One amount and what came of it, by role, or of all sets where none has a role.

    taught: the rate on clips that were trained on; None: not measured, and of the model before training.
    """

    amount: Amount
    rates: dict[str, RoleRate]
    taught: RoleRate | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """What a larger amount changed on the sets of a role; few, many: clips. test: many against few, the same utterances."""

    role: str
    few: int
    many: int
    test: PairedTest

    def sentence(self) -> str:
        """Whether more recordings still help, and never more than the test shows."""
        test, interval = self.test, self.test.interval
        before = "the model before training"
        seen = (
            f"{test.delta_percent:+.2f} points, {100 * interval.confidence:g} % interval {interval_text(interval)}, "
            f"{interval.num_units} {interval.unit}s"
        )
        if test.p_value < 1 - interval.confidence:
            found = "more recordings still help" if test.delta_percent < 0 else "more recordings made it worse"
            verb = "falls" if test.delta_percent < 0 else "rises"
            return (
                f"{self.role}: {found}: from {self.few or before} to {self.many} clips the error rate {verb} ({seen})"
            )
        if test.detectable_points is None:
            size = f"so few {interval.unit}s show no difference, however large"
        else:
            size = f"one of {test.detectable_points:.2f} points would show in four of five cases"
        return f"{self.role}: no difference can be shown between {self.few or before} and {self.many} clips ({seen}; {size})"


def curve_point(amount: Amount, runs: Sequence[ScoredRun], taught: Sequence[ScoredRun] = ()) -> CurvePoint:
    """A point of the curve.

    Args:
        runs: of the tests, one a training. taught: of clips that were trained on, likewise; empty: not measured.

    Raises:
        ConfigError: the sets of a role hold no reference words.
    """
    roles = [run.roles or {ALL_SETS: run.overall} for run in runs]
    rates = {}
    for role in _in_order(roles[0]):
        if any(groups[role].primary_percent is None for groups in roles):
            raise ConfigError(
                f"suite: of {role} sets no utterance has reference words, so they have no error rate; give others"
            )
        rates[role] = _over_seeds([groups[role] for groups in roles])
    groups = [run.overall for run in taught if run.overall.primary_percent is not None]
    return CurvePoint(amount, rates, _over_seeds(groups) if groups else None)


def growth_between(few: tuple[int, Sequence[ScoredRun]], many: tuple[int, Sequence[ScoredRun]]) -> list[Growth]:
    """By role, what the larger of two amounts changed, by the paired test of `compare`; (clips, its runs, one a training).

    Trainings are paired by their place; the model before training, of which there is one, stands against each.

    Raises:
        DataError: the runs are not of the same utterances.
    """
    before = list(few[1]) if len(few[1]) == len(many[1]) else [few[1][0]] * len(many[1])
    tests = [change_by_role(ours, theirs) for ours, theirs in zip(before, many[1], strict=True)]
    return [
        Growth(role, few[0], many[0], combine_tests([one[role] for one in tests]))
        for role in _in_order(tests[0])
        if all(role in one for one in tests)
    ]


def change_by_role(baseline: ScoredRun, candidate: ScoredRun) -> dict[str, PairedTest]:
    """The paired test of each role, or of all sets where none has one; raises DataError as `pair_runs`."""
    pairs, _ = pair_runs(baseline, candidate)
    groups = Groups(pairs, lambda part: compare_pairs(part, candidate.resampling).test)
    tests = groups.by(lambda pair: pair.candidate.prediction.role or ALL_SETS)
    if len(tests) > 1:
        tests.pop(ALL_SETS, None)  # sets without a role beside those that have one
    return {role: test for role in _in_order(tests) if (test := tests[role]) is not None}


def combine_tests(tests: Sequence[PairedTest]) -> PairedTest:
    """The mean change of several trainings on the same tests.

    Its variance is that over test units, as if all trainings erred alike, and that of the mean over trainings; degrees of freedom
    by Satterthwaite. It is never surer than the surest of them.
    """
    first = tests[0]
    deltas = [test.delta_percent for test in tests]
    errors = [test.error_points for test in tests if test.error_points is not None]
    if len(tests) == 1 or len(errors) < len(tests):
        return first
    k, n, confidence = len(tests), first.interval.num_units, first.interval.confidence
    parts = [(fmean(errors) ** 2, n - 1), (stdev(deltas) ** 2 / k, k - 1)]
    variance, delta = sum(part for part, _ in parts), fmean(deltas)
    if variance == 0:
        return first
    freedom = variance**2 / sum(part**2 / of for part, of in parts)
    error = math.sqrt(variance)
    p_value = t_p_value(delta / error, freedom) if delta else 1.0
    if (least := min(test.p_value for test in tests)) > p_value:
        p_value, error = least, (abs(delta) / t_of_p(least, freedom) if least < 1 else error)
    half = t_quantile((1 + confidence) / 2, freedom) * error
    ends = replace(first.interval, low_percent=round(delta - half, 4), high_percent=round(delta + half, 4))
    return PairedTest(
        baseline_percent=round(fmean(test.baseline_percent for test in tests), 4),
        candidate_percent=round(fmean(test.candidate_percent for test in tests), 4),
        delta_percent=round(delta, 4),
        interval=ends,
        one_sided_upper_percent=round(delta + t_quantile(confidence, freedom) * error, 4),
        p_value=p_value,
        error_points=round(error, 4),
        detectable_points=round(half + error * t_quantile(POWER, freedom), 4),
        num_more_units=None,
    )


def _over_seeds(groups: Sequence[GroupScore]) -> RoleRate:
    """The rate of one training, or the mean of several with an interval that is widened by how they differ."""
    rates = [percent for group in groups if (percent := group.primary_percent) is not None]
    ends, metric, mean = [group.primary_interval for group in groups], groups[0].primary_metric, fmean(rates)
    known = [one for one in ends if one is not None]
    if len(groups) == 1 or len(known) < len(groups):
        return RoleRate(metric, rates[0] if len(groups) == 1 else round(mean, 4), ends[0], rates)
    apart = t_quantile((1 + known[0].confidence) / 2, len(rates) - 1) * stdev(rates) / math.sqrt(len(rates))
    below = fmean(rate - one.low_percent for rate, one in zip(rates, known, strict=True))
    above = fmean(one.high_percent - rate for rate, one in zip(rates, known, strict=True))
    low, high = max(0.0, mean - math.hypot(below, apart)), mean + math.hypot(above, apart)
    interval = replace(known[0], low_percent=round(low, 4), high_percent=round(high, 4))
    return RoleRate(metric, round(mean, 4), interval, rates)


def _in_order(roles: Collection[str]) -> list[str]:
    return [role for role in _ROLES if role in roles]
