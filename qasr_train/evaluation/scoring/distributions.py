"""Owns Student's t and the beta distribution: tails and quantiles, without scipy.

Input: plain numbers. Output: shares and quantiles, right to some eight digits.
"""

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

_SMALLEST = 1e-300


def beta_share(x: float, a: float, b: float) -> float:
    """Share of the beta distribution (a, b > 0) below x: the incomplete beta function, by Lentz's continued fraction."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_share(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1.0 / _away_from_0(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 1000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1.0 / _away_from_0(1.0 + step * d), _away_from_0(1.0 + step / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return math.exp(log_front) * value / a


def t_p_value(t: float, freedom: float) -> float:
    """Two-sided p value of a t statistic with `freedom` > 0 degrees of freedom."""
    return 1.0 if t == 0 else beta_share(freedom / (freedom + t * t), freedom / 2, 0.5)


@cache
def t_quantile(share: float, freedom: float) -> float:
    """Student's t below which `share` (0 to 1, both excluded) lies."""
    return t_of_p(2 * (1.0 - share), freedom) if share >= 0.5 else -t_of_p(2 * share, freedom)


def t_of_p(p_value: float, freedom: float) -> float:
    """The t statistic, 0 or more, whose two-sided p value is `p_value` (above 0, at most 1)."""
    if freedom >= 5 and p_value >= 1e-6:
        return _near_normal(p_value, freedom)
    # t = sqrt(freedom * (1 - x) / x) where a share of p_value of the beta distribution lies below x.
    x = max(_SMALLEST, _solve(lambda x: beta_share(x, freedom / 2, 0.5), p_value))
    return math.sqrt(freedom * (1.0 - x) / x)


def _near_normal(p_value: float, freedom: float) -> float:
    """As `t_of_p`, where the normal distribution is near: by Newton's method from it (expansion: Abramowitz & Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(1.0 - p_value / 2)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    log_front = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    for _ in range(20):
        density = math.exp(log_front - (freedom + 1) / 2 * math.log1p(t * t / freedom))
        step = (t_p_value(t, freedom) - p_value) / (2 * density)
        t += step
        if abs(step) <= 1e-12 * t:
            break
    return t


def exact_binomial(count: int, trials: int, confidence: float) -> tuple[float, float]:
    """Ends of the Clopper-Pearson interval of a share, `count` of `trials` (> 0): (low, high), each 0 to 1.

    Source: Clopper & Pearson 1934. With 0 of n the upper end is 1 - ((1 - confidence) / 2) ** (1 / n), some 3.7 / n at 95 %.
    """
    tail = (1.0 - confidence) / 2
    low = 0.0 if count == 0 else _solve(lambda x: beta_share(x, count, trials - count + 1), tail)
    high = 1.0 if count == trials else _solve(lambda x: beta_share(x, count + 1, trials - count), 1.0 - tail)
    return low, high


def _solve(rising: Callable[[float], float], value: float) -> float:
    """x of 0 to 1 at which a rising function has a value, by halving (also near 0: as many digits as a float has)."""
    low, high = 0.0, 1.0
    for _ in range(1100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2


def _away_from_0(value: float) -> float:
    return value if abs(value) > _SMALLEST else _SMALLEST
