"""Rates by column in a scored run: figures by hand and by jiwer, the order, small groups, words, the files and the page."""

import json
import random
from collections import defaultdict
from dataclasses import replace

import jiwer
import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.columns.scored import is_small
from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.report.content import scores_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.report.tables import score_summary
from qasr_train.evaluation.scoring.run_files import load_run, scores_row
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.jobs.score import score_saved
from qasr_train.jobs.settings.score import ScoreConfig
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


def prediction(number, text, heard, *, speaker=None, **columns):
    return Prediction(
        None, 2.0, None, text, heard, id=f"u{number}", set="s", language="English", speaker=speaker, columns=columns
    )


def scored(predictions, *names, **edges):
    return replace(score_predictions(predictions, get_normalizer("none")), by=By(names, edges))


def drawn(num_speakers=12, num_each=10):
    """Speakers of two zones; in the south every fifth word is another, and `tea` is never heard."""
    rng = random.Random(4)
    made = []
    for number in range(num_speakers * num_each):
        speaker = number % num_speakers
        zone = "north" if speaker < num_speakers // 2 else "south"
        said = [*rng.choices(["ba", "be", "bi", "bo", "bu"], k=9), "tea"]
        heard = [rng.choice("xyz") if zone == "south" and rng.random() < 0.2 else word for word in said]
        heard = [word for word in heard if zone == "north" or word != "tea"]
        made.append(prediction(number, " ".join(said), " ".join(heard), speaker=f"p{speaker}", zone=zone))
    return made


def test_groups_are_pooled_and_the_worst_stands_first_rows_that_state_none_last():
    run = scored(
        [
            prediction(1, "a b c d", "a b c d", zone="north"),
            prediction(2, "a b", "a x", zone="south"),
            prediction(3, "a b c d", "a b c", zone="south"),
            prediction(4, "a b", "x y"),
        ],
        "zone",
    )
    [column] = run.columns
    # South: 1 substitution and 1 deletion of 6 words.
    assert {name: group["wer_percent"] for name, group in column.groups.items()} == {
        "south": 33.33,
        "north": 0.0,
        "not stated": 100.0,
    }
    assert list(column.groups) == ["south", "north", "not stated"]
    assert column.spread.points == pytest.approx(100 / 3, abs=1e-3)  # who states none is in no group


def test_every_group_has_the_rate_that_jiwer_gives():
    predictions = drawn()
    [column] = scored(predictions, "zone").columns
    texts = defaultdict(lambda: ([], []))
    for one in predictions:
        texts[one.columns["zone"]][0].append(one.text)
        texts[one.columns["zone"]][1].append(one.pred_text)
    for zone, (references, hypotheses) in texts.items():
        assert column.groups[zone]["wer_percent"] == round(100 * jiwer.wer(references, hypotheses), 2)


def test_a_zone_that_is_served_worse_is_told_and_its_words_named():
    [column] = scored(drawn(), "zone").columns
    assert column.spread.p_value < 0.01
    assert column.spread.worse["south"] < 0.01 < column.spread.worse["north"]
    first = column.words[0]
    assert (first.word, first.group) == ("tea", "south")
    assert (first.num_wrong, first.num_spoken, first.num_wrong_elsewhere, first.num_spoken_elsewhere) == (60, 60, 0, 60)


def test_a_group_of_few_speakers_is_called_small():
    [column] = scored(drawn(num_speakers=6), "zone").columns
    assert [is_small(column, name) for name in column.groups] == [True, True]  # three speakers each, thirty utterances
    [column] = scored(drawn(num_speakers=12), "zone").columns
    assert [is_small(column, name) for name in column.groups] == [False, False]


def test_speakers_are_groups_of_utterances():
    [column] = scored(drawn(), "speaker").columns
    assert column.spread.unit == "utterance"
    assert len(column.groups) == 12


def test_text_json_markdown_and_html_say_the_same():
    run = scored(drawn(), "zone", "duration_s")
    report = scores_report(run)
    for text in (score_summary(run, "out"), render_markdown(report), render_html(report)):
        assert "By zone" in text
        assert "p worse" in text
        assert "Words worse by zone" in text
        assert "120/120" not in text
        assert "60/60" in text
    zone = scores_row(run)["columns"][0]
    assert (zone["column"], [group["group"] for group in zone["groups"]]) == ("zone", ["south", "north"])
    assert zone["groups"][0]["num_speakers"] == 6
    assert zone["spread"]["num_units"] == 12
    assert json.loads(json.dumps(zone)) == zone


