"""Owns the columns of a source that an Utterance has no field for, such as gender or accent, as text by the utterance's id.

Input: a `SourceConfig`, names of columns. Output: id -> column -> value, for the rows that state one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from qasr_train.sources.rows import NoSuchColumnError
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_table


def read_columns(
    source: SourceConfig, columns: Sequence[str], name: str, *, key: str
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """(what the rows state of these columns, by id; the columns that no row has).

    Args:
        name: of the source, as `load_table` takes it, so that ids are the same.
        key: where the settings of the source stand, for messages.

    Raises:
        DataError: the source cannot be read; a value is neither text nor a number.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    missing = []
    for column in columns:
        # Read in the place of the speaker: every format then gives any column, and the ids stay those of the utterances.
        asked = replace(source, columns={**source.columns, "speaker": column})
        if "speaker" in source.only:
            only = {field: pattern for field, pattern in source.only.items() if field != "speaker"}
            asked = replace(asked, only=only, max_utterances=None, sample_seed=None)
        try:
            table = load_table(asked, name, is_one_split=False, needs_audio=False, key=key)
        except NoSuchColumnError:
            missing.append(column)
            continue
        for row in table:
            if row.speaker is not None:
                found[row.id][column] = row.speaker
    return dict(found), missing
