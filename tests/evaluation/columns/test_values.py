"""Columns: which group a row is of, numbers in bins, and one sentence where a column parts nothing."""

import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.columns.values import By, part_rows
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


def rows_of(*fields):
    made = [
        Prediction(
            None, one.get("duration_s"), None, one.get("text", "a b"), "a b", id=str(i), set="s", language="English"
        )
        for i, one in enumerate(fields)
    ]
    for prediction, one in zip(made, fields, strict=True):
        prediction.speaker = one.get("speaker")
        prediction.columns = one.get("columns", {})
    return score_predictions(made, get_normalizer("none")).rows


def test_a_column_of_the_manifest_and_rows_that_state_none():
    rows = rows_of({"columns": {"zone": "north"}}, {}, {"columns": {"zone": "south"}})
    assert part_rows(rows, "zone").groups == ["north", None, "south"]


def test_numbers_stand_in_the_bin_that_begins_with_them():
    rows = rows_of(*({"duration_s": value} for value in (1.0, 2.0, 9.9, 10.0, None)))
    parting = part_rows(rows, "duration_s", [2, 10])
    assert parting.groups == ["under 2", "2 to under 10", "2 to under 10", "10 or more", None]
    assert parting.order == ["under 2", "2 to under 10", "10 or more"]


def test_many_numbers_are_cut_into_quarters_and_said_so():
    rows = rows_of(*({"columns": {"snr_db": str(value)}} for value in range(101)))
    parting = part_rows(rows, "snr_db")
    assert parting.order == ["under 25", "25 to under 50", "50 to under 75", "75 or more"]
    assert "bins.snr_db" in parting.note


def test_few_numbers_are_groups_as_they_stand():
    rows = rows_of({"columns": {"grade": "1"}}, {"columns": {"grade": "2"}})
    assert part_rows(rows, "grade").groups == ["1", "2"]


def test_speaking_rate_is_words_of_the_reference_a_second():
    rows = rows_of(
        {"text": "one two three", "duration_s": 2.0},
        {"text": "one", "duration_s": 0.0},
        {"text": "", "duration_s": 1.0},
    )
    assert part_rows(rows, "speaking_rate", [1.5]).groups == ["1.5 or more", None, None]


def test_of_many_values_the_largest_are_shown_and_the_others_together():
    fields = [{"speaker": f"p{i:02}", "text": "a b c" if i < 20 else "a"} for i in range(23) for _ in range(3)]
    parting = part_rows(rows_of(*fields), "speaker")
    assert parting.groups[:3] == ["p00"] * 3
    assert set(parting.groups[60:]) == {"3 others together"}
    assert len(set(parting.values)) == 23  # the test of spread takes each
    assert "Of 23 values the 20" in parting.note


@pytest.mark.parametrize(
    ("column", "edges", "sentence"),
    [
        (
            "zone",
            None,
            r"by=\[zone\]: no row states it; there are set, language, speaker, duration_s, speaking_rate, note",
        ),
        ("role", None, r"by=\[role\]: no row states it; there are "),
        ("note", None, r"by=\[note\]: 30 values in 30 rows, so most stand alone"),
        ("note", [1.0], r"bins.note: a row has 'n0', which is no number"),
    ],
)
def test_a_column_that_parts_nothing_is_one_sentence(column, edges, sentence):
    rows = rows_of(*({"columns": {"note": f"n{i}"}, "speaker": "p", "duration_s": 1.0} for i in range(30)))
    with pytest.raises(ConfigError, match=sentence):
        part_rows(rows, column, edges)


@pytest.mark.parametrize(
    ("names", "edges", "sentence"),
    [
        (["zone", "zone"], {}, "by: 'zone' stands twice"),
        (["zone"], {"age": [1.0]}, r"bins.age: by=\['zone'\] does not name that column"),
        (["age"], {"age": [5.0, 1.0]}, r"bins.age=\[5.0, 1.0\]: expected rising numbers"),
        (["age"], {"age": []}, r"bins.age=\[\]: expected rising numbers"),
    ],
)
def test_settings_are_checked(names, edges, sentence):
    with pytest.raises(ConfigError, match=sentence):
        By(names, edges).check()
