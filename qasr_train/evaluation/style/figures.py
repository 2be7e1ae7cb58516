"""Owns error rates of style: of a run, by set.

Input: scored rows and the traits asked for. Output: `StyleScores`, with intervals over speakers.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.rates import Ratio, percent
from qasr_train.evaluation.scoring.significance import Interval, error_rate_interval
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.style.settings import Trait
from qasr_train.evaluation.style.traits import Otherwise, RowStyle, row_style
from qasr_train.text.normalize import Normalizer

ALL_SETS = ""


@dataclass(frozen=True, slots=True)
class TraitScore:
    """One trait of the outputs of a set (ALL_SETS: of all). percent: errors / places; None where there is no place."""

    trait: Trait
    set: str
    num_errors: int
    num_places: int
    percent: float | None
    interval: Interval | None


@dataclass(frozen=True)
class StyleScores:
    """The style of a run. otherwise: what was written otherwise and how often, the most frequent first."""

    traits: list[TraitScore]
    otherwise: list[tuple[Otherwise, int]]

    def to_json(self) -> list[dict[str, Any]]:
        """`style` of scores.json."""
        return [asdict(one) for one in self.traits]


def score_style(
    rows: Sequence[UtteranceScore], normalizer: Normalizer, traits: Sequence[str], resampling: Resampling
) -> StyleScores | None:
    """The style of a run; None where no trait is asked for. normalizer: what the rows were scored by."""
    if not traits:
        return None
    styles = [(row, style) for row in rows if (style := row_style(row, normalizer)) is not None]
    groups = Groups(styles, lambda part: [_score(part, Trait(trait), resampling) for trait in traits])
    sets = groups.by(lambda one: one[0].prediction.set)
    if len(sets) > 1:
        sets |= groups.by(lambda one: ALL_SETS)
    counted = Counter(one for _, style in styles for one in style.otherwise if one.trait.value in traits)
    scores = [replace(score, set=name) for name, found in sets.items() for score in found]
    return StyleScores(scores, counted.most_common())


def trait_ratio(styles: Sequence[RowStyle], trait: Trait) -> Ratio:
    """(errors, places) per utterance, each (utterances,) int."""
    counted = np.array([style.counts.get(trait, (0, 0)) for style in styles], dtype=np.int64).reshape(-1, 2)
    return counted[:, 0], counted[:, 1]


def _score(part: Sequence[tuple[UtteranceScore, RowStyle]], trait: Trait, resampling: Resampling) -> TraitScore:
    errors, places = ratio = trait_ratio([style for _, style in part], trait)
    interval = error_rate_interval(*ratio, [row.prediction.speaker for row, _ in part], **resampling.options())
    num_errors, num_places = int(errors.sum()), int(places.sum())
    return TraitScore(trait, ALL_SETS, num_errors, num_places, percent(num_errors, num_places), interval)
