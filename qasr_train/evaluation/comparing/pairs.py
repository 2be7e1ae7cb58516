"""Owns the pairing of two runs: the utterances that both have, and what is left out of a comparison.

Input: two scored runs. Output: `Pair`s of the utterances scored in both, and sentences about the others.
"""

from dataclasses import dataclass

from qasr_train.errors import DataError
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.utterance import UtteranceScore


@dataclass(frozen=True, slots=True)
class Pair:
    """One utterance under both systems."""

    baseline: UtteranceScore
    candidate: UtteranceScore

    @property
    def set(self) -> str:
        """The set it belongs to, the same in both."""
        return self.candidate.prediction.set


def pair_runs(baseline: ScoredRun, candidate: ScoredRun) -> tuple[list[Pair], list[str]]:
    """(utterances scored in both runs, paired by set and id, in the baseline's order; warnings).

    Raises:
        DataError: other references, no utterance in common, or none that both have scored.
    """
    theirs = {row.key: row for row in candidate.rows}
    shared = [Pair(row, theirs[row.key]) for row in baseline.rows if row.key in theirs]
    if not shared:
        raise DataError(
            f"{baseline.path} and {candidate.path} have no utterance in common (same set and id); nothing to compare"
        )
    others = [
        (ours, other)
        for ours, other in ((pair.baseline.prediction, pair.candidate.prediction) for pair in shared)
        if ours.text != other.text
    ]
    if others:
        ours, other = others[0]
        raise DataError(
            f"{len(others)} of {len(shared)} shared utterances have another reference, the first {ours.id!r} of set "
            f"{ours.set!r}: {ours.text!r:.80} and {other.text!r:.80}; evaluate both systems on the same manifest"
        )
    pairs = [pair for pair in shared if pair.baseline.is_scored and pair.candidate.is_scored]
    if not pairs:
        raise DataError(
            f"of {len(shared)} shared utterances none is scored in both runs; see not_scored in their scores.json"
        )
    return pairs, _left_out(baseline, candidate, shared, pairs)


def _left_out(baseline: ScoredRun, candidate: ScoredRun, shared: list[Pair], pairs: list[Pair]) -> list[str]:
    warnings = []
    for run in (baseline, candidate):
        num_alone = len(run.rows) - len(shared)
        if num_alone:
            warnings.append(f"{num_alone} utterances stand only in {run.path}; they are left out")
    if len(pairs) < len(shared):
        num_ours = sum(pair.baseline.prediction.failed is not None for pair in shared)
        num_theirs = sum(pair.candidate.prediction.failed is not None for pair in shared)
        warnings.append(
            f"{len(shared) - len(pairs)} shared utterances are not scored in both runs and left out "
            f"(failed: {num_ours} under the baseline, {num_theirs} under the candidate)"
        )
    return warnings
