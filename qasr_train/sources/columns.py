"""Owns the columns of a source that an Utterance has no field for, such as gender or accent, as text by the utterance's id.

Input: a `SourceConfig`, names of columns, ids of utterances. Output: id -> column -> value.
"""

from collections.abc import Collection, Sequence
from typing import Any

from qasr_train.errors import DataError
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import open_source, row_reader


def read_columns(
    source: SourceConfig, columns: Sequence[str], ids: Collection[str], name: str, *, key: str
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """(what the rows of these ids state of these columns, by id, {} where none of them; the columns that no such row has).

    The source is read once, and no further than the last of the ids.

    Args:
        name: of the source, as `load_table` takes it, so that ids are the same.
        key: where the settings of the source stand, for messages.

    Raises:
        DataError: the source cannot be read; a value is neither text nor a number.
    """
    opened = open_source(source)
    reader = row_reader(opened, source, name, has_unique_ids=True, key=key)
    found: dict[str, dict[str, str]] = {}
    seen: set[str] = set()
    for number, (where, row) in enumerate(opened.rows(), start=1):
        # Every row is given its id, also those that are not wanted: names of files are numbered where they repeat.
        utterance_id = reader(row, where, number).id
        if utterance_id in ids:
            values = {column: row[column] for column in columns if column in row}
            seen |= values.keys()
            found[utterance_id] = stated_texts(values, where)
        if len(found) == len(ids):
            break
    return found, [column for column in columns if column not in seen]


def stated_texts(values: dict[str, Any], where: str) -> dict[str, str]:
    """Values of columns as text; what is null or "" states nothing and is left out.

    Raises:
        DataError: a value is neither text nor a number; begins with `where`.
    """
    stated = {name: value for name, value in values.items() if value is not None and value != ""}
    for name, value in stated.items():
        if not isinstance(value, str | int | float):
            raise DataError(f"{where}: column {name!r} is {value!r:.80}; expected text or a number")
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in stated.items()}
