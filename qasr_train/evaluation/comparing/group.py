"""Owns the comparison of two systems on one group of utterances: difference, intervals, who got better, broken outputs.

Input: the pairs of a group. Output: `GroupComparison`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.evaluation.comparing.output_changes import OutputChange, compare_outputs
from qasr_train.evaluation.comparing.paired import PairedTest, paired_test
from qasr_train.evaluation.comparing.pairs import Pair
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.rates import counts_of, primary_metric_of
from qasr_train.evaluation.scoring.significance import Interval, error_rate_interval


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Two systems on one group of utterances.

    metric: "wer" or "cer", the primary one of the group's languages. test: None if there are no reference words.
    baseline_interval, candidate_interval: of each rate by itself, for pictures.
    num_better, num_worse: utterances with fewer and with more errors than under the baseline.
    outputs: the broken ones (empty, garbled ...) and their change, by way.
    """

    metric: str
    num_utterances: int
    num_better: int
    num_worse: int
    test: PairedTest | None
    baseline_interval: Interval | None
    candidate_interval: Interval | None
    outputs: dict[str, OutputChange]


def compare_pairs(pairs: Sequence[Pair], resampling: Resampling) -> GroupComparison:
    """The comparison of a part of the pairs; they are pooled, by the primary metric of their languages."""
    metric = primary_metric_of({pair.candidate.prediction.language for pair in pairs})
    ours = counts_of([pair.baseline for pair in pairs], metric)
    theirs = counts_of([pair.candidate for pair in pairs], metric)
    speakers = [pair.candidate.prediction.speaker for pair in pairs]
    options = resampling.options()
    return GroupComparison(
        metric=metric,
        num_utterances=len(pairs),
        num_better=int((theirs[0] < ours[0]).sum()),
        num_worse=int((theirs[0] > ours[0]).sum()),
        test=paired_test(ours, theirs, speakers, **options),
        baseline_interval=error_rate_interval(*ours, speakers, **options),
        candidate_interval=error_rate_interval(*theirs, speakers, **options),
        outputs=compare_outputs(pairs),
    )
