"""Owns the second half of coverage.py: what the product's own functions hold of what they promise, for other figures than WER.

Character error rates (errors come in bursts, a word at a time), recall and F1 of terms (a term in every other utterance), means
over sets or languages, several candidates against one baseline. Input: a number of runs, a generator. Output: rows of percents.
"""

import numpy as np

from qasr_train.evaluation.comparing.paired import paired_test
from qasr_train.evaluation.scoring.significance import ResampleBy, error_rate_interval, mean_interval

UTTERANCES = 40
SPEAKER_SD = UTTERANCE_SD = 0.5
SET_RATES = (0.05, 0.1, 0.2, 0.3)


def log_rates(rng, units):
    """Of each utterance (units, UTTERANCES), speakers and utterances apart; their exponential is 1 in the mean."""
    logs = SPEAKER_SD * rng.standard_normal((units, 1)) + UTTERANCE_SD * rng.standard_normal((units, UTTERANCES))
    return logs - (SPEAKER_SD**2 + UTTERANCE_SD**2) / 2


def share(rate, logs):
    return np.minimum(0.95, rate * np.exp(logs))


def words(rng, logs, rate=0.1):
    lengths = rng.integers(5, 21, logs.shape)
    return rng.binomial(lengths, share(rate, logs)), lengths


def characters(rng, logs, rate=0.1):
    """Words of six characters, space included; a wrong word has one to five wrong ones, beyond the first by a chance of half."""
    wrong, lengths = words(rng, logs, rate)
    return wrong + rng.binomial(4 * wrong, 0.5), 6 * lengths


def recall(rng, logs, missed=0.2):
    """Terms found, of those spoken."""
    spoken = rng.poisson(0.5, logs.shape)
    return rng.binomial(spoken, 1 - share(missed, logs)), spoken


def f1(rng, logs, missed=0.2):
    """Twice the terms found, of those spoken and those written; as many are written wrongly as are missed in the mean."""
    found, spoken = recall(rng, logs, missed)
    written = found + rng.poisson(0.5 * share(missed, logs))
    return 2 * found, spoken + written


# Name of the figure -> how it is drawn, and its true percent by drawing many.
FIGURES = {
    "CER": characters,
    "term recall 80 %": recall,
    "term recall 97 %": lambda rng, logs: recall(rng, logs, 0.03),
    "term F1": f1,
}


def truth(draw, rng):
    """The true percent of a figure, by drawing many."""
    parts, wholes = draw(rng, log_rates(rng, 20_000))
    return 100 * parts.sum() / wholes.sum()


def speaker_names(units, prefix=""):
    return [f"{prefix}{number}" for number in range(units) for _ in range(UTTERANCES)]


def flat(counts):
    return tuple(one.reshape(-1) for one in counts)


def figure_coverage(draw, units, runs, rng):
    """Percent of intervals that hold the truth: over utterances, and as the product makes them."""
    names, real, held = speaker_names(units), truth(draw, rng), np.zeros(2)
    for _ in range(runs):
        counts = flat(draw(rng, log_rates(rng, units)))
        for place, by in enumerate((ResampleBy.utterance, ResampleBy.auto)):
            interval = error_rate_interval(*counts, names, resample_by=by)
            held[place] += interval.low_percent - 1e-9 <= real <= interval.high_percent + 1e-9
    return 100 * held / runs


def mean_coverage(sets, units, is_shared, runs, rng):
    """As `figure_coverage`, of the mean over sets (the second half by CER); is_shared: of the same speakers, as under noise."""
    draws = [(words, characters)[number >= sets / 2] for number in range(sets)]
    rates = [SET_RATES[number % len(SET_RATES)] for number in range(sets)]
    kinds = list(zip(draws, rates, strict=True))
    real = np.mean([truth(lambda rng, logs, d=d, r=r: d(rng, logs, r), rng) for d, r in kinds])
    names = [speaker_names(units, "" if is_shared else f"{number}/") for number in range(sets)]
    ids = [list(map(str, range(units * UTTERANCES)))] * sets
    held = np.zeros(2)
    for _ in range(runs):
        logs = [log_rates(rng, units) for _ in range(1 if is_shared else sets)]
        groups = [flat(d(rng, logs[k % len(logs)], r)) for k, (d, r) in enumerate(kinds)]
        for place, by in enumerate((ResampleBy.utterance, ResampleBy.auto)):
            interval = mean_interval(groups, names, ids, resample_by=by)
            held[place] += interval.low_percent <= real <= interval.high_percent
    return 100 * held / runs


def alarms(draw, units, candidates, runs, rng):
    """Percent of runs in which any of equal candidates is told from the one baseline at 5 %: over utterances, over speakers, and
    over speakers at 5 % over the number of candidates, as the product does (Bonferroni)."""
    names, found = speaker_names(units), np.zeros(3)
    for _ in range(runs):
        shared, seed = log_rates(rng, units), int(rng.integers(2**62))
        before, *after = [flat(draw(_Twice(seed, rng), shared + log_rates(rng, units))) for _ in range(candidates + 1)]
        naive, used = (
            min(paired_test(before, one, names, resample_by=by).p_value for one in after)
            for by in (ResampleBy.utterance, ResampleBy.auto)
        )
        found += (naive < 0.05, used < 0.05, used < 0.05 / candidates)
    return 100 * found / runs


class _Twice:
    """A generator whose first whole numbers (lengths, terms spoken) are the same for one seed: all systems hear one set."""

    def __init__(self, seed, rng):
        self._first, self.binomial = np.random.default_rng(seed), rng.binomial
        self._rng, self._is_first = rng, True

    def integers(self, *arguments):
        return self._first.integers(*arguments)

    def poisson(self, *arguments):
        source, self._is_first = (self._first if self._is_first else self._rng), False
        return source.poisson(*arguments)


def coverage_rows(runs, rng):
    """The rows of the third table."""
    columns = ("utterances", "**as used**")
    for name, draw in FIGURES.items():
        for units in (3, 5, 9, 30):
            yield f"{name}, {units} speakers", dict(zip(columns, figure_coverage(draw, units, runs, rng), strict=True))
    for sets, units, is_shared in (
        (4, 3, False),
        (4, 5, False),
        (4, 9, False),
        (10, 5, False),
        (4, 5, True),
        (4, 9, True),
    ):
        whose = "the same" if is_shared else "each"
        name = f"mean of {sets} sets, {units} speakers, {whose}"
        yield name, dict(zip(columns, mean_coverage(sets, units, is_shared, runs, rng), strict=True))


def alarm_rows(runs, rng):
    """The rows of the fourth."""
    columns = ("utterances", "speakers, 5 % each", "**as used**")
    for name, draw in FIGURES.items():
        for units in (5, 9, 30):
            yield f"{name}, {units} speakers", dict(zip(columns, alarms(draw, units, 1, runs, rng), strict=True))
    for candidates, units in ((3, 5), (3, 9), (3, 30), (8, 9)):
        name = f"WER, {candidates} candidates, {units} speakers"
        yield name, dict(zip(columns, alarms(words, units, candidates, runs, rng), strict=True))
