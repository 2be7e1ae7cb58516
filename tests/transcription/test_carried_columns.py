"""Columns that predictions carry: as text, of chunks those of their recording, and kept where chunks agree."""

import json
from pathlib import Path

import pytest

from qasr_train.errors import DataError
from qasr_train.transcription.carried_columns import parse_columns, record_columns
from qasr_train.transcription.predictions import load_predictions, parse_prediction, prediction_to_row


def test_values_are_text_and_what_states_nothing_is_left_out() -> None:
    row = {"native": True, "age": 30, "zone": "", "accent": None, "home": "here", "columns": {"snr_db": 12.5}}
    assert parse_columns(row, "f:1", ["native", "age", "zone", "accent"]) == {
        "native": "true",
        "age": "30",
        "snr_db": "12.5",
    }


def test_columns_that_are_no_object_are_refused() -> None:
    with pytest.raises(DataError, match=r"f:1: `columns` is \['a'\]; expected an object"):
        parse_columns({"columns": ["a"]}, "f:1", [])


def test_a_prediction_is_read_as_it_was_written() -> None:
    prediction = parse_prediction({"text": "a", "pred_text": "a", "columns": {"zone": "north"}}, "f:1")
    assert prediction.columns == {"zone": "north"}
    assert prediction_to_row(prediction)["columns"] == {"zone": "north"}


def test_chunks_carry_what_their_recording_states(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    shared = {"set": "s", "text": "a b", "pred_text": "a", "parent_id": "call"}
    rows = [shared | {"id": f"c{i}", "chunk_index": i} for i in range(2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    record_columns(path, {("s", "call"): {"zone": "north"}, ("s", "c0"): {"zone": "south"}})
    [merged] = load_predictions(path).predictions
    assert (merged.id, merged.columns) == ("call", {"zone": "north"})
