"""Owns how sure a figure is: t intervals over speakers (or utterances) of one run's rate, and of the difference of two.

Input: error and length counts per utterance (numpy), and who spoke them. Output: intervals in percent, p values. What they hold
of what they promise is simulated by scripts/bench/coverage.py; its table stands in docs/evaluation.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from qasr_train.evaluation.scoring.distributions import exact_binomial, t_of_p, t_p_value, t_quantile
from qasr_train.pages.table import ABSENT

Counts = NDArray[np.int64]
Rates = NDArray[np.float64]

# With fewer units no test is surer than one of signs, whatever the spread between them happens to be.
MIN_UNITS_FOR_T = 5
_SUREST = 1e-12  # no p value of a test of signs is said to be below it
_MOST_UNITS = 10_000_000  # beyond which nobody counts
POWER = 0.8  # how often a difference of the smallest size that is called detectable is found


class ResampleBy(str, Enum):
    """What is taken to be independent."""

    auto = "auto"  # speakers where two or more are named, else utterances
    speaker = "speaker"
    utterance = "utterance"


@dataclass(frozen=True, slots=True)
class Interval:
    """Two-sided interval of a rate, or of a difference of two.

    low_percent, high_percent: its ends. confidence: e.g. 0.95.
    unit: what is taken to be independent, "speaker" or "utterance". num_units: how many there are. because: why these.
    """

    low_percent: float
    high_percent: float
    confidence: float
    unit: str
    num_units: int
    because: str


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


@dataclass(frozen=True, slots=True)
class Units:
    """What is taken to be independent: the unit's number per utterance, what it is, and why."""

    numbers: Counts
    unit: str
    because: str


def interval_text(interval: Interval | None) -> str:
    """ "4.10 to 5.32", or a dash. Of two or three units the upper end may lie anywhere: "over 1000"."""
    if interval is None:
        return ABSENT
    high = f"{interval.high_percent:.2f}" if interval.high_percent <= 1000 else "over 1000"
    return f"{interval.low_percent:.2f} to {high}"


def independent_units(speakers: Sequence[str | None], resample_by: ResampleBy = ResampleBy.auto) -> Units:
    """Speakers where two or more are named, since errors of one hang together, else utterances.

    An utterance without a speaker, among others with one, is a unit of its own.
    """
    numbers: dict[str, int] = {}
    for speaker in speakers:
        if speaker is not None:
            numbers.setdefault(speaker, len(numbers))
    if resample_by is ResampleBy.utterance:
        return Units(np.arange(len(speakers)), "utterance", "resample_by=utterance")
    if len(numbers) < 2:
        who = "one speaker is named" if numbers else "no speakers are named"
        return Units(np.arange(len(speakers)), "utterance", f"{who}; if several spoke, the interval is too narrow")
    num_nameless = sum(speaker is None for speaker in speakers)
    others = iter(range(len(numbers), len(numbers) + num_nameless))
    units = [next(others) if speaker is None else numbers[speaker] for speaker in speakers]
    because = f"{len(numbers)} speakers are named" + (f", {num_nameless} utterances have none" if num_nameless else "")
    return Units(np.asarray(units, dtype=np.int64), "speaker", because)


