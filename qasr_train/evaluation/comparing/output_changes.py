"""Owns how many outputs are broken (empty, garbled, looping, cut off, in another language) under two systems, and what of it
refuses a candidate as collapsed.

Input: the pairs of one set; the gate's limits. Output: an `OutputChange` per way to be broken; a sentence that refuses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qasr_train.evaluation.comparing.paired import PairedTest
from qasr_train.evaluation.comparing.pairs import Pair
from qasr_train.evaluation.scoring.utterance import ANY, broken_outputs
from qasr_train.evaluation.settings import NOTHING_LEARNED, GateConfig

_MIN_OUTPUTS = 2  # one output alone is no collapse, however small the set


@dataclass(frozen=True, slots=True)
class OutputChange:
    """Outputs broken in one way under two systems: their number, their share in percent, its change in points (above 0: more)."""

    num_baseline: int
    num_candidate: int
    baseline_percent: float
    candidate_percent: float
    change_points: float


def compare_outputs(pairs: Sequence[Pair]) -> dict[str, OutputChange]:
    """By the way to be broken, as BROKEN names them, and ANY; of the pairs in which neither system failed, {} without any."""
    heard = [pair for pair in pairs if pair.baseline.is_heard and pair.candidate.is_heard]
    if not heard:
        return {}
    before, after = (
        broken_outputs(rows) for rows in ([pair.baseline for pair in heard], [pair.candidate for pair in heard])
    )
    return {way: _change(sum(before[way]), sum(after[way]), len(heard)) for way in before}


def collapsed_because(
    outputs: Mapping[str, OutputChange], test: PairedTest | None, gate: GateConfig, *, should_improve: bool
) -> str | None:
    """Why a candidate is refused on a set whatever its error rate did; None: it is not.

    Args:
        outputs: of `compare_outputs`. test: of its error rates.
        should_improve: whether the set must have been learned, so that an error rate near 100 % speaks against it.
    """
    found = []
    if (broken := outputs.get(ANY)) is not None and _is_past(broken, gate):
        kinds = [
            f"{one.candidate_percent:.1f} % {name}"
            for name, one in outputs.items()
            if name != ANY and one.num_candidate >= _MIN_OUTPUTS
        ]
        found.append(
            f"{broken.candidate_percent:.1f} % of the outputs are broken ({', '.join(kinds) or 'each another way'}), "
            f"{broken.baseline_percent:.1f} % under the baseline; allowed are gate.max_broken_percent="
            f"{gate.max_broken_percent:g} and {gate.max_broken_growth_points:g} points more "
            "(gate.max_broken_growth_points)"
        )
    if should_improve and test is not None and test.candidate_percent >= gate.max_target_percent:
        found.append(f"error rate {test.candidate_percent:.1f} %: {NOTHING_LEARNED}")
    return "; ".join(found) or None


def _is_past(broken: OutputChange, gate: GateConfig) -> bool:
    has_grown = (
        broken.change_points > gate.max_broken_growth_points
        and broken.num_candidate - broken.num_baseline >= _MIN_OUTPUTS
    )
    is_share = broken.candidate_percent > gate.max_broken_percent and broken.num_candidate >= _MIN_OUTPUTS
    return has_grown or is_share


def _change(num_baseline: int, num_candidate: int, num_outputs: int) -> OutputChange:
    before, after = 100 * num_baseline / num_outputs, 100 * num_candidate / num_outputs
    return OutputChange(num_baseline, num_candidate, round(before, 2), round(after, 2), round(after - before, 2))
