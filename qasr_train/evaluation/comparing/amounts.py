"""Owns a learning curve: error rates by the amount that was trained on, and whether more of it still helps.

Input: scored runs by amount. Output: `CurvePoint`s with the error rate of each role, `Growth` between two amounts, curve.json.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qasr_train.errors import ConfigError
from qasr_train.evaluation.comparing.group import compare_pairs
from qasr_train.evaluation.comparing.paired import PairedTest
from qasr_train.evaluation.comparing.pairs import pair_runs
from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import Interval, interval_text

CURVE_VERSION = 1
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
    """The pooled error rate of the sets of a role. metric: "wer" or "cer"."""

    metric: str
    percent: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One amount and what came of it, by role, or of all sets where none has a role."""

    amount: Amount
    rates: dict[str, RoleRate]


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


def curve_point(amount: Amount, run: ScoredRun) -> CurvePoint:
    """A point of the curve.

    Raises:
        ConfigError: the sets of a role hold no reference words.
    """
    groups = run.roles or {ALL_SETS: run.overall}
    rates = {}
    for role in _in_order(groups):
        group = groups[role]
        if group.primary_percent is None:
            raise ConfigError(
                f"suite: of {role} sets no utterance has reference words, so they have no error rate; give others"
            )
        rates[role] = RoleRate(group.primary_metric, group.primary_percent, group.primary_interval)
    return CurvePoint(amount, rates)


def growth_between(few: tuple[int, ScoredRun], many: tuple[int, ScoredRun]) -> list[Growth]:
    """By role, what the larger of two amounts changed, by the paired test of `compare`; (clips, its run) of each.

    Raises:
        DataError: the runs are not of the same utterances.
    """
    pairs, _ = pair_runs(few[1], many[1])
    groups = Groups(pairs, lambda part: compare_pairs(part, many[1].resampling).test)
    tests = groups.by(lambda pair: pair.candidate.prediction.role or ALL_SETS)
    if len(tests) > 1:
        tests.pop(ALL_SETS, None)  # sets without a role beside those that have one
    found = [(role, tests[role]) for role in _in_order(tests)]
    return [Growth(role, few[0], many[0], test) for role, test in found if test is not None]


def curve_row(source: str, points: Sequence[CurvePoint], growth: Sequence[Growth]) -> dict[str, Any]:
    """The content of curve.json. growth: between the last two points."""
    return {
        "version": CURVE_VERSION,
        "source": source,
        "points": [
            {**asdict(one.amount), "roles": {role: asdict(rate) for role, rate in one.rates.items()}} for one in points
        ],
        "growth": [{**asdict(one), "sentence": one.sentence()} for one in growth],
    }


def _in_order(roles: Collection[str]) -> list[str]:
    return [role for role in _ROLES if role in roles]
