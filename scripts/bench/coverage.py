"""Owns the simulation behind the intervals and tests of evaluation/scoring/significance.py: what they hold of what they promise.

    python scripts/bench/coverage.py [--runs 2000] [--seed 0]    two minutes of one core

Speakers differ (log sd of their error rates), so do utterances; utterances have 5 to 20 words. Coverage: how often a 95 %
interval of one system's rate holds the true one. False alarms: how often two systems of equal true rate that suit
speakers unequally are told apart at 5 %. Output: tables in Markdown, percent of runs; what the product does is in bold. The
first two try methods, by formulas over all runs at once; the others (coverage_figures.py) call the product's functions for CER,
terms, means over sets and several candidates. Of 2000 runs a share of 95 % has a standard error of 0.5 points.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.evaluation.scoring.distributions import exact_binomial, t_quantile
from scripts.bench import coverage_figures

UTTERANCE_SD = 0.5
NUM_RESAMPLES = 400


@dataclass(frozen=True)
class World:
    """Where sets are drawn from. units: speakers; sd: log sd of their rates; size_sd: log sd of their numbers of utterances."""

    name: str
    units: int
    rate: float = 0.10
    sd: float = 0.5
    utterances: int = 40
    size_sd: float = 0.0

    def draw(self, rng, runs, systems):
        """Errors (systems, runs, units, utterances) and lengths (runs, units, utterances); absent utterances are 0 long."""
        shape = (runs, self.units, self.utterances if not self.size_sd else 4 * self.utterances)
        lengths = rng.integers(5, 21, shape)
        if self.size_sd:
            sizes = self.utterances * np.exp(self.size_sd * rng.standard_normal((runs, self.units, 1)))
            lengths = np.where(np.arange(shape[2]) < np.maximum(sizes, 1), lengths, 0)
        shared = self._log_rates(rng, shape) if systems > 1 else 0.0
        rates = [self._share(shared + self._log_rates(rng, shape)) for _ in range(systems)]
        return np.stack([rng.binomial(lengths, rate) for rate in rates]), lengths

    def truth(self, rng):
        """The mean rate of one system, by drawing many."""
        return float(self._share(self._log_rates(rng, (300_000, 1, 4))).mean())

    def _log_rates(self, rng, shape):
        return self.sd * rng.standard_normal((*shape[:2], 1)) + UTTERANCE_SD * rng.standard_normal(shape)

    def _share(self, logs):
        return np.minimum(0.95, self.rate * np.exp(logs - (self.sd**2 + UTTERANCE_SD**2) / 2))


def ratio(errors, lengths):
    return errors.sum(-1) / np.maximum(1, lengths.sum(-1))


def linearised(errors, lengths):
    """What each unit adds to the rate beside its share: (runs, units); they add up to 0."""
    return (errors - ratio(errors, lengths)[:, None] * lengths) / lengths.sum(-1)[:, None]


def jackknifed(errors, lengths):
    """The rate without each unit, less the rate: (runs, units)."""
    left_e, left_l = errors.sum(-1)[:, None] - errors, lengths.sum(-1)[:, None] - lengths
    return left_e / np.maximum(1, left_l) - ratio(errors, lengths)[:, None]


def linear_se(parts):
    n = parts.shape[1]
    return np.sqrt(n / (n - 1) * (parts**2).sum(-1))


def jackknife_se(parts):
    n = parts.shape[1]
    return np.sqrt((n - 1) / n * (parts**2).sum(-1))


def t_of(n):
    return t_quantile(0.975, n - 1)


def freedom(lengths):
    """Degrees of freedom by the effective number of units (Kish), (runs,)."""
    return lengths.sum(-1) ** 2 / (lengths**2).sum(-1) - 1


@cache
def t_grid():
    """(degrees of freedom, their 97.5 % quantiles), close enough to interpolate between."""
    grid = np.concatenate([np.arange(1, 10, 0.05), np.arange(10, 31), np.arange(40, 300, 10)])
    return grid, np.array([t_quantile(0.975, one) for one in grid])


def effective_t(lengths):
    return np.interp(freedom(lengths), *t_grid())


def bootstrap(errors, lengths, rng):
    """(runs, resamples) rates; the same draws in every run."""
    n = errors.shape[1]
    draws = rng.multinomial(n, np.full(n, 1 / n), NUM_RESAMPLES).T
    return (errors @ draws) / np.maximum(1, lengths @ draws)


def percentile(errors, lengths, rng):
    return np.quantile(bootstrap(errors, lengths, rng), [0.025, 0.975], axis=1)


def bca(errors, lengths, rng):
    normal = NormalDist()
    drawn = np.sort(bootstrap(errors, lengths, rng), axis=1)
    share = ((drawn < ratio(errors, lengths)[:, None]).mean(1) + (drawn <= ratio(errors, lengths)[:, None]).mean(1)) / 2
    z0 = np.array([normal.inv_cdf(min(max(s, 1e-3), 1 - 1e-3)) for s in share])
    left = -jackknifed(errors, lengths)
    left = left - left.mean(1, keepdims=True)
    acceleration = (left**3).sum(1) / (6 * np.maximum(1e-30, (left**2).sum(1) ** 1.5))
    ends = []
    for tail in (0.025, 0.975):
        z = z0 + (z0 + normal.inv_cdf(tail)) / (1 - acceleration * (z0 + normal.inv_cdf(tail)))
        place = np.array([normal.cdf(one) for one in z]) * (NUM_RESAMPLES - 1)
        ends.append(
            np.take_along_axis(drawn, np.clip(np.rint(place), 0, NUM_RESAMPLES - 1).astype(int)[:, None], 1)[:, 0]
        )
    return ends


def around(center, half):
    return center - half, center + half


def logit_interval(errors, lengths, t, se):
    """t interval of the logit of the rate."""
    rate = np.clip(ratio(errors, lengths), 1e-9, 1 - 1e-9)
    center, half = np.log(rate / (1 - rate)), t * se / (rate * (1 - rate))
    return [1 / (1 + np.exp(-np.clip(end, -700, 700))) for end in around(center, half)]


def cox_variance(errors, lengths):
    """Variance of the log of the mean of lognormal rates, from the spread of their logs less that of counting (Cox)."""
    n = errors.shape[1]
    logs = np.log((errors + 0.5) / (lengths + 1))
    s2 = np.maximum(0, logs.var(1, ddof=1) - (1 / (errors + 0.5)).mean(1))
    return s2 / n + s2**2 / (2 * (n - 1))


def logit_jackknife(errors, lengths, t, are_speakers):
    """t interval of the logit of the rate, whose spread is the jackknife's of that logit (half an error is added to each)."""
    n = errors.shape[1]
    total_e, total_l = errors.sum(-1)[:, None], lengths.sum(-1)[:, None]

    def logit(e, length):
        rate = np.minimum((e + 0.5) / (length + 1), 1 - 0.5 / (length + 1))
        return np.log(rate / (1 - rate))

    parts = logit(total_e - errors, total_l - lengths) - logit(total_e, total_l)
    se = jackknife_se(parts)
    if are_speakers:
        se = np.maximum(se * np.sqrt(n / (n - 1)), np.sqrt(cox_variance(errors, lengths)))
    return [1 / (1 + np.exp(-np.clip(end, -700, 700))) for end in around(logit(total_e, total_l)[:, 0], t * se)]


