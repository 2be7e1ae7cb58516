"""Owns how style changed between two runs: error rates of each trait on the same utterances, paired.

Input: pairs of scored utterances and the traits asked for. Output: `StyleChange`s; what the gate looks at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qasr_train.evaluation.comparing.paired import PairedTest, paired_test
from qasr_train.evaluation.comparing.pairs import Pair
from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.style.figures import ALL_SETS, trait_ratio
from qasr_train.evaluation.style.settings import Trait
from qasr_train.evaluation.style.traits import RowStyle, row_style
from qasr_train.text.normalize import Normalizer


@dataclass(frozen=True, slots=True)
class StyleChange:
    """One trait under two systems. set: ALL_SETS where pooled over several. test: None where either has no place."""

    trait: Trait
    set: str
    num_utterances: int
    test: PairedTest | None


@dataclass(frozen=True, slots=True)
class _Styles:
    """An utterance in which both systems have a style."""

    pair: Pair
    baseline: RowStyle
    candidate: RowStyle


def compare_style(
    pairs: Sequence[Pair],
    normalizer: Normalizer,
    roles: Mapping[str, str | None],
    traits: Sequence[str],
    resampling: Resampling,
) -> tuple[list[StyleChange], dict[str, PairedTest | None]]:
    """(how each trait changed, by set and over all; its test on what the gate looks at).

    That is the target sets, since their references are written as the house wants it; all of them where none is a target.
    """
    traits = list(dict.fromkeys(traits))
    styles = _styles(pairs, normalizer) if traits else []
    groups = Groups(
        styles, lambda part: (len(part), {trait: _test(part, Trait(trait), resampling) for trait in traits})
    )
    sets = groups.by(lambda one: one.pair.set)
    if len(sets) > 1:
        sets |= groups.by(lambda one: ALL_SETS)
    changes = [
        StyleChange(Trait(trait), name, number, tests[trait])
        for name, (number, tests) in sets.items()
        for trait in traits
    ]
    judged = [one for one in styles if roles[one.pair.set] == "target"] or styles
    return changes, {trait: _test(judged, Trait(trait), resampling) for trait in traits}


def _styles(pairs: Sequence[Pair], normalizer: Normalizer) -> list[_Styles]:
    found = [(pair, row_style(pair.baseline, normalizer), row_style(pair.candidate, normalizer)) for pair in pairs]
    return [_Styles(pair, ours, theirs) for pair, ours, theirs in found if ours is not None and theirs is not None]


def _test(styles: Sequence[_Styles], trait: Trait, resampling: Resampling) -> PairedTest | None:
    speakers = [one.pair.candidate.prediction.speaker for one in styles]
    ours = trait_ratio([one.baseline for one in styles], trait)
    theirs = trait_ratio([one.candidate for one in styles], trait)
    return paired_test(ours, theirs, speakers, **resampling.options())
