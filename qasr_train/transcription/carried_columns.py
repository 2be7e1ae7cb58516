"""Owns the columns of a manifest that predictions carry though no field of theirs is made for them, such as gender or accent.

Input: a row of predictions, or a predictions.jsonl and what its rows are to carry. Output: column -> text; the file, rewritten.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qasr_train.errors import DataError
from qasr_train.files import write_rows
from qasr_train.manifest import read_jsonl
from qasr_train.sources.columns import stated_texts


def parse_columns(row: Mapping[str, Any], where: str, names: Sequence[str]) -> dict[str, str]:
    """What a row carries in `columns`, and those of its own keys that are asked for; what is null or "" is left out.

    Raises:
        DataError: a value is neither text nor a number; begins with `where`.
    """
    carried = row.get("columns")
    if carried is not None and not isinstance(carried, dict):
        raise DataError(f"{where}: `columns` is {carried!r:.80}; expected an object, column: value")
    return stated_texts({name: row[name] for name in names if name in row} | (carried or {}), where)


def record_columns(path: str | Path, columns: Mapping[tuple[str, str], dict[str, str]]) -> None:
    """Make the rows of a predictions.jsonl carry these columns, by (set, id) (of a chunk, its recording's), all or nothing."""
    path = Path(path)
    rows = [row for _, row in read_jsonl(path)]
    for row in rows:
        if carried := columns.get((row["set"], str(row.get("parent_id") or row["id"]))):
            row["columns"] = carried
    write_rows(path, rows, is_synced=True)
