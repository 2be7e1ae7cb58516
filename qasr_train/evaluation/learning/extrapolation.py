"""Owns how a learning curve may go on: a power law through its amounts, a band by the bootstrap, and why not to trust it.

Input: error counts of the tests by amount and seed (numpy). Output: `Extrapolation`: forecasts, and doubts in sentences.
Source of the law, error = floor + factor * clips ** -power: Hestness et al. 2017, "Deep Learning Scaling is Predictable,
Empirically".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qasr_train.evaluation.scoring.significance import Counts

MIN_AMOUNTS, _AMOUNTS_FOR_FLOOR = 3, 4
FACTORS = (2, 4)  # how many times the largest amount is foretold; further no few points reach
_NUM_DRAWS, _NUM_FLOORS = 400, 24
_TAIL_PERCENT = 2.5
_LEAST_SPAN = 8  # times from the smallest to the largest amount
_Rates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an amount that nobody trained on may give. percent: by the law; low_percent, high_percent: its 95 % band."""

    num_clips: int
    percent: float
    low_percent: float
    high_percent: float


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """forecasts: of FACTORS times the largest amount; none where the amounts are too few. doubts: why not to trust them."""

    forecasts: list[Forecast] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """For terminal and page."""
        if not self.forecasts:
            return [f"no forecast: {'; '.join(self.doubts)}"]
        told = ", ".join(
            f"{one.num_clips:,} clips {one.percent:.2f} % [{one.low_percent:.2f} to {one.high_percent:.2f}]"
            for one in self.forecasts
        )
        if not self.doubts:
            return [f"if the power law holds: {told}"]
        return [f"if the power law holds: {told}", f"do not rely on it: {'; '.join(self.doubts)}"]


def extrapolate(amounts: Sequence[int], errors: Counts, lengths: Counts, units: Counts, seed: int) -> Extrapolation:
    """Foretell the pooled error rate at FACTORS times the largest amount.

    Test units and trainings are drawn anew, with what each had at every amount, so that the band holds both; each draw is
    fitted without a floor and, from four amounts on, with one, and the band is that of both laws together.

    Args:
        amounts: clips, rising, above 0: A of them. errors, lengths: int [A, K, U] of K trainings and U utterances.
        units: int [U]; the speaker or utterance that each belongs to. seed: of the draws.
    """
    if len(amounts) < MIN_AMOUNTS:
        return Extrapolation(doubts=[f"a law needs {MIN_AMOUNTS} amounts, and there are {len(amounts)}"])
    clips = np.asarray(amounts, dtype=np.float64)
    targets = np.array([factor * amounts[-1] for factor in FACTORS], dtype=np.float64)
    sums = _per_unit(errors, units), _per_unit(lengths, units)
    measured = _rates(*sums, None)
    drawn = _rates(*sums, np.random.default_rng(seed))
    forecasts = [
        Forecast(int(target), *(round(100 * float(value), 4) for value in (middle, low, high)))
        for target, middle, low, high in zip(targets, *_foretold(clips, measured, drawn, targets), strict=True)
    ]
    return Extrapolation(forecasts, _doubts(clips, measured, drawn, errors.shape[1]))


def _foretold(clips: _Rates, measured: _Rates, drawn: _Rates, targets: _Rates) -> tuple[_Rates, _Rates, _Rates]:
    """(middle, low, high), each [targets], from measured [1, A] and drawn [draws, A] rates."""
    laws = [_law, _law_with_floor] if len(clips) >= _AMOUNTS_FOR_FLOOR else [_law]
    every = np.concatenate([law(clips, drawn, targets) for law in laws])
    middle = np.mean([law(clips, measured, targets)[0] for law in laws], axis=0)
    low, high = (np.percentile(every, tail, axis=0) for tail in (_TAIL_PERCENT, 100 - _TAIL_PERCENT))
    return middle, np.minimum(low, middle), np.maximum(high, middle)


