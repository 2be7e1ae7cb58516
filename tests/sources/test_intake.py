"""Rows in, utterances out, and the difference by reason: the same noun for every format, list or stream."""

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_table, load_utterances, stream_utterances
from tests.helpers_sources import write_rows

ROWS = [
    {"id": name, "audio": f"wav/{'abc'[i % 3]}.wav", "text": name, "language": language, "split": split}
    for i, (name, language, split) in enumerate(
        [
            ("u0", "en", "train"),
            ("u1", "en", "test"),
            ("u2", "de", "train"),
            ("u3", "en", ""),
            ("u4", "en", "dev"),
            ("u5", "en", "test"),
        ]
    )
]


def stored(folder: Path, kind: str, rows: list[dict[str, Any]]) -> str:
    """The rows as a file of one format, beside wav/."""
    path = folder / f"m.{kind}"
    if kind == "jsonl":
        return write_rows(path, *rows)
    if kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_rows_in_and_out_add_up_in_every_format(folder: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    path = stored(folder, kind, ROWS)
    with caplog.at_level(logging.INFO):
        table = load_table(SourceConfig(path=path, split="train", only={"id": "re:u[01]"}), "main")
    assert [u.id for u in table] == ["u0"]
    left_out = {"of split test": 2, "without id like re:u[01]": 1, "with no split named": 1, "of split dev": 1}
    assert table.intake.record() == {"num_rows": 6, "num_taken": 1, "left_out": left_out}
    assert (
        "source main: 6 rows read, 1 taken; left out: 2 of split test, 1 without id like re:u[01], 1 with no split named, "
        "1 of split dev" in caplog.messages
    )
    whole = load_table(SourceConfig(path=path), "main", is_one_split=False)
    assert whole.intake.record() == {"num_rows": 6, "num_taken": 6, "left_out": {}}


def test_blocks_and_rows_count_alike_and_a_cut_reading_says_where_it_ended(folder: Path) -> None:
    path = stored(folder, "jsonl", ROWS)
    assert load_table(SourceConfig(path=path, split="test"), "main").intake.record() == {
        "num_rows": 6,
        "num_taken": 2,
        "left_out": {"of split train": 2, "with no split named": 1, "of split dev": 1},
    }
    cut = load_table(SourceConfig(path=path, split="test", max_utterances=1), "main")
    assert cut.intake.record() == {
        "num_rows": 2,
        "num_taken": 1,
        "left_out": {"of split train": 1},
        "ended": "reading ended at max_utterances=1",
    }


def test_what_is_set_aside_in_training_is_counted_and_rows_of_no_split_stay(folder: Path) -> None:
    table = load_table(SourceConfig(path=stored(folder, "jsonl", ROWS)), "main", is_trained_on=True)
    assert [u.id for u in table] == ["u0", "u2", "u3"]
    assert table.intake.record() == {
        "num_rows": 6,
        "num_taken": 3,
        "left_out": {"of split test": 2, "of split dev": 1},
    }


def test_a_row_of_an_unknown_language_stops_reading_or_is_handed_back(folder: Path) -> None:
    path = stored(folder, "jsonl", [*ROWS[:2], ROWS[2] | {"language": "nb"}, ROWS[3] | {"language": "Klingon"}])
    with pytest.raises(DataError, match=r"m.jsonl:3: unknown language 'nb' \(Norwegian, .*\); use one of Chinese"):
        load_utterances(SourceConfig(path=path), "main")
    intake = load_table(SourceConfig(path=path), "main", takes_refused=True).intake
    assert [(one.utterance.id, one.utterance.origin[-9:], one.reason) for one in intake.refused] == [
        ("u2", "m.jsonl:3", "unknown language 'nb' (Norwegian, a language the model was not trained on)"),
        ("u3", "m.jsonl:4", "unknown language 'Klingon'"),
    ]
    assert intake.record() == {"num_rows": 4, "num_taken": 2, "left_out": {"refused as they stand": 2}}


# -- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_sets_the_same_rows_aside_and_counts_them(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = stored(folder, "jsonl", ROWS)
    stream = stream_utterances(SourceConfig(path=path, streaming=True), "main", key="data.train.main")
    assert [u.id for u in stream.take(4)] == ["u0", "u2", "u3", "u0"]
    assert caplog.messages == [
        f"source main: it holds rows of test ({path}:2); only those of train, and of no split, are trained on; "
        "data.train.main.split=NAME chooses others, data.train.main.columns.split= (empty) takes all"
    ]
    left_out = {"of split test": 2, "of split dev": 1}  # of the first pass; the second has read one row
    assert stream.intake.record() == {"num_rows": 7, "num_taken": 4, "left_out": left_out}
    for settings, ids in (({"split": "test"}, ["u1", "u3"]), ({"columns": {"split": ""}}, ["u0", "u1"])):
        chosen = stream_utterances(SourceConfig(path=path, streaming=True, **settings), "main")
        assert [u.id for u in chosen.take(2)] == ids


def test_a_stream_without_a_row_of_train_says_what_it_holds(folder: Path) -> None:
    path = stored(folder, "jsonl", [ROWS[1], ROWS[4]])
    stream = stream_utterances(SourceConfig(path=path, streaming=True), "main", key="data.train.main")
    with pytest.raises(
        DataError,
        match=r"source main: no row is of split 'train', which alone .* it holds test, dev: set data.train.main.split=NAME",
    ):
        stream.take(1)


def test_a_stream_that_began_with_all_rows_goes_on_with_all_of_them(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = SourceConfig(path=stored(folder, "jsonl", ROWS), streaming=True)
    began = stream_utterances(SourceConfig(path=config.path, streaming=True, columns={"split": ""}), "main")
    began.take(1)
    state = began.state_dict()
    del state["main_split"]  # as older code wrote it
    with caplog.at_level(logging.INFO):
        resumed = stream_utterances(config, "main")
        resumed.load_state_dict(state)
    assert [u.id for u in resumed.take(5)] == ["u1", "u2", "u3", "u4", "u5"]
    assert "this run began before rows of other splits than train were set aside; it goes on with all of" in caplog.text
    again = stream_utterances(config, "main")
    again.load_state_dict(resumed.state_dict())
    assert [u.id for u in again.take(2)] == ["u0", "u1"]


def row(number: int, split: str) -> dict[str, Any]:
    return {"id": f"u{number}", "audio": "wav/a.wav", "text": "x", "language": "en", "split": split}


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_draw_by_a_seed_keeps_the_order_and_larger_draws_hold_the_smaller(folder: Path, kind: str) -> None:
    rows = [row(n, "test" if n % 10 == 0 else "train") for n in range(50)]
    path = stored(folder, kind, rows)
    whole = [u.id for u in load_table(SourceConfig(path=path, split="train"), "main")]
    drawn: dict[int, list[str]] = {}
    for number in (5, 15, 45, 60):
        table = load_table(SourceConfig(path=path, split="train", max_utterances=number, sample_seed=3), "main")
        drawn[number] = [u.id for u in table]
        assert drawn[number] == [one for one in whole if one in set(drawn[number])]
    assert len(drawn[5]) == 5 and len(drawn[15]) == 15 and drawn[45] == drawn[60] == whole
    assert set(drawn[5]) < set(drawn[15])
    assert drawn[15] != whole[:15]
    other = load_table(SourceConfig(path=path, split="train", max_utterances=15, sample_seed=4), "main")
    assert [u.id for u in other] != drawn[15]
    assert other.intake.record() == {
        "num_rows": 50,
        "num_taken": 15,
        "left_out": {"of split test": 5, "not among the 15 drawn by sample_seed=4": 30},
    }


def test_a_draw_for_training_is_of_what_is_trained_on(folder: Path) -> None:
    """Rows of the test set are set aside first, so that as many are drawn as were asked for."""
    rows = [row(n, "train" if n % 5 else "test") for n in range(50)]
    source = SourceConfig(path=stored(folder, "jsonl", rows), max_utterances=20, sample_seed=0)
    drawn = load_table(source, "main", is_trained_on=True)
    assert len(drawn) == 20 and {u.split for u in drawn} == {"train"}


def test_a_stream_is_not_drawn_from() -> None:
    with pytest.raises(ConfigError, match=r"source.sample_seed=0 with streaming=true: .*; set streaming=false, or"):
        SourceConfig(path="x.jsonl", streaming=True, max_utterances=3, sample_seed=0)
