"""Predictions of an unfinished run: what several processes wrote, whatever a kill cut short."""

import json
from pathlib import Path

from qasr_train.transcription.journal import (
    Journal,
    discard_if_nothing_done,
    finish,
    gather_partials,
    partial_path,
    read_partials,
)
from qasr_train.transcription.predictions import Prediction


def prediction(name: str, failed: str | None = None) -> Prediction:
    return Prediction(None, 1.0, 0.1, "t", name, id=name, set="s", failed=failed)


def read_rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_ranks_write_apart_and_are_joined_without_loss(tmp_path: Path) -> None:
    for rank, names in enumerate(["ad", "b", "c"]):
        with Journal(tmp_path, rank) as journal:
            journal.append([prediction(name) for name in names])
    with open(partial_path(tmp_path, 2), "a") as out:
        out.write('{"id": "half')  # killed while it wrote
    gather_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.partial.jsonl"]
    assert {name for _, name in read_partials(tmp_path)} == set("abcd")
    finish(tmp_path, [("s", name) for name in "abcd"])
    assert [row["id"] for row in read_rows(tmp_path / "predictions.jsonl")] == list("abcd")
    assert not list(tmp_path.glob("*partial*"))


def test_of_a_prediction_made_twice_the_later_stays(tmp_path: Path) -> None:
    with Journal(tmp_path, 0) as journal:
        journal.append([prediction("a", failed="no such file")])
        journal.append([prediction("a")])
    gather_partials(tmp_path)
    [row] = read_rows(partial_path(tmp_path, 0))
    assert (row["id"], row["failed"]) == ("a", None)


def test_failures_alone_are_nothing_to_keep(tmp_path: Path) -> None:
    with Journal(tmp_path, 1) as journal:
        journal.append([prediction("a", failed="no such file")])
    discard_if_nothing_done(tmp_path)
    assert not list(tmp_path.iterdir())
    with Journal(tmp_path, 1) as journal:
        journal.append([prediction("a", failed="no such file"), prediction("b")])
    discard_if_nothing_done(tmp_path)
    assert set(read_partials(tmp_path)) == {("s", "a"), ("s", "b")}