def _doubts(clips: _Rates, measured: _Rates, drawn: _Rates, num_seeds: int) -> list[str]:
    doubts = []
    if len(clips) < _AMOUNTS_FOR_FLOOR:
        doubts.append(f"{len(clips)} amounts cannot show a floor that the curve ends at")
    else:
        middle, low, high = (
            float(one[0]) for one in _foretold(clips[:-1], measured[:, :-1], drawn[:, :-1], clips[-1:])
        )
        found = float(measured[0, -1])
        if not low <= found <= high:
            doubts.append(
                f"the smaller amounts alone foretell {100 * middle:.2f} % [{100 * low:.2f} to {100 * high:.2f}] for "
                f"{int(clips[-1]):,} clips, and {100 * found:.2f} % was measured"
            )
    if clips[-1] < _LEAST_SPAN * clips[0]:
        doubts.append(
            f"the largest amount is {clips[-1] / clips[0]:.1f} times the smallest, less than {_LEAST_SPAN} times"
        )
    powers = _line(np.log(clips), np.log(drawn))[1]
    if float((powers >= 0).mean()) > _TAIL_PERCENT / 100:
        doubts.append("the curve does not surely fall")
    if num_seeds == 1:
        doubts.append("each amount was trained once, and the luck of that is not in the band (seeds=[0,1,2])")
    return doubts


def _per_unit(counts: Counts, units: Counts) -> _Rates:
    """Sums [A, K, units] of [A, K, U]."""
    sums = np.zeros((*counts.shape[:2], int(units.max()) + 1))
    for place in np.ndindex(*counts.shape[:2]):
        sums[place] = np.bincount(units, weights=counts[place], minlength=sums.shape[2])
    return sums


def _rates(errors: _Rates, lengths: _Rates, generator: np.random.Generator | None) -> _Rates:
    """Mean over trainings of the pooled rate [draws, A], half an error added; without a generator the one of all, [1, A]."""
    _, num_seeds, num_units = errors.shape
    if generator is None:
        weights, seeds = np.ones((1, num_units)), np.arange(num_seeds)[None]
    else:
        weights = generator.multinomial(num_units, np.full(num_units, 1 / num_units), size=_NUM_DRAWS).astype(
            np.float64
        )
        seeds = generator.integers(num_seeds, size=(_NUM_DRAWS, num_seeds))
    of_all = ((weights @ one.swapaxes(1, 2)).transpose(1, 0, 2) for one in (errors, lengths))  # each [draws, A, K]
    num_errors, length = of_all
    rates = (num_errors + 0.5) / (length + 1)
    found: _Rates = np.take_along_axis(rates, seeds[:, None, :], axis=2).mean(axis=2)
    return found


def _line(across: _Rates, up: _Rates) -> tuple[_Rates, _Rates]:
    """Least squares: (height where across is 0, slope), each [draws], of up [draws, A] over across [A]."""
    centred = across - across.mean()
    slope = (up * centred).sum(axis=1) / (centred**2).sum()
    return up.mean(axis=1) - slope * across.mean(), slope


def _law(clips: _Rates, rates: _Rates, targets: _Rates) -> _Rates:
    """Rates [draws, targets] by factor * clips ** -power fitted to [draws, A]."""
    height, slope = _line(np.log(clips), np.log(rates))
    found: _Rates = np.exp(height[:, None] + slope[:, None] * np.log(targets))
    return found


def _law_with_floor(clips: _Rates, rates: _Rates, targets: _Rates) -> _Rates:
    """The same over a floor: of many floors below the lowest rate the one with the least squares, for each draw."""
    best = np.full(len(rates), np.inf)
    found = np.zeros((len(rates), len(targets)))
    for share in np.linspace(0, 0.98, _NUM_FLOORS):
        floor = share * rates.min(axis=1, keepdims=True)
        height, slope = _line(np.log(clips), np.log(rates - floor))
        fitted = floor + np.exp(height[:, None] + slope[:, None] * np.log(clips))
        misses = ((np.log(fitted) - np.log(rates)) ** 2).sum(axis=1)
        is_better = misses < best
        best = np.where(is_better, misses, best)
        law = floor + np.exp(height[:, None] + slope[:, None] * np.log(targets))
        found = np.where(is_better[:, None], law, found)
    return found
