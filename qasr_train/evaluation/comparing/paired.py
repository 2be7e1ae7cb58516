"""Owns how sure the difference of two runs is: a paired t test over speakers (or utterances), and what it could have shown.

Input: error and length counts per utterance (numpy) under both, and who spoke them. Output: `PairedTest`; numbers of units.
What it holds of what it promises is simulated by scripts/bench/coverage.py; its table stands in docs/evaluation.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from qasr_train.evaluation.scoring.distributions import t_of_p, t_p_value, t_quantile
from qasr_train.evaluation.scoring.significance import (
    Counts,
    Interval,
    ResampleBy,
    independent_units,
    jackknife_error,
    per_unit,
    share_where_none,
    without_each,
)

# With fewer units no test is surer than one of signs, whatever the spread between them happens to be.
MIN_UNITS_FOR_T = 5
_SUREST = 1e-12  # no p value of a test of signs is said to be below it
_MOST_UNITS = 10_000_000  # beyond which nobody counts
POWER = 0.8  # how often a difference of the smallest size that is called detectable is found


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two systems on the same utterances; differences are candidate minus baseline, so below 0 is better.

    baseline_percent, candidate_percent, delta_percent: pooled error rates, and their difference in points.
    interval: of that difference, two-sided.
    one_sided_upper_percent: the difference is below this with the interval's confidence (one-sided bound): how bad it may be.
    p_value: two-sided, of the t test over units; it is below 1 - confidence where the interval is without 0.
    error_points: standard error of the difference; None of a single unit, whose spread nobody knows.
    detectable_points: the smallest difference that such a set shows in four of five cases (minimum detectable effect); None where
    it shows none, however large. num_more_units: how many more units would show the difference seen in four of five cases, with
    the spread seen; 0 where it is shown, None where there is no difference or a single unit.
    """

    baseline_percent: float
    candidate_percent: float
    delta_percent: float
    interval: Interval
    one_sided_upper_percent: float
    p_value: float
    error_points: float | None
    detectable_points: float | None
    num_more_units: int | None


def paired_test(
    baseline: tuple[Counts, Counts],
    candidate: tuple[Counts, Counts],
    speakers: Sequence[str | None],
    *,
    confidence: float = 0.95,
    resample_by: ResampleBy = ResampleBy.auto,
) -> PairedTest | None:
    """Compare two systems on the same utterances by a t test over units; None where a reference has no word to divide by.

    The spread is the jackknife's. With fewer than five units, or where all differ alike, the p value is at least that of the
    test of signs, 2 / 2**units, and the interval as wide as that p value says. Where no utterance differs, the interval holds
    what Clopper and Pearson's says of none in so many.

    Args:
        baseline, candidate: (errors, reference lengths) of each system, each (utterances,) int.
    """
    if baseline[1].sum() == 0 or candidate[1].sum() == 0:
        return None
    units = independent_units(speakers, resample_by)
    sums = per_unit((*baseline, *candidate), units)
    n = len(sums)
    rates = [100.0 * float(errors.sum()) / float(lengths.sum()) for errors, lengths in (baseline, candidate)]
    delta = rates[1] - rates[0]
    (p_value, spread), alpha = _difference(sums, delta), 1 - confidence
    by_signs = _p_of_signs(n, spread)
    # Where signs decide the interval says what their p value says.
    error = abs(delta) / t_of_p(by_signs, n - 1) if 0 < by_signs == p_value < 1 else spread
    if n > 1 and error == 0:
        half, bound = (100 * share_where_none(baseline[1], one) for one in (confidence, 1 - 2 * alpha))
    else:
        half, bound = (error * t_quantile(1 - tail, n - 1) if n > 1 else math.inf for tail in (alpha / 2, alpha))
    are_shares = all((errors <= lengths).all() for errors, lengths in (baseline, candidate))
    most = _most(rates, n, are_shares)
    ends = (round(max(delta - half, -rates[0]), 4), round(min(delta + half, most), 4))
    interval = Interval(*ends, confidence, units.unit, n, units.because)
    return PairedTest(
        baseline_percent=round(rates[0], 4),
        candidate_percent=round(rates[1], 4),
        delta_percent=round(delta, 4),
        interval=interval,
        one_sided_upper_percent=round(min(delta + bound, most), 4),
        p_value=p_value,
        error_points=round(spread, 4) if n > 1 else None,
        detectable_points=round(half + error * t_quantile(POWER, n - 1), 4) if by_signs < alpha else None,
        num_more_units=0 if p_value < alpha else more_units(abs(delta), spread, n, alpha / 2),
    )


def _most(rates: Sequence[float], n: int, are_shares: bool) -> float:
    """The largest difference in points that there can be: no rate is above 100 % unless words were inserted."""
    if n == 1:
        return max(100.0, rates[1]) - rates[0]
    return max(100 - rates[0], rates[1] - rates[0]) if are_shares else math.inf


def more_units(effect_points: float, error_points: float, num_units: int, tail: float) -> int | None:
    """How many more units like those seen would show an effect in four of five cases; None where there is none to show.

    So many in all that the t quantiles of 1 - tail and of the power, times the standard error, come to no more than the effect.

    Args:
        effect_points: above 0. error_points: its standard error now. tail: alpha, halved for a two-sided test.
    """
    if num_units == 1 or effect_points <= 0:
        return None
    scaled = error_points * math.sqrt(num_units) / effect_points
    normal = NormalDist()
    total = max(
        num_units + 1, MIN_UNITS_FOR_T, math.ceil((scaled * (normal.inv_cdf(1 - tail) + normal.inv_cdf(POWER))) ** 2)
    )
    while total <= _MOST_UNITS and (
        _p_of_signs(total, error_points) >= 2 * tail
        or scaled * (t_quantile(1 - tail, total - 1) + t_quantile(POWER, total - 1)) > math.sqrt(total)
    ):
        total += 1
    return total - num_units


def _p_of_signs(n: int, error: float) -> float:
    """What no p value of so many units may be below: that of the test of signs where they are few or all differ alike; else 0."""
    return max(_SUREST, 2.0 ** (1 - n)) if n < MIN_UNITS_FOR_T or not error else 0.0


def _difference(sums: Counts, delta: float) -> tuple[float, float]:
    """(two-sided p value, standard error in points) of a difference, from (units, 4) sums."""
    n = len(sums)
    if n == 1:
        return 1.0, math.inf
    before, after = (without_each(sums[:, columns]) for columns in ([0, 1], [2, 3]))
    error = jackknife_error(100 * (after - before) - delta)
    if error < 1e-9 * max(1.0, abs(delta)):
        error = 0.0
    if abs(delta) < 1e-12:
        return 1.0, error
    p_value = t_p_value(delta / error, n - 1) if error else 0.0
    return max(p_value, _p_of_signs(n, error)), error
