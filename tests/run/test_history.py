"""What a training run says of itself, read back: damaged lines, the best validation, samples of steps that were taken again."""

import json
from pathlib import Path

import pytest

from qasr_train.errors import ConfigError
from qasr_train.run.history import (
    DECIDING,
    PAST_MARGIN,
    find_best,
    read_history,
    require_history,
    samples_by_clip,
    validations,
)
from qasr_train.training.settings import BestBy


def write_run(folder: Path, rows: list[dict], record: dict | None = None, samples: list[dict] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("metrics.jsonl", rows), ("samples.jsonl", samples or [])):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    if record is not None:
        (folder / "run.json").write_text(json.dumps({"recipe": "finetune", **record}))
    return folder


def dev(step: int, rate: float, loss: float = 1.0) -> dict:
    return {"step": step, "dev/error_rate": rate, "dev/loss_nats": loss, "dev/main/error_rate": rate}


def test_the_best_is_the_lowest_after_the_first_step_and_of_equal_ones_the_earlier(tmp_path: Path):
    rows = [dev(0, 2.0), dev(10, 9.0), dev(20, 5.0), {"step": 25, "train/loss_nats": 1.0}, dev(30, 5.0), dev(40, 6.0)]
    best = find_best(read_history(write_run(tmp_path, rows)))
    assert (best.step, best.value, best.before, best.num_validations, best.num_without_gain) == (20, 5.0, 2.0, 4, 2)


def test_a_validation_past_a_margin_of_the_guard_is_never_the_best(tmp_path: Path):
    rows = [
        dev(0, 9.0),
        dev(10, 7.0) | {PAST_MARGIN: 0},
        dev(20, 5.0) | {PAST_MARGIN: 2},
        dev(30, 8.0) | {PAST_MARGIN: 0},
    ]
    best = find_best(read_history(write_run(tmp_path, rows)))
    assert (best.step, best.num_validations, best.num_without_gain) == (10, 3, 2)
    assert find_best(read_history(write_run(tmp_path, [rows[0], rows[2]]))) is None


def test_the_settings_say_what_decides_and_those_of_the_last_start_count(tmp_path: Path):
    rows = [dev(10, 5.0, loss=2.0), dev(20, 6.0, loss=1.0)]
    record = {"config": {"trainer": {"best_by": "loss"}, "tracking": {"allow_text": False}}}
    history = read_history(write_run(tmp_path, rows, record))
    assert (find_best(history).step, find_best(history).before) == (20, None)
    record["resumed"] = [{"config": {"tracking": {"allow_text": True}}}]
    assert read_history(write_run(tmp_path, rows, record)).setting("tracking.allow_text") is True
    assert history.setting("tracking.nothing.there") is None


def test_what_decides_is_what_training_decides_by():
    assert {one.value: one.figure for one in BestBy} == {name: figure for name, (figure, _) in DECIDING.items()}


def test_lines_that_a_kill_cut_off_are_counted(tmp_path: Path):
    write_run(tmp_path, [dev(10, 5.0)])
    with open(tmp_path / "metrics.jsonl", "a") as out:
        out.write('[1]\n{"time": 3}\n{"step": 20, "dev/err')
    history = read_history(tmp_path)
    assert (history.step, len(history.rows), history.num_damaged) == (10, 1, 3)


def test_a_folder_that_holds_nothing_yet_is_a_run_that_has_just_begun(tmp_path: Path):
    history = read_history(tmp_path)
    assert (history.rows, history.step, find_best(history), validations(history)) == ([], 0, None, [])


def test_names_stand_between_the_parts_of_figures(tmp_path: Path):
    row = dev(1, 2.0) | {"dev/other set/error_rate": 1.0, "train/lr": 1.0, "train/lr/encoder": 2.0}
    history = read_history(write_run(tmp_path, [row]))
    assert history.names_of("dev/", "/error_rate") == ["main", "other set"]
    assert history.names_of("train/lr/") == ["encoder"]
    assert history.curve("dev/main/error_rate", 0.5) == [(1.0, 1.0)] and history.last("train/none") is None


def test_of_a_step_that_was_taken_again_the_later_sample_counts_and_of_one_that_was_not_none(tmp_path: Path):
    def sample(step: int, text: str) -> dict:
        return {"step": step, "set": "main", "id": "a", "text": "x", "pred_text": text}

    samples = [sample(10, "lost"), sample(20, "beyond"), sample(10, "kept")]
    found = samples_by_clip(read_history(write_run(tmp_path, [dev(10, 1.0)], samples=samples)))
    assert {step: one["pred_text"] for step, one in found["main", "a"].items()} == {10: "kept"}


@pytest.mark.parametrize(
    ("record", "rows", "words"),
    [
        ({"recipe": "evaluate"}, [dev(1, 1.0)], "is a run of evaluate, not of finetune"),
        ({}, [], "holds no figures"),
        (None, [], "no such file"),
    ],
)
def test_what_is_no_training_is_refused_in_a_sentence(tmp_path: Path, record: dict | None, rows: list, words: str):
    with pytest.raises(ConfigError, match=words):
        require_history(write_run(tmp_path, rows, record))