def with_none(ends, errors, lengths):
    """Where no utterance has an error, from 0 to what Clopper and Pearson say of none in so many."""
    low, high = (np.array(end) for end in ends)
    for run in np.flatnonzero(errors.sum((1, 2)) == 0):
        present = int((lengths[run] > 0).sum())
        low[run], high[run] = 0, max(high[run], exact_binomial(0, present, 0.95)[1] * present / lengths[run].sum())
    return low, high


def coverage(world, runs, rng):
    """Method -> percent of runs whose interval holds the truth."""
    (errors,), lengths = world.draw(rng, runs, 1)
    truth = world.truth(rng)
    e, n = errors.sum(-1), lengths.sum(-1)
    eu, nu = errors.reshape(runs, -1), lengths.reshape(runs, -1)
    linear, jack = linear_se(linearised(e, n)), jackknife_se(jackknifed(e, n))
    t, te = t_of(world.units), effective_t(n)
    are_speakers = world.utterances > 1
    ends = {
        "bootstrap, utterances": around(ratio(e, n), 1.96 * linear_se(linearised(eu, nu))),
        "bootstrap": percentile(e, n, rng),
        "BCa": bca(e, n, rng),
        "t": around(ratio(e, n), t * linear),
        "t, jackknife": around(ratio(e, n), t * jack),
        "logit t": logit_interval(e, n, t, linear),
        "logit t, jackknife, eff. df": with_none(logit_jackknife(e, n, te, False), errors, lengths),
        "**the same, lognormal speakers**": with_none(logit_jackknife(e, n, te, are_speakers), errors, lengths),
    }
    return {name: 100 * np.mean((low <= truth) & (truth <= high)) for name, (low, high) in ends.items()}


