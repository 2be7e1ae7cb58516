"""Owns whether groups differ by more than chance: permutations over speakers, signs where these are in several groups.

Input: errors and lengths per utterance (numpy), its group, who spoke it, what it is compared within (set and language). Output:
`Spread`. What it holds of what it promises is simulated by scripts/bench/coverage_groups.py; docs/evaluation.md has the table.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from qasr_train.evaluation.scoring.significance import Counts, Rates, Units

MOST_DRAWS, LEAST_DRAWS = 4999, 199
_WORK = 4_000_000  # units times draws: a second or less
_SEED = 0  # the same figures give the same p


@dataclass(frozen=True, slots=True)
class Spread:
    """Whether the rates of groups differ by more than chance.

    p_value: that groups of no effect lie as far apart or farther; None where that cannot be told. because: how it was tested, or
    why not. unit, num_units: what is taken to be independent. points: from the lowest rate to the highest.
    worse: by group, the p value (one-sided, for all groups together) that it is worse than the others; {} where not tested.
    """

    p_value: float | None
    because: str
    unit: str
    num_units: int
    points: float | None = None
    worse: dict[str, float] = field(default_factory=dict)

    def is_shown(self, confidence: float) -> bool:
        """Whether groups differ by more than chance."""
        return self.p_value is not None and self.p_value < 1 - confidence + 1e-12


def spread_test(
    counts: tuple[Counts, Counts], groups: Sequence[str], units: Units, strata: Sequence[Hashable]
) -> Spread:
    """Test that no group has another rate than the others, beyond what their strata make them have.

    An utterance's errors are held against those that its length makes likely at the rate of its stratum; the statistic is the sum
    over groups of squared surplus / length. Where each unit is of one group, the groups are dealt out anew among the units of a
    stratum: exact where units are alike but for their group. Where units are in several groups, the sign of what each adds to all
    the surpluses is drawn (score contributions, Hemerik, Goeman & Finos 2020). Of all groups the worst: by the largest
    standardised surplus of any group in each draw (Westfall & Young 1993).

    Args:
        counts: (errors, lengths) per utterance; errors may be differences of two systems.
        groups, strata: of each utterance. units: what is taken to be independent.
    """
    errors, lengths = (np.asarray(one, dtype=np.float64) for one in counts)
    names, group = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    stratum = np.unique([repr(one) for one in strata], return_inverse=True)[1]
    _, unit = np.unique(units.numbers, return_inverse=True)
    data = _Data(errors, lengths, group, stratum, unit, len(names))
    points = _points(data)
    reason = _untestable(data, units.unit)
    num_units = data.num_units
    if reason is not None:
        return Spread(None, reason, units.unit, num_units, points)
    if data.is_nested:
        surplus, weight = _dealt_out(data)
        how = f"groups dealt out among {num_units} {units.unit}s"
    else:
        surplus, weight = _signed(data)
        how = f"signs of {num_units} {units.unit}s, who are in several groups"
    statistic = (surplus**2 / np.maximum(weight, 1.0)).sum(axis=1)
    standard = surplus / np.sqrt(np.maximum(weight, 1.0))
    spread = standard.std(axis=0)
    standard = np.divide(standard, spread, out=np.zeros_like(standard), where=spread > 1e-9)
    largest = standard.max(axis=1)
    worse = {str(name): _share(largest, standard[0, place]) for place, name in enumerate(names)}
    return Spread(
        _share(statistic, statistic[0]), f"{how}, {len(statistic) - 1} draws", units.unit, num_units, points, worse
    )


class _Data:
    """The utterances as arrays: numbers of group, stratum and unit from 0; surplus: errors beyond those of the stratum's rate."""

    def __init__(
        self, errors: Rates, lengths: Rates, group: Counts, stratum: Counts, unit: Counts, num_groups: int
    ) -> None:
        self.errors, self.lengths = errors, lengths
        self.group, self.stratum, self.unit, self.num_groups = group, stratum, unit, num_groups
        self.num_units, self.num_strata = int(unit.max()) + 1, int(stratum.max()) + 1
        self.by_stratum = np.bincount(stratum, lengths, self.num_strata)
        rates = np.bincount(stratum, errors, self.num_strata) / np.maximum(self.by_stratum, 1.0)
        self.surplus = errors - rates[stratum] * lengths
        is_of_one_group = len(np.unique(unit * num_groups + group)) == self.num_units
        self.is_nested = is_of_one_group and len(np.unique(unit * self.num_strata + stratum)) == self.num_units

    def per_unit(self, values: Rates) -> Rates:
        """Sums over each unit's utterances, (units,)."""
        return np.bincount(self.unit, values, self.num_units).astype(np.float64)

    def of_units(self, numbers: Counts) -> Counts:
        """What all utterances of a unit have alike, (units,)."""
        found = np.zeros(self.num_units, dtype=np.int64)
        found[self.unit] = numbers
        return found


