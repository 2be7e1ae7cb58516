"""Owns which spelling each place of a reference is held against: those with which the hypothesis has the fewest errors.

Input: slots of a reference, each with the token sequences that are right there; the tokens of the hypothesis. Output: the number
of the sequence taken in each slot. Exact: the same errors as the best of all ways to write the reference out.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.int64]  # (tokens of the hypothesis + 1,)
Places = npt.NDArray[np.int32]  # likewise: a place in the hypothesis


def best_spellings(slots: Sequence[Sequence[Sequence[str]]], hypothesis: Sequence[str]) -> list[int]:
    """The number of the spelling taken in each slot: that with the fewest errors.

    Of equals the one with the fewest substitutions (which cost sclite more than other errors), then most tokens right, then the
    first as written. Substitutions, deletions and insertions cost one each. A spelling may be empty. Takes time by all spellings'
    tokens times the hypothesis', and memory by slots times hypothesis.
    """
    numbers = {token: number for number, token in enumerate(dict.fromkeys(hypothesis))}
    heard = np.array([numbers[token] for token in hypothesis], dtype=np.int64)
    # One substitution outweighs every token that may be right, one error every substitution.
    substituted = len(heard) + 1
    error = substituted * (len(heard) + 1)
    costs = error * np.arange(len(heard) + 1, dtype=np.int64)
    steps: list[tuple[Places, Places]] = []  # per slot: the spelling taken to come to each place, and where it began
    for slot in slots:
        ways = [
            _through(costs, [numbers.get(token, -1) for token in spelling], heard, (error, substituted))
            for spelling in slot
        ]
        all_costs = np.stack([way[0] for way in ways])
        taken = all_costs.argmin(axis=0)  # the first of equals
        places = np.arange(len(costs))
        costs = all_costs[taken, places]
        steps.append((taken.astype(np.int32), np.stack([way[1] for way in ways])[taken, places]))
    place = len(heard)
    chosen = []
    for taken, began in reversed(steps):
        chosen.append(int(taken[place]))
        place = int(began[place])
    return chosen[::-1]


def _through(costs: Costs, spelling: Sequence[int], heard: Costs, prices: tuple[int, int]) -> tuple[Costs, Places]:
    """(costs after a spelling, at each place of the hypothesis; the place at which the way there entered it).

    Args:
        prices: of any error, and of a substitution beyond that.
    """
    error, substituted = prices
    began = np.arange(len(costs), dtype=np.int32)
    inserted = error * np.arange(len(costs), dtype=np.int64)
    for token in spelling:
        deleted = costs + error
        paired = costs[:-1] + np.where(heard == token, -1, error + substituted)
        is_paired = np.concatenate([[False], paired <= deleted[1:]])
        began = np.where(is_paired, np.roll(began, 1), began)
        costs = np.where(is_paired, np.concatenate([[0], paired]), deleted)
        # Insertions after this token: from the cheapest place before, a token at one error each.
        lowest = np.minimum.accumulate(costs - inserted)
        is_new = np.concatenate([[True], lowest[1:] < lowest[:-1]])
        source = np.maximum.accumulate(np.where(is_new, np.arange(len(costs)), 0))
        costs, began = lowest + inserted, began[source]
    return costs, began
