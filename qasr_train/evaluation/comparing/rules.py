"""Owns what rules of comparison alone change: the same predictions under two normalisers.

Input: two `ScoredRun`s of the same predictions. Output: `RulesChange`, set by set: both rates, and the errors that only one has.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.errors import DataError
from qasr_train.evaluation.scoring.confusions import aligned_pieces
from qasr_train.evaluation.scoring.rates import primary_errors
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.text.normalize import Normalizer

# (word of the reference, word that was heard), one of them "" for a deletion or an insertion; characters where no spaces are.
ErrorPair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SetByRules:
    """One set under both. metric: "wer" or "cer", of both rates; a rate is None where there are no reference words.

    num_moved: utterances whose number of errors differs, or that only one of the rules scores; num_scored of each rules.
    only_first, only_second: errors that stand in an utterance under one of the rules alone, most frequent first.
    """

    name: str
    metric: str
    first_percent: float | None
    second_percent: float | None
    num_scored: tuple[int, int]
    num_moved: int
    only_first: list[tuple[ErrorPair, int]]
    only_second: list[tuple[ErrorPair, int]]

    @property
    def delta_percent(self) -> float | None:
        """Points that the second rules give more than the first."""
        if self.first_percent is None or self.second_percent is None:
            return None
        return round(self.second_percent - self.first_percent, 2)


@dataclass(frozen=True, slots=True)
class RulesChange:
    """The same predictions under two normalisers, by name. macro: mean over sets of the rounded rates of words, of both."""

    first: str
    second: str
    sets: list[SetByRules]
    macro_percent: tuple[float | None, float | None]


def compare_rules(first: ScoredRun, second: ScoredRun) -> RulesChange:
    """What the second normaliser changes in the scores of the first.

    Raises:
        DataError: the runs are not of the same utterances.
    """
    others = {row.key: row for row in second.rows}
    if {row.key for row in first.rows} != set(others):
        raise DataError(
            f"{first.path} and {second.path} are not of the same utterances; score both from the same predictions"
        )
    sets = [
        _of_set(name, [(row, others[row.key]) for row in first.rows if row.prediction.set == name], first, second)
        for name in first.sets
    ]
    macro = (first.macro_wer_percent, second.macro_wer_percent)
    return RulesChange(first.normalizer.name, second.normalizer.name, sets, macro)


def _of_set(
    name: str,
    pairs: Sequence[tuple[UtteranceScore, UtteranceScore]],
    first: ScoredRun,
    second: ScoredRun,
) -> SetByRules:
    metric = first.sets[name].primary_metric
    only: tuple[Counter[ErrorPair], Counter[ErrorPair]] = (Counter(), Counter())
    for pair in pairs:
        ours, theirs = _errors(pair[0], first.normalizer), _errors(pair[1], second.normalizer)
        only[0].update(ours - theirs)
        only[1].update(theirs - ours)
    return SetByRules(
        name,
        metric,
        first.sets[name][f"{metric}_percent"],
        second.sets[name][f"{metric}_percent"],
        (sum(one.is_scored for one, _ in pairs), sum(other.is_scored for _, other in pairs)),
        sum(one.is_scored != other.is_scored or primary_errors(one) != primary_errors(other) for one, other in pairs),
        _by_count(only[0]),
        _by_count(only[1]),
    )


def _errors(row: UtteranceScore, normalizer: Normalizer) -> Counter[ErrorPair]:
    """Of a row that is scored and not too long to align."""
    if not row.is_scored or row.counts.normalized_reference == row.counts.normalized_hypothesis:
        return Counter()
    return Counter(piece for piece in aligned_pieces(row, normalizer) or [] if not isinstance(piece, str))


def _by_count(counter: Counter[ErrorPair]) -> list[tuple[ErrorPair, int]]:
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))