def _points(data: _Data) -> float | None:
    lengths = np.bincount(data.group, data.lengths, data.num_groups)
    rates = 100 * np.bincount(data.group, data.errors, data.num_groups)[lengths > 0] / lengths[lengths > 0]
    return round(float(rates.max() - rates.min()), 4) if len(rates) else None


def _untestable(data: _Data, unit: str) -> str | None:
    if data.num_groups < 2:
        return "all are of one group"
    if len(np.unique(data.stratum * data.num_groups + data.group)) == data.num_strata:
        return "every set and language holds one group alone, so groups cannot be told from sets"
    if not data.lengths.sum():
        return "no reference words"
    if data.is_nested and data.num_units == data.num_groups:
        return f"each group is one {unit}, so groups cannot be told from {unit}s"
    return None


def _dealt_out(data: _Data) -> tuple[Rates, Rates]:
    """Surplus and length of each group, as observed and with groups dealt out anew within strata: (1 + draws, groups) each."""
    order = np.argsort(data.of_units(data.stratum), kind="stable")
    stratum, group = data.of_units(data.stratum)[order], data.of_units(data.group)[order]
    values = data.per_unit(data.surplus)[order], data.per_unit(data.lengths)[order]
    rng, found = np.random.default_rng(_SEED), []
    for num_draws in _pieces(data.num_units):
        keys = rng.random((num_draws, data.num_units)) + stratum
        found.append(_sums(group[keys.argsort(axis=1)], values, data.num_groups))
    observed = _sums(group[None], values, data.num_groups)
    surplus, weight = (np.concatenate([first, *rest]) for first, *rest in zip(observed, *found, strict=True))
    return surplus, weight


def _sums(groups: Counts, values: Sequence[Rates], num_groups: int) -> tuple[Rates, Rates]:
    """(draws, units) groups -> sums of both values per draw and group, (draws, groups) each."""
    num_draws, num_units = groups.shape
    places = (np.arange(num_draws)[:, None] * num_groups + groups).ravel()
    first, second = (
        np.bincount(places, np.broadcast_to(one, (num_draws, num_units)).ravel(), num_draws * num_groups)
        for one in values
    )
    shape = (num_draws, num_groups)
    return first.reshape(shape).astype(np.float64), second.reshape(shape).astype(np.float64)


def _signed(data: _Data) -> tuple[Rates, Rates]:
    """As `_dealt_out`, the signs of what units add to the surpluses drawn; lengths stay as they are."""
    n, num_groups = data.num_units, data.num_groups
    added = np.zeros((n, num_groups))
    np.add.at(added, (data.unit, data.group), data.surplus)
    # A unit also moves the rate of its strata, and with it everybody's surplus there.
    lengths = np.zeros((data.num_strata, num_groups))
    np.add.at(lengths, (data.stratum, data.group), data.lengths)
    totals = np.zeros((n, data.num_strata))
    np.add.at(totals, (data.unit, data.stratum), data.surplus)
    added -= totals @ (lengths / np.maximum(data.by_stratum, 1.0)[:, None])
    rng, found = np.random.default_rng(_SEED), [added.sum(axis=0, keepdims=True)]
    found += [rng.choice([-1.0, 1.0], (num_draws, n)) @ added for num_draws in _pieces(n)]
    surplus = np.concatenate(found)
    return surplus, np.broadcast_to(np.bincount(data.group, data.lengths, num_groups), surplus.shape)


def _pieces(num_units: int) -> list[int]:
    """How many draws, in pieces that fit the memory."""
    total = int(min(MOST_DRAWS, max(LEAST_DRAWS, _WORK // num_units)))
    piece = max(1, _WORK // num_units)
    return [min(piece, total - done) for done in range(0, total, piece)]


def _share(drawn: Rates, observed: float) -> float:
    """Share of the draws, the observed one among them, that reach what was observed."""
    return float((drawn >= observed - 1e-9 * max(1.0, abs(observed))).mean())
