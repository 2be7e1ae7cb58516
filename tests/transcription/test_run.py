"""A transcription in a run directory, without a job: claiming, what is recorded, going on, what is left after a failure."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.errors import CheckpointError, ConfigError, UserError
from qasr_train.run.directory import read_run
from qasr_train.run.processes import Processes
from qasr_train.transcription import run as transcription
from qasr_train.transcription.run import TranscriptionRun
from qasr_train.transcription.settings import DecodeConfig
from tests.helpers_fake_model import FakeModel
from tests.helpers_transcription import MakeRun, run_maker


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    return run_maker(tmp_path, monkeypatch)


def none_counted(prediction: object) -> tuple[int, int]:
    return (0, 0)


def stopping_at(*ids: str) -> FakeModel:
    """A model that is interrupted at the batch of these."""

    def stop(batch: list[str]) -> None:
        if batch == list(ids):
            raise KeyboardInterrupt

    return FakeModel(before_batch=stop)


def transcribed(run: TranscriptionRun) -> list[tuple[str, str]]:
    run.open()
    run.transcribe(none_counted)
    return [(row.set, row.id) for row in run.predictions().predictions]


def test_predictions_are_those_of_the_sets_in_their_order_and_the_record_says_of_what(make: MakeRun) -> None:
    run = make()
    assert transcribed(run) == [("a", "u0"), ("a", "u1"), ("a", "u2"), ("a", "u3"), ("b", "u0")]
    assert [row.role for row in run.predictions().predictions] == ["target"] * 4 + [None]
    record = read_run(run.run_dir)
    assert (record["recipe"], record["config"]["colour"]) == ("painting", "red")
    assert record["inputs"] == {
        "model": {"weights": None, "precision": "float32"},
        "device": "cpu",
        "sets": {
            "a": {"num_utterances": 4, "digest": run.sets[0].digest()},
            "b": {"num_utterances": 1, "digest": run.sets[1].digest()},
        },
    }
    assert record["batch_invariance"] == {"num_checked": 0, "num_different": 0, "different": []}
    assert (record["num_processes"], record["num_parameters"]) == (1, 2)  # the fake model is one weight and one bias


def test_a_taken_directory_is_refused_and_a_finished_run_loads_no_model_again(make: MakeRun) -> None:
    before = transcribed(make())
    with pytest.raises(ConfigError, match="exists and is not empty; choose another run_dir, or set resume=true"):
        make().open()
    model = FakeModel()
    assert transcribed(make(model, resume=True)) == before
    assert model.batches == []


def test_what_was_done_before_an_interruption_is_not_done_again(make: MakeRun) -> None:
    with pytest.raises(
        UserError, match=r"interrupted; 2 of 5 utterances are in .*run: the same command with resume=true"
    ):
        transcribed(make(stopping_at("u0", "u1")))  # the longest batch, u2 and u3, comes first
    model = FakeModel()
    assert len(transcribed(make(model, resume=True))) == 5
    assert model.batches == [["u0", "u1"], ["u0"]]


def test_an_interruption_before_the_first_batch_frees_the_name(make: MakeRun) -> None:
    run = make(stopping_at("u2", "u3"))
    with pytest.raises(UserError, match="interrupted before the first of 5 utterances was transcribed; run the same"):
        transcribed(run)
    assert not run.run_dir.exists()
    assert len(transcribed(make())) == 5


def test_a_failure_before_anything_is_transcribed_frees_the_name_unless_it_is_resumed(make: MakeRun) -> None:
    run = make()
    run.open()
    with pytest.raises(CheckpointError), run.can_be_resumed():
        raise CheckpointError("no weights")
    assert not run.run_dir.exists()
    with pytest.raises(UserError):
        transcribed(make(stopping_at("u0", "u1")))
    run = make(resume=True)
    run.open()
    with pytest.raises(CheckpointError), run.can_be_resumed():
        raise CheckpointError("no weights")
    assert (run.run_dir / "predictions.partial.jsonl").is_file()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"colour": "blue"}, None),
        ({"decode": DecodeConfig(max_batch_rows=2, num_workers=1, check_batch_invariance=1)}, None),
        ({"decode": DecodeConfig(max_batch_rows=3)}, r"decode\.max_batch_rows: 2 -> 3"),
        ({"seed": 7}, "seed: 0 -> 7"),
    ],
)
def test_only_what_changes_no_transcript_may_change(make: MakeRun, changed: dict[str, Any], named: str | None) -> None:
    with pytest.raises(UserError):
        transcribed(make(stopping_at("u0", "u1")))
    run = make(resume=True, **changed)
    if named is None:
        assert len(transcribed(run)) == 5
        return
    with pytest.raises(ConfigError, match=named):
        run.open()


def test_other_weights_another_device_or_another_set_are_refused(make: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        transcribed(make(stopping_at("u0", "u1")))
    run = make(resume=True)
    half = replace(run.machine, dtype=torch.bfloat16)
    gpu = replace(run.machine, device=torch.device("cuda"))
    fewer = [replace(run.sets[0], utterances=run.sets[0].utterances[:3]), run.sets[1]]
    for other, said in (
        (replace(run, machine=half), "the weights of model.path, or the precision, are not those"),
        (replace(run, machine=gpu), "was begun with device=cpu, this is cuda"),
        (replace(run, sets=fewer), "the utterances of set 'a' are not those"),
    ):
        with pytest.raises(ConfigError, match=said):
            other.open()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"new")
    with pytest.raises(ConfigError, match="the weights of model.path"):
        run.open()


def test_a_process_that_is_not_the_first_writes_nothing_in_common(
    make: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "wait", lambda self: None)
    run = make()
    second = replace(run, machine=replace(run.machine, processes=Processes(1, 2)))
    second.open()
    assert not run.run_dir.exists() and not second.is_main
    run.open()
    work = transcription.SharedTranscription(
        run.sets, run.config.decode.decoding(1200.0), run.run_dir, second.machine.processes
    )
    work.transcribe(model := FakeModel(), num_warmup_batches=0, count_errors=none_counted)
    assert model.batches == [["u0", "u1"]]  # of a set's two batches the second, of one batch none
    rows = (run.run_dir / "predictions.partial.rank1.jsonl").read_text().splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["u0", "u1"]
