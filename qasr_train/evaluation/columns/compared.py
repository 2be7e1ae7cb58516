"""Owns what changed between two runs by a column: the paired difference in each group, and whether these differ by chance.

Input: the pairs of a comparison, `By`. Output: a `ColumnChange` for each column, a part of comparison.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.evaluation.columns.scored import order_of_groups, spread_of
from qasr_train.evaluation.columns.spread import Spread
from qasr_train.evaluation.columns.values import NOT_STATED, By, part_rows, value_of
from qasr_train.evaluation.comparing.group import GroupComparison
from qasr_train.evaluation.comparing.pairs import Pair
from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.rates import counts_of, primary_metric_of
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.scoring.utterance import UtteranceScore


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """Two systems by the groups of a column, the largest loss first (bins rising), pairs that state none last.

    spread: of the groups' changes. one_speaker: the groups in which a single speaker is heard, who cannot stand for the group.
    """

    column: str
    groups: dict[str, GroupComparison]
    spread: Spread
    one_speaker: list[str]
    note: str


def column_changes(
    pairs: Sequence[Pair], by: By, groups: Groups[Pair, GroupComparison], resampling: Resampling
) -> list[ColumnChange]:
    """The changes by each column asked for.

    Args:
        groups: compares parts of the pairs.

    Raises:
        ConfigError: as `part_rows`.
    """
    return [_change(pairs, name, by, groups, resampling) for name in by.names]


def _change(
    pairs: Sequence[Pair], column: str, by: By, groups: Groups[Pair, GroupComparison], resampling: Resampling
) -> ColumnChange:
    rows = _rows_that_state(pairs, column)
    parting = part_rows(rows, column, by.edges.get(column))
    label = {row.key: group or NOT_STATED for row, group in zip(rows, parting.groups, strict=True)}
    found = groups.by(lambda pair: label[pair.candidate.key])
    deltas = {name: one.test.delta_percent if one.test else None for name, one in found.items()}
    speakers: dict[str, set[str | None]] = {name: set() for name in found}
    for row in rows:
        speakers[label[row.key]].add(row.prediction.speaker)
    metric = primary_metric_of({row.prediction.language for row in rows})
    before = counts_of([pair.baseline for pair in pairs], metric)
    after = counts_of([pair.candidate for pair in pairs], metric)
    # Speakers may be few where utterances were asked for, or where they are the groups.
    has_units = column == "speaker" or resampling.resample_by is ResampleBy.utterance
    return ColumnChange(
        column,
        {name: found[name] for name in order_of_groups(parting, deltas)},
        spread_of(rows, parting, (after[0] - before[0], before[1]), resampling.resample_by),
        [] if has_units else [name for name, who in speakers.items() if len(who) == 1 and None not in who],
        parting.note,
    )


def _rows_that_state(pairs: Sequence[Pair], column: str) -> list[UtteranceScore]:
    """Of each pair the candidate's row, or the baseline's where that alone states the column."""
    return [pair.baseline if value_of(pair.candidate, column) is None else pair.candidate for pair in pairs]
