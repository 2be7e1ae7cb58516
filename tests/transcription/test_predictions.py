"""The predictions contract: reading ours and the leaderboard's, chunks, ids, and what a user may get wrong."""

import json

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.transcription.predictions import (
    Prediction,
    load_predictions,
    merge_chunks,
    prediction_to_row,
    write_predictions,
)


def _row(**fields):
    return {"audio_filepath": "a.wav", "duration": 1.0, "time": 0.1, "text": "a", "pred_text": "a", **fields}


def _write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def test_the_leaderboards_fields_come_first_and_survive_a_round_trip(tmp_path):
    prediction = Prediction(
        "a.wav", 1.5, 0.1, "hallo", "Hallo.", id="u1", set="s", language="German", speaker="x", role="guard",
        predicted_language="German", num_tokens=3, is_truncated=False, failed=None, context="c", confidence=0.25,
    )  # fmt: skip
    assert list(prediction_to_row(prediction)) == [
        "audio_filepath", "duration", "time", "text", "pred_text", "id", "set", "language", "speaker", "role",
        "predicted_language", "num_tokens", "is_truncated", "failed", "context", "confidence", "version",
    ]  # fmt: skip
    path = tmp_path / "predictions.jsonl"
    assert write_predictions(path, [prediction]) == 1
    (loaded,) = load_predictions(path).predictions
    assert loaded.origin == f"{path}:1"
    loaded.origin = ""
    assert loaded == prediction


def test_leaderboard_manifest_gives_system_set_language_and_ids(tmp_path):
    name = "MODEL_org-model-x_DATASET_hf-audio-leaderboard_librispeech_test.clean.jsonl"
    _write(tmp_path / "deep" / name, [_row(), _row(audio_filepath="b.wav")])
    _write(tmp_path / "other.jsonl", [{"not": "a prediction"}])
    loaded = load_predictions(tmp_path)
    assert loaded.system == "org-model-x"
    assert [(row.id, row.set, row.language) for row in loaded.predictions] == [
        ("a.wav", "hf-audio-leaderboard_librispeech_test.clean", "English"),
        ("b.wav", "hf-audio-leaderboard_librispeech_test.clean", "English"),
    ]


def test_a_rows_own_language_wins_over_the_command_lines(tmp_path):
    path = _write(
        tmp_path / "p.jsonl", [_row(id="1", language="de-DE"), _row(id="2"), _row(id="3", language="Swahili")]
    )
    assert [row.language for row in load_predictions(path, language="fr").predictions] == [
        "German",
        "French",
        "Swahili",
    ]
    assert [row.language for row in load_predictions(path).predictions] == ["German", None, "Swahili"]


def test_rows_of_the_leaderboards_shape_are_english_whatever_the_file_is_called(tmp_path):
    assert load_predictions(_write(tmp_path / "p.jsonl", [_row()])).predictions[0].language == "English"
    assert load_predictions(_write(tmp_path / "q.jsonl", [_row(version=1)])).predictions[0].language is None


def test_rows_without_id_or_path_of_their_own_are_numbered(tmp_path):
    path = _write(tmp_path / "p.jsonl", [_row(), _row()])
    assert [row.id for row in load_predictions(path).predictions] == ["row_0", "row_1"]


def test_chunks_are_merged_in_order_with_sums_and_a_warning_for_a_gap(tmp_path):
    rows = [
        _row(parent_id="b", chunk_index=2, pred_text=" three ", duration=3.0, text="one two three"),
        _row(parent_id="b", chunk_index=0, pred_text="one", duration=1.0, text="one two three"),
        _row(parent_id="a", chunk_index=0, pred_text="", time=None),
        _row(audio_filepath="whole.wav", pred_text="whole"),
    ]
    loaded = load_predictions(_write(tmp_path / "p.jsonl", rows))
    assert [(row.id, row.pred_text, row.duration_s, row.time_s) for row in loaded.predictions] == [
        ("whole.wav", "whole", 1.0, 0.1),
        ("a", "", 1.0, None),
        ("b", "one three", 4.0, 0.2),
    ]
    warning = loaded.warnings[-1]
    assert "'b' are numbered [0, 2], not 0 to 1" in warning


