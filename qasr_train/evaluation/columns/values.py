"""Owns which group of a column an utterance is of: what rows say of themselves, columns of the manifest, numbers cut into bins.

Input: scored rows, a column's name, edges of bins. Output: a `Parting`; one sentence where a column parts nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qasr_train.errors import ConfigError
from qasr_train.evaluation.scoring.rates import primary_counts
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.text.tokens import tokens

MAX_GROUPS = 20  # more values are shown as the largest of them, and the others together
NOT_STATED = "not stated"
_QUARTERS = (0.25, 0.5, 0.75)


def _speaking_rate(row: UtteranceScore) -> float | None:
    """Words of the reference a second; characters in languages without spaces."""
    duration_s = row.prediction.duration_s
    if not duration_s or not row.counts.normalized_reference:
        return None
    return round(len(tokens(row.counts.normalized_reference, row.prediction.language)) / duration_s, 3)


# What every row says of itself; any other name is a column of the manifest.
OWN: dict[str, Callable[[UtteranceScore], str | float | None]] = {
    "set": lambda row: row.prediction.set,
    "role": lambda row: row.prediction.role,
    "language": lambda row: row.prediction.language,
    "speaker": lambda row: row.prediction.speaker,
    "predicted_language": lambda row: row.prediction.predicted_language,
    "duration_s": lambda row: row.prediction.duration_s,
    "speaking_rate": _speaking_rate,
}


@dataclass(frozen=True)
class By:
    """The columns that rates are given by. edges: of the bins of those that hold numbers; others are cut where they need it."""

    names: Sequence[str] = ()
    edges: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def carried(self) -> tuple[str, ...]:
        """Of them, the columns that predictions must carry."""
        return tuple(name for name in self.names if name not in OWN)

    def check(self) -> None:
        """Refuse (ConfigError) a column named twice, bins of a column that is not asked for, edges that do not rise."""
        for name in self.names:
            if list(self.names).count(name) > 1:
                raise ConfigError(f"by: {name!r} stands twice; name each column once")
        for name, edges in self.edges.items():
            if name not in self.names:
                raise ConfigError(f"bins.{name}: by={list(self.names)} does not name that column; add it there")
            if not edges or list(edges) != sorted(set(edges)):
                raise ConfigError(f"bins.{name}={list(edges)}: expected rising numbers, the edges between bins")


@dataclass(frozen=True, slots=True)
class Parting:
    """Rows by a column.

    column: its name. groups: of each row, None where it states none; as they are shown: the largest, the others together.
    values: of each row before others were put together. order: the groups as shown, bins rising, else as first seen.
    are_bins: whether they are of numbers. note: what a reader must know of how they were made.
    """

    column: str
    groups: list[str | None]
    values: list[str | None]
    order: list[str]
    are_bins: bool
    note: str


def part_rows(rows: Sequence[UtteranceScore], column: str, edges: Sequence[float] | None = None) -> Parting:
    """Part the rows by a column.

    Args:
        edges: of bins; None: a column of more than MAX_GROUPS different numbers is cut into quarters, but for speakers.

    Raises:
        ConfigError: no row states the column; most rows have a value of their own; bins of what is no number.
    """
    stated = [value_of(row, column) for row in rows]
    known = {value for value in stated if value is not None}
    if not known:
        raise ConfigError(_no_row_has(rows, column))
    if edges is not None or (len(known) > MAX_GROUPS and column != "speaker" and _are_numbers(known)):
        return _bins(column, stated, edges)
    check_parts(column, stated)
    return _largest(column, rows, [None if value is None else str(value) for value in stated])


def check_parts(column: str, stated: Sequence[str | float | None]) -> None:
    """Refuse (ConfigError) a column in which most rows have a value of their own, unless it is of numbers."""
    values = [value for value in stated if value is not None]
    known = set(values)
    if len(known) > MAX_GROUPS and 2 * len(known) > len(values) and (column == "speaker" or not _are_numbers(known)):
        raise ConfigError(
            f"by=[{column}]: {len(known):,} values in {len(values):,} rows, so most stand alone; name a column that parts "
            "the rows into groups"
        )


def value_of(row: UtteranceScore, column: str) -> str | float | None:
    """What a row states of a column; None: nothing."""
    return OWN[column](row) if column in OWN else row.prediction.columns.get(column)


def _largest(column: str, rows: Sequence[UtteranceScore], values: list[str | None]) -> Parting:
    lengths: dict[str, int] = defaultdict(int)
    for row, value in zip(rows, values, strict=True):
        if value is not None:
            lengths[value] += primary_counts(row)[1] if row.is_scored else 0
    if len(lengths) <= MAX_GROUPS:
        return Parting(column, values, values, list(lengths), False, "")
    kept = sorted(lengths, key=lambda value: -lengths[value])[:MAX_GROUPS]
    others = f"{len(lengths) - MAX_GROUPS:,} others together"
    shown = [value if value is None or value in kept else others for value in values]
    note = f"Of {len(lengths):,} values the {MAX_GROUPS} with the most reference text are shown, the others as one row."
    return Parting(column, shown, values, [*kept, others], False, note)


def _bins(column: str, stated: Sequence[str | float | None], edges: Sequence[float] | None) -> Parting:
    numbers = [None if value is None else _number(column, value) for value in stated]
    note = ""
    if edges is None:
        quarters = np.quantile([one for one in numbers if one is not None], _QUARTERS)
        edges = sorted({float(f"{edge:.3g}") for edge in quarters})
        note = f"Cut into quarters; bins.{column}=[...] sets other edges."
    names = [f"{edge:g}" for edge in edges]
    labels = [f"under {names[0]}", *map("{} to under {}".format, names[:-1], names[1:]), f"{names[-1]} or more"]
    groups = [None if one is None else labels[sum(one >= edge for edge in edges)] for one in numbers]
    return Parting(column, groups, groups, [label for label in labels if label in groups], True, note)


def _are_numbers(values: set[str | float]) -> bool:
    try:
        return all(np.isfinite(float(value)) for value in values)
    except ValueError:
        return False


def _number(column: str, value: str | float) -> float:
    if not _are_numbers({value}):
        raise ConfigError(f"bins.{column}: a row has {value!r:.60}, which is no number; leave bins.{column} out")
    return float(value)


def _no_row_has(rows: Sequence[UtteranceScore], column: str) -> str:
    carried = sorted({name for row in rows for name in row.prediction.columns})
    own = [name for name in OWN if any(value_of(row, name) is not None for row in rows)]
    to_do = "" if column in OWN else "; transcripts carry the columns that evaluate.py is given by by=[...]"
    return f"by=[{column}]: no row states it; there are {', '.join([*own, *carried])}{to_do}"
