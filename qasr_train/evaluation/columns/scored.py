"""Owns the rates of one run by a column: every figure of each group, and whether groups differ by more than chance.

Input: the rows of a run, `By`. Output: a `ColumnScores` for each column, a part of scores.json.
"""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qasr_train.evaluation.columns.spread import Spread, spread_test
from qasr_train.evaluation.columns.values import NOT_STATED, By, Parting, part_rows
from qasr_train.evaluation.columns.words import WorseWord, worse_words
from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import GroupScore, Resampling
from qasr_train.evaluation.scoring.rates import Ratio, counts_of, primary_metric_of
from qasr_train.evaluation.scoring.significance import ResampleBy, independent_units
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.text.normalize import Normalizer

MIN_SPEAKERS = 5  # of fewer a group is small: what it shows may be its speakers


@dataclass(frozen=True, slots=True)
class ColumnScores:
    """Figures by the groups of a column, the worst rate first (bins rising), rows that state none last.

    num_speakers: named, by group; 0: none is. spread: of the groups' rates. words: heard worse in one group than in the others.
    """

    column: str
    groups: dict[str, GroupScore]
    num_speakers: dict[str, int]
    spread: Spread
    words: list[WorseWord]
    note: str

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and None."""
        return {
            "column": self.column,
            "note": self.note,
            "spread": asdict(self.spread),
            "groups": [
                {"group": name, "num_speakers": self.num_speakers[name], **group.to_json()}
                for name, group in self.groups.items()
            ],
            "worse_words": [asdict(word) for word in self.words],
        }


def is_small(column: ColumnScores, group: str) -> bool:
    """Whether a group has so few speakers (of none named, utterances) that its rate may be theirs and not the group's."""
    if column.column == "speaker" or group == NOT_STATED:
        return False
    interval = column.groups[group].primary_interval
    return (column.num_speakers[group] or (interval.num_units if interval else 0)) < MIN_SPEAKERS


def column_scores(
    rows: Sequence[UtteranceScore],
    by: By,
    groups: Groups[UtteranceScore, GroupScore],
    normalizer: Normalizer,
    resampling: Resampling,
) -> list[ColumnScores]:
    """The rates by each column asked for.

    Args:
        groups: measures parts of the rows.

    Raises:
        ConfigError: as `part_rows`.
    """
    return [
        _column_scores(rows, part_rows(rows, name, by.edges.get(name)), groups, normalizer, resampling)
        for name in by.names
    ]


def _column_scores(
    rows: Sequence[UtteranceScore],
    parting: Parting,
    groups: Groups[UtteranceScore, GroupScore],
    normalizer: Normalizer,
    resampling: Resampling,
) -> ColumnScores:
    label = {row.key: group or NOT_STATED for row, group in zip(rows, parting.groups, strict=True)}
    scores = groups.by(lambda row: label[row.key])
    places = order_of_groups(parting, {name: group.primary_percent for name, group in scores.items()})
    speakers: dict[str, set[str]] = {name: set() for name in places}
    for row in rows:
        if row.prediction.speaker is not None and row.is_scored:
            speakers[label[row.key]].add(row.prediction.speaker)
    counts = counts_of(rows, primary_metric_of({row.prediction.language for row in rows if row.is_scored}))
    return ColumnScores(
        parting.column,
        {name: scores[name] for name in places},
        {name: len(speakers[name]) for name in places},
        spread := spread_of(rows, parting, counts, resampling.resample_by),
        # Where groups differ no more than chance makes them, so do their words.
        worse_words(rows, parting.groups, normalizer) if spread.is_shown(resampling.confidence) else [],
        parting.note,
    )


def order_of_groups(parting: Parting, percents: dict[str, float | None]) -> list[str]:
    """The groups as tables show them: bins rising, else the worst rate first; rows that state none last."""
    known = [name for name in percents if name != NOT_STATED]
    if parting.are_bins:
        known.sort(key=parting.order.index)
    else:
        known.sort(key=lambda name: (-(percents[name] or 0.0), name))
    return known + [NOT_STATED] * (NOT_STATED in percents)


def spread_of(rows: Sequence[UtteranceScore], parting: Parting, counts: Ratio, resample_by: ResampleBy) -> Spread:
    """Whether the groups differ by more than chance, within sets and languages; rows that are not scored do not count.

    Args:
        counts: (errors, lengths) of each row.
    """
    used = [place for place, row in enumerate(rows) if row.is_scored and parting.values[place] is not None]
    # Speakers are groups here, so what is independent is what each of them said.
    units_of = ResampleBy.utterance if parting.column == "speaker" else resample_by
    units = independent_units([rows[place].prediction.speaker for place in used], units_of)
    errors, lengths = (one[used] for one in counts)
    values = [str(parting.values[place]) for place in used]
    if not used:
        return Spread(None, "no row counts", units.unit, 0)
    return spread_test((errors, lengths), values, units, [_stratum(rows[place], parting.column) for place in used])


def _stratum(row: UtteranceScore, column: str) -> Hashable:
    """What an utterance is compared within: its set and language, but for the column itself."""
    parts = {"set": row.prediction.set, "language": row.prediction.language}
    return tuple(value for name, value in parts.items() if name != column)