def test_without_by_nothing_is_said_of_columns():
    run = scored(drawn())
    assert run.columns == []
    assert "columns" not in scores_row(run)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of_a_system(**columns):
    return [
        {"id": f"u{i}", "language": "English", "text": "a b", "pred_text": "a b" if i % 2 else "a x"}
        | {name: values[i] for name, values in columns.items()}
        for i in range(4)
    ]


def test_columns_beside_foreign_predictions_are_kept_where_asked_for_and_no_others(tmp_path):
    rows = rows_of_a_system(native=[True, False, True, None], age=[20, 30, 20, 30], address=["here"] * 4)
    saved = write_lines(tmp_path / "p.jsonl", rows)
    run = score_saved(ScoreConfig(str(saved), str(tmp_path / "out"), "none", by=["native", "age"]))
    assert {name: group["wer_percent"] for name, group in run.columns[0].groups.items()} == {
        "true": 50.0,
        "false": 0.0,
        "not stated": 0.0,
    }
    assert "here" not in (tmp_path / "out" / "utterances.jsonl").read_text()
    # A comparison reads them from there.
    again = load_run(tmp_path / "out")
    assert again.rows[0].prediction.columns == {"native": "true", "age": "20"}


def test_columns_may_come_from_the_manifest_by_id(tmp_path):
    saved = write_lines(tmp_path / "p.jsonl", rows_of_a_system())
    manifest = [
        {"id": f"u{i}", "audio": f"{i}.wav", "text": "a b", "zone": ["north", "south"][i % 2]} for i in range(3)
    ]
    config = ScoreConfig(str(saved), str(tmp_path / "out"), "none", by=["zone"])
    config.manifest = str(write_lines(tmp_path / "m.jsonl", manifest))
    run = score_saved(config)
    assert list(run.columns[0].groups) == ["north", "south", "not stated"]
    assert any("1 of 4 predictions have no row in" in warning for warning in run.warnings)
    config.by = ["zones"]
    with pytest.raises(
        DataError, match=r"by=\[zones\]: no row of .*m.jsonl with the id of a prediction has that column"
    ):
        score_saved(config)


def test_a_manifest_whose_rows_state_nothing_is_not_said_to_be_another(tmp_path):
    saved = write_lines(tmp_path / "p.jsonl", rows_of_a_system())
    config = ScoreConfig(str(saved), str(tmp_path / "out"), "none", by=["zone"])
    row = {"id": "u0", "audio": "0.wav", "text": "a b"}
    config.manifest = str(write_lines(tmp_path / "m.jsonl", [row, row | {"id": "other", "zone": "north"}]))
    with pytest.raises(
        DataError, match=r"by=\[zone\]: no row of .*m.jsonl with the id of a prediction has that column"
    ):
        score_saved(config)
    config.manifest = str(write_lines(tmp_path / "m.jsonl", [row | {"id": "other", "zone": "north"}]))
    with pytest.raises(DataError, match="no prediction has the id of one of its rows"):
        score_saved(config)


def test_what_no_row_states_is_refused_before_anything_is_written(tmp_path):
    saved = write_lines(tmp_path / "p.jsonl", rows_of_a_system())
    with pytest.raises(ConfigError, match=r"by=\[accent\]: no row states it; there are set, language"):
        score_saved(ScoreConfig(str(saved), str(tmp_path / "out"), "none", by=["accent"]))
    assert not (tmp_path / "out").exists()


def test_a_list_is_no_value_of_a_column(tmp_path):
    saved = write_lines(tmp_path / "p.jsonl", rows_of_a_system(accent=[["a"], "b", "c", "d"]))
    with pytest.raises(DataError, match=r"p.jsonl:1: column 'accent' is \['a'\]; expected text or a number"):
        score_saved(ScoreConfig(str(saved), str(tmp_path / "out"), "none", by=["accent"]))