def error_rate_interval(
    errors: Counts,
    lengths: Counts,
    speakers: Sequence[str | None],
    *,
    confidence: float = 0.95,
    resample_by: ResampleBy = ResampleBy.auto,
) -> Interval | None:
    """t interval of sum(errors) / sum(lengths), on the scale of its logit; None where there is nothing to divide by.

    The spread is the jackknife's over units, or what lognormal rates of speakers make likely where that is more (Cox: few
    speakers seldom hold a bad one); half an error is added. Degrees of freedom go by the effective number of units (Kish).
    Without any error the upper end is Clopper and Pearson's for utterances. Where an utterance has more errors than words the
    scale is the log. Of a single unit it is Clopper and Pearson's for words, as if they were independent.

    Args:
        errors, lengths: (utterances,) int; errors and reference length of each.
    """
    if lengths.sum() == 0:
        return None
    units = independent_units(speakers, resample_by)
    is_share = bool((errors <= lengths).all())
    sums = _per_unit((errors, lengths), units)
    rate = float(errors.sum() / lengths.sum())
    if len(sums) == 1:
        low, high = exact_binomial(int(min(errors.sum(), lengths.sum())), int(lengths.sum()), confidence)
    else:
        low, high = _rate_ends(sums, confidence, is_share, units.unit == "speaker")
    if errors.sum() == 0:
        low, high = 0.0, max(high, _share_where_none(lengths, confidence))
    ends = (100 * min(low, rate), 100 * max(high, rate))
    return Interval(round(ends[0], 4), round(ends[1], 4), confidence, units.unit, len(sums), units.because)


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
    sums = _per_unit((*baseline, *candidate), units)
    n = len(sums)
    rates = [100.0 * float(errors.sum()) / float(lengths.sum()) for errors, lengths in (baseline, candidate)]
    delta = rates[1] - rates[0]
    (p_value, spread), alpha = _difference(sums, delta), 1 - confidence
    by_signs = _p_of_signs(n, spread)
    # Where signs decide the interval says what their p value says.
    error = abs(delta) / t_of_p(by_signs, n - 1) if 0 < by_signs == p_value < 1 else spread
    if n > 1 and error == 0:
        half, bound = (100 * _share_where_none(baseline[1], one) for one in (confidence, 1 - 2 * alpha))
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
    before, after = (_without_each(sums[:, columns]) for columns in ([0, 1], [2, 3]))
    error = _jackknife_error(100 * (after - before) - delta)
    if error < 1e-9 * max(1.0, abs(delta)):
        error = 0.0
    if abs(delta) < 1e-12:
        return 1.0, error
    p_value = t_p_value(delta / error, n - 1) if error else 0.0
    return max(p_value, _p_of_signs(n, error)), error


def _rate_ends(sums: Counts, confidence: float, is_share: bool, are_speakers: bool) -> tuple[float, float]:
    """Ends of the interval of a rate (a share, not percent), from (units, 2) sums of errors and lengths of two units or more."""
    errors, lengths = sums.T.astype(np.float64)
    n = len(sums)

    def scaled(errors: Rates, lengths: Rates) -> Rates:
        rates = (errors + 0.5) / (lengths + 1)
        if not is_share:
            return np.log(rates)
        rates = np.minimum(rates, 1 - 0.5 / (lengths + 1))
        return np.log(rates / (1 - rates))

    center = float(scaled(errors.sum(), lengths.sum()))
    error = _jackknife_error(scaled(errors.sum() - errors, lengths.sum() - lengths) - center)
    if are_speakers:
        error = max(error * math.sqrt(n / (n - 1)), _lognormal_error(errors, lengths))
    freedom = max(1.0, float(lengths.sum() ** 2 / (lengths**2).sum()) - 1)
    half = t_quantile((1 + confidence) / 2, freedom) * error
    low, high = (math.exp(min(max(end, -700.0), 700.0)) for end in (center - half, center + half))
    return (low / (1 + low), high / (1 + high)) if is_share else (low, high)


def _lognormal_error(errors: Rates, lengths: Rates) -> float:
    """Standard error of the log of a mean of lognormal rates, from the spread of their logs less that of counting.

    Source: Cox's method, in Zhou & Gao 1997, "Confidence intervals for the log-normal mean".
    """
    n = len(errors)
    logs = np.log((errors + 0.5) / (lengths + 1))
    variance = max(0.0, float(logs.var(ddof=1) - (1 / (errors + 0.5)).mean()))
    return math.sqrt(variance / n + variance**2 / (2 * (n - 1)))


def _share_where_none(lengths: Counts, confidence: float) -> float:
    """Errors per word that may be there though no utterance has any: the most utterances that may have one, one in each."""
    num_utterances = int((lengths > 0).sum())
    return exact_binomial(0, num_utterances, confidence)[1] * num_utterances / float(lengths.sum())


def _without_each(sums: Counts) -> Rates:
    """The rate of all units but one, for each: (units,); where the others have no words, that of all."""
    left, total = sums.sum(axis=0) - sums, sums.sum(axis=0)
    return np.where(left[:, 1] > 0, left[:, 0] / np.maximum(1, left[:, 1]), total[0] / total[1])


def _jackknife_error(parts: Rates) -> float:
    """Standard error, from what a figure changes by when each unit is left out."""
    n = len(parts)
    return math.sqrt((n - 1) / n * float((parts**2).sum()))


def _per_unit(counts: Sequence[Counts], units: Units) -> Counts:
    """Sums (units, columns) over the utterances of each unit; units in which there is nothing to count are left out."""
    sums = np.stack([np.bincount(units.numbers, weights=one).astype(np.int64) for one in counts], axis=1)
    return sums[sums.any(axis=1)]
