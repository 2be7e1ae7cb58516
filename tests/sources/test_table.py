"""A table of utterances behaves as a list."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_table
from qasr_train.sources.table import UNKNOWN, TableBuilder, languages_of
from tests.helpers import utterance
from tests.helpers_sources import write_rows


def test_a_table_is_taken_from_and_iterated_like_a_list():
    rows = [utterance(id=f"u{i}", duration_s=None if i == 2 else 0.5 * i, context="c" if i else None) for i in range(5)]
    builder = TableBuilder()
    for row in rows:
        builder.add(row)
    table = builder.finish()
    assert list(table) == rows
    assert [u.id for u in table[1:4:2]] == ["u1", "u3"]
    assert table.take(np.array([4, 0, 4]))[2] == rows[4]
    assert table[-1] == rows[4]
    assert np.isnan(table.durations_s[2])
    assert table.take(np.array([3])).column("id").to_pylist() == ["u3"]
    assert table.with_durations(np.full(5, 9.0))[2].duration_s == 9.0
    with pytest.raises(IndexError):
        table[5]


def test_a_table_in_another_process_is_the_same(folder: Path):
    rows = [{"audio": f"wav/{name}.wav", "text": name, "language": "en", "duration_s": 1.5} for name in "abc"]
    table = load_table(SourceConfig(path=write_rows(folder / "m.jsonl", *rows)), "main")
    assert list(pickle.loads(pickle.dumps(table))) == list(table)


def test_languages_of_some_rows_of_a_table_that_states_none():
    builder = TableBuilder()
    for number in range(4):
        builder.add(utterance(id=f"u{number}", language=None))
    names, codes = languages_of(builder.finish().take(np.array([3, 1])))
    assert (names, codes.tolist()) == ([UNKNOWN], [0, 0])