def test_a_failed_chunk_makes_the_recording_failed():
    parts = [Prediction("x", 1.0, 0.1, "a b", "a", parent_id="p", chunk_index=0)]
    parts += [Prediction("x", 1.0, None, "a b", "", parent_id="p", chunk_index=1, failed="no audio")]
    (merged,), _ = merge_chunks(parts)
    assert merged.failed == "no audio"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([_row(), "{oops"], r"p\.jsonl:2: this line is not JSON"),
        ([{"text": "a"}], r"p\.jsonl:1: has no `pred_text`; every prediction needs"),
        ([{"pred_text": "a"}], r"p\.jsonl:1: has no `text`"),
        ([_row(id="x"), _row(id="x")], r"p\.jsonl:2: id 'x' of set 'p' stands already at .*p\.jsonl:1"),
        ([_row(confidence=1.5)], r"p\.jsonl:1: `confidence` is 1.5; expected a number from 0 to 1"),
        ([_row(confidence="high")], r"p\.jsonl:1: `confidence` is 'high'; expected int or float"),
        ([_row(pred_text=5)], r"p\.jsonl:1: `pred_text` is 5; expected str"),
        ([_row(duration="1s")], r"p\.jsonl:1: `duration` is '1s'; expected seconds"),
        ([_row(time=float("nan"))], r"p\.jsonl:1: `time` is nan"),
        ([_row(time=-1)], r"p\.jsonl:1: `time` is -1"),
        ([_row(is_truncated=1)], r"`is_truncated` is 1; expected bool"),
        ([_row(num_tokens=True)], r"`num_tokens` is True; expected int"),
        ([_row(role="both")], r"`role` is 'both'; expected one of target, guard"),
        ([_row(parent_id="a")], r"has a `parent_id` but no `chunk_index`"),
        ([], r"p\.jsonl: holds no predictions"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        load_predictions(_write(tmp_path / "p.jsonl", rows))


def test_missing_paths_empty_folders_and_unknown_languages_are_refused(tmp_path):
    with pytest.raises(DataError, match="nope: no such file or folder"):
        load_predictions(tmp_path / "nope")
    with pytest.raises(DataError, match=r"holds no predictions\.jsonl and no MODEL_"):
        load_predictions(tmp_path)
    with pytest.raises(ConfigError, match="language=Klingon: unknown language 'Klingon'"):
        load_predictions(tmp_path, language="Klingon")


def test_a_folder_of_two_systems_asks_which_one(tmp_path):
    for model in ("a", "b"):
        _write(tmp_path / f"MODEL_{model}_DATASET_p_d_s.jsonl", [_row()])
    with pytest.raises(ConfigError, match=r"manifests of 2 systems; choose one with system=, of a, b"):
        load_predictions(tmp_path)
    with pytest.raises(ConfigError, match="system=c: no manifest of that system; those there: a, b"):
        load_predictions(tmp_path, system="c")
    assert load_predictions(tmp_path, system="b").system == "b"


def test_half_a_character_becomes_the_replacement_character(tmp_path):
    path = _write(tmp_path / "p.jsonl", ['{"text": "a", "pred_text": "x\\ud800y \\ud83d\\ude00"}'])
    assert load_predictions(path).predictions[0].pred_text == "x\ufffdy \U0001f600"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('"x": ' + "[" * 90_000 + "]" * 90_000, "nested too deep"),
        ('"x": ' + "7" * 5000, "a whole number of thousands of digits"),
        ('"duration": ' + "7" * 400, "`duration` is 777"),
        ('"time": 1e308', "`time` is 1e+308; expected seconds"),
        ('"duration": NaN', "`duration` is nan; expected seconds"),
    ],
    ids=["deep", "digits", "no float", "1e308", "NaN"],
)
def test_a_hostile_prediction_is_one_sentence_with_its_line(tmp_path, fault, words):
    path = _write(tmp_path / "p.jsonl", [_row(), f'{{"text": "a", "pred_text": "b", {fault}}}'])
    with pytest.raises(DataError) as caught:
        load_predictions(path)
    assert f"{path}:2" in str(caught.value)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["guten morgen", "liebe leute"], "guten morgen liebe leute"),
        (["ja", "ja ", "nein"], "ja ja nein"),  # two of them are alike: still not one text of all
        (["all of it", " all  of it", "all of it"], "all of it"),
        (["all of it", "", ""], "all of it"),
        (["", "a", "b"], "a b"),
        ([None, "all of it"], "all of it"),
        (["a", None, "b"], None),  # what was said in the second is not known, so neither is the whole
        ([None, None], None),
        (["", ""], ""),
    ],
)
def test_references_of_chunks_are_one_text_or_are_joined_in_order(texts, whole):
    chunks = [Prediction(None, 1.0, None, text, "x", parent_id="p", chunk_index=i) for i, text in enumerate(texts)]
    (merged,), warnings = merge_chunks(chunks[::-1])
    assert merged.text == whole
    have_own = len({(text or "").strip() for text in texts} - {""}) > 1 and whole != "all of it"
    assert any("have a reference each" in warning for warning in warnings) == have_own


def test_texts_too_long_to_be_aligned_are_refused_before_they_are_normalised(tmp_path):
    hours = "word " * 60_000  # 300,000 characters: five hours
    path = _write(tmp_path / "p.jsonl", [_row(), _row(audio_filepath="b.wav", text=hours, pred_text=hours)])
    assert len(load_predictions(path).predictions) == 2
    for text, heard in (("a", "b" * 1_000_001), (hours * 2, hours * 2)):
        _write(path, [_row(), _row(audio_filepath="b.wav", text=text, pred_text=heard)])
        with pytest.raises(DataError, match=r"p.jsonl:2: .* more than can be aligned"):
            load_predictions(path)


def test_rows_of_no_language_are_always_a_warning_with_their_number_and_rules(tmp_path):
    texts = ["a house", "안녕하세요", "один дом", "今日は雨です", "雨", ""]
    leaderboards = _write(tmp_path / "a.jsonl", [_row(id=str(i), text=text) for i, text in enumerate(texts)])
    loaded = load_predictions(leaderboards)
    assert [row.language for row in loaded.predictions] == [
        "English",
        "Korean",
        None,
        "Japanese",
        "Japanese",
        "English",
    ]
    assert loaded.warnings == [
        "4 of 6 rows name no language; they are scored by the rules for Japanese 2 (their script), English 1 (as the "
        "leaderboard's manifests are), Korean 1 (their script): state it with language=NAME, or as the language of the source"
    ]
    assert {row.language for row in load_predictions(leaderboards, language="de").predictions} == {"German"}
    assert load_predictions(leaderboards, language="de").warnings == []
    ours = _write(tmp_path / "b.jsonl", [_row(id=str(i), text=text, version=1) for i, text in enumerate(texts[:3])])
    assert [row.language for row in load_predictions(ours).predictions] == [None, "Korean", None]