def signs(n, rng):
    if n <= 10:
        return 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    return np.concatenate([np.ones((1, n), int), rng.choice([-1, 1], (1000, n))])


def alarms(world, runs, rng):
    """Method -> percent of runs in which two equal systems are told apart at 5 %."""
    (before, after), lengths = world.draw(rng, runs, 2)
    d, n = (after - before).sum(-1), lengths.sum(-1)
    du, nu = (after - before).reshape(runs, -1), lengths.reshape(runs, -1)
    delta, linear, jack = ratio(d, n), linear_se(linearised(d, n)), jackknife_se(jackknifed(d, n))
    low, high = percentile(d, n, rng)
    flips = (d - 0.0) @ signs(world.units, rng).T
    p = (np.abs(flips) >= np.abs(d.sum(1))[:, None] - 1e-9).mean(1)
    t = np.abs(delta) / np.maximum(linear, 1e-12)
    tj = np.abs(delta) / np.maximum(jack, 1e-12)
    found = {
        "bootstrap, utterances": np.abs(delta) > 1.96 * linear_se(linearised(du, nu)),
        "bootstrap": (low > 0) | (high < 0),
        "sign permutation": p < 0.05,
        "t": t > t_of(world.units),
        "**t, jackknife**": tj > t_of(world.units),
        "t, eff. df": t > effective_t(n),
        "t, jackknife, eff. df": tj > effective_t(n),
    }
    return {name: 100 * np.mean(one) for name, one in found.items()}


def worlds():
    """The rows of both tables."""
    for units in (3, 4, 5, 6, 9, 15, 30):
        yield World(f"{units} speakers", units)
    for units in (3, 5, 9, 30):
        yield World(f"{units}, log sd 1", units, sd=1.0)
    for units in (3, 5, 9, 30):
        yield World(f"{units}, unequal sizes", units, size_sd=0.7)
    for units in (5, 9):
        yield World(f"{units}, rate 30 %", units, rate=0.3)
    for units in (3, 5, 9, 30):
        yield World(f"{units}, rate 0.3 %", units, rate=0.003)
    for units in (5, 10, 30, 200):
        yield World(f"{units} utterances, no speakers", units, sd=0.3, utterances=1)


def table(title, rows):
    names = list(next(iter(rows.values())))
    print(f"\n{title}\n\n| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{row[one]:.1f}' for one in names)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=2000, help="sets drawn per row")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, start = np.random.default_rng(arguments.seed), time.time()
    table("Coverage of 95 % intervals", {one.name: coverage(one, arguments.runs, rng) for one in worlds()})
    table("False alarms at 5 %", {one.name: alarms(one, arguments.runs, rng) for one in worlds()})
    table("Coverage of 95 % intervals, other figures", dict(coverage_figures.coverage_rows(arguments.runs, rng)))
    table("False alarms at 5 %, other figures", dict(coverage_figures.alarm_rows(arguments.runs, rng)))
    print(
        f"\n{arguments.runs} runs a row, seed {arguments.seed}, {time.time() - start:.0f} s, {time.process_time():.0f} s of CPU"
    )


if __name__ == "__main__":
    main()
