"""The evaluation job: what a run directory holds, resuming after a kill, several processes, and what a user's mistakes say."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.errors import CheckpointError, ConfigError, DataError, UserError
from qasr_train.evaluation.settings import ReportConfig, Role, SetConfig, SuiteConfig
from qasr_train.evaluation.words.settings import WordsConfig
from qasr_train.jobs.evaluate import evaluate
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.settings.evaluate import EvaluateConfig
from qasr_train.models.base import Hypothesis
from qasr_train.models.blocks.text_pieces import TextPiece
from qasr_train.models.families import load_model
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.run.settings import Device, Precision
from qasr_train.sources.settings import SourceConfig
from qasr_train.transcription import run as transcription
from qasr_train.transcription.predictions import load_predictions
from qasr_train.transcription.settings import DecodeConfig
from tests.helpers import ROOT, tone, write_wav
from tests.helpers_copies import run_module
from tests.helpers_fake_model import FakeModel
from tests.helpers_model import tiny_model, tiny_processor
from tests.transcription.fake_job import NamingModel, load_fake

TEXTS = ["one", "two words", "three words here", "four words stand here", "five", "six sixes"]
Make = Callable[..., EvaluateConfig]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six utterances u0 ... u5 of 0.5 to 1.0 s, all English."""
    path = tmp_path / "m.jsonl"
    rows = []
    for number, text in enumerate(TEXTS):
        write_wav(tmp_path / f"u{number}.wav", tone(0.5 + number / 10))
        rows.append({"id": f"u{number}", "audio": f"u{number}.wav", "text": text, "language": "English"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def make(tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A config of one set "ward" in batches of two, run on a FakeModel that `make.model` gives."""

    def make_config(model: FakeModel | None = None, **fields: Any) -> EvaluateConfig:
        monkeypatch.setattr(transcription, "load_model", lambda config, **_: model or perfect())
        fields = {"decode": DecodeConfig(max_batch_rows=2, num_warmup_batches=0, check_batch_invariance=0)} | fields
        fields = {"suite": suite_of(manifest), "run_dir": str(tmp_path / "run")} | fields
        return EvaluateConfig(model=Qwen3ASRConfig(path=str(tmp_path / "model")), **fields)

    return make_config


def suite_of(manifest: Path, **fields: Any) -> SuiteConfig:
    return SuiteConfig(
        name="t", normalizer="none", sets={"ward": SetConfig(source=SourceConfig(path=str(manifest)), **fields)}
    )


def perfect() -> FakeModel:
    return FakeModel({f"u{number}": text for number, text in enumerate(TEXTS)})


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- what a run leaves ------------------------------------------------------------------------------------------------


def test_a_run_leaves_predictions_scores_report_and_their_provenance(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = perfect()
    model.texts = dict(model.texts) | {"u1": "two birds", "u4": ""}
    evaluate(make(model, suite=suite_of(tmp_path / "m.jsonl", role=Role.target)))
    run_dir = tmp_path / "run"
    names = {path.name for path in run_dir.iterdir()}
    expected = {"predictions.jsonl", "scores.json", "utterances.jsonl", "report.md", "report.html", "run.json"}
    assert expected <= names
    assert not [name for name in names if "partial" in name or name.endswith(".part")]
    rows = rows_of(run_dir / "predictions.jsonl")
    assert [row["id"] for row in rows] == [f"u{number}" for number in range(6)]  # manifest order
    assert list(rows[0])[:5] == ["audio_filepath", "duration", "time", "text", "pred_text"]
    assert rows[1] | {"time": 0, "audio_filepath": ""} == {
        "audio_filepath": "",
        "duration": pytest.approx(0.6),
        "time": 0,
        "text": "two words",
        "pred_text": "two birds",
        "id": "u1",
        "set": "ward",
        "language": "English",
        "speaker": None,
        "role": "target",
        "predicted_language": "English",
        "num_tokens": 3,
        "is_truncated": False,
        "failed": None,
        "context": None,
        "confidence": None,
        "version": 1,
    }
    # One substitution ("words" -> "birds") and one deletion ("five") in 1 + 2 + 3 + 4 + 1 + 2 = 13 words.
    scores = json.loads((run_dir / "scores.json").read_text())
    assert scores["sets"]["ward"]["wer_percent"] == pytest.approx(100 * 2 / 13, abs=0.01)
    run = json.loads((run_dir / "run.json").read_text())
    assert run["config"]["decode"]["max_batch_rows"] == 2
    assert run["inputs"]["sets"]["ward"]["num_utterances"] == 6
    assert run["inputs"]["model"]["precision"] == "float32"
    assert run["model"] is None  # the fake model does not tell where it came from
    assert "ward" in capsys.readouterr().out.splitlines()[-1] or "ward" in (run_dir / "report.md").read_text()


def test_a_failed_recording_is_counted_and_left_out_or_scored_as_empty(make: Make, tmp_path: Path) -> None:
    (tmp_path / "u5.wav").write_bytes(b"RIFF broken")
    decode = DecodeConfig(max_failed_fraction=0.5, check_batch_invariance=0, num_warmup_batches=0)
    for failed_as_empty, num_errors, num_words in ((False, 0, 11), (True, 2, 13)):
        run_dir = tmp_path / f"run{failed_as_empty}"
        evaluate(make(decode=decode, run_dir=str(run_dir), failed_as_empty=failed_as_empty))
        ward = json.loads((run_dir / "scores.json").read_text())["sets"]["ward"]
        assert ward["num_failed"] == 1
        assert (ward["deletions"], ward["num_reference_words"]) == (num_errors, num_words)
        assert "u5" in json.dumps(json.loads((run_dir / "scores.json").read_text())["warnings"])


def test_batch_invariance_counts_who_is_heard_differently_alone(make: Make, tmp_path: Path) -> None:
    class Distracted(FakeModel):
        """Mishears u2 in company."""

        def transcribe(self, batch, *, max_new_tokens):  # type: ignore[no-untyped-def]
            self.texts = {"u2": "three words here" if len(batch) == 1 else "tree words here"}
            return super().transcribe(batch, max_new_tokens=max_new_tokens)

    decode = DecodeConfig(max_batch_rows=2, num_warmup_batches=0, check_batch_invariance=50)
    evaluate(make(Distracted(), decode=decode))
    checked = json.loads((tmp_path / "run" / "run.json").read_text())["batch_invariance"]
    assert checked == {
        "num_checked": 6,
        "num_different": 1,
        "different": [{"set": "ward", "id": "u2", "in_batch": "tree words here", "alone": "three words here"}],
    }
    warnings = json.loads((tmp_path / "run" / "scores.json").read_text())["warnings"]
    assert any(warning.startswith("1 of 6 utterances gave another text alone") for warning in warnings)


def test_recordings_that_failed_are_not_in_the_sample_of_batch_invariance(make: Make, tmp_path: Path) -> None:
    (tmp_path / "u5.wav").write_bytes(b"RIFF broken")
    rows = rows_of(tmp_path / "m.jsonl")
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row | {"duration": 1.0}) + "\n" for row in rows))
    decode = DecodeConfig(max_failed_fraction=0.5, check_batch_invariance=50, num_warmup_batches=0)
    evaluate(make(decode=decode))
    checked = json.loads((tmp_path / "run" / "run.json").read_text())["batch_invariance"]
    assert checked["num_checked"] == 5


def test_warm_up_is_transcribed_besides_and_changes_nothing(make: Make, tmp_path: Path) -> None:
    model = perfect()
    evaluate(make(model, decode=DecodeConfig(max_batch_rows=2, num_warmup_batches=2, check_batch_invariance=0)))
    assert len(model.batches) == 2 + 3
    assert len(rows_of(tmp_path / "run" / "predictions.jsonl")) == 6


def test_truncated_rows_are_counted_in_the_warnings(make: Make, tmp_path: Path) -> None:
    evaluate(make(decode=DecodeConfig(max_new_tokens=4, check_batch_invariance=0)))
    warnings = json.loads((tmp_path / "run" / "scores.json").read_text())["warnings"]
    # "four words stand here" needs five tokens with the end; "three words here" just fits.
    assert "1 of 6 transcripts met the limit of new tokens and are cut short; the first is 'u3'" in warnings


def test_the_same_id_in_two_sets_is_no_conflict(make: Make, tmp_path: Path, manifest: Path) -> None:
    source = SourceConfig(path=str(manifest))
    suite = SuiteConfig(name="t", sets={"a": SetConfig(source=source), "b": SetConfig(source=source, role=Role.guard)})
    evaluate(make(suite=suite))
    rows = rows_of(tmp_path / "run" / "predictions.jsonl")
    assert [(row["set"], row["id"]) for row in rows] == [(name, f"u{n}") for name in "ab" for n in range(6)]
    assert {row["set"]: row["role"] for row in rows} == {"a": None, "b": "guard"}


def test_no_clip_is_longer_than_the_model_takes(make: Make, tmp_path: Path) -> None:
    write_wav(tmp_path / "u0.wav", tone(6.0))
    config = make(model := perfect())
    config.model.max_duration_s = 5.0
    evaluate(config)
    assert max(max(lengths) for lengths in model.durations_s) <= 5.0
    assert sum(row["duration"] for row in rows_of(tmp_path / "run" / "predictions.jsonl")) == pytest.approx(6 + 4.0)


def test_the_real_classes_go_the_whole_way(tmp_path: Path, manifest: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_processor().save_pretrained(tmp_path / "model")
    overrides = ["decode.max_new_tokens=3", "decode.check_batch_invariance=2", "device=cpu"]
    evaluate(load_config("evaluate", [f"model.path={tmp_path / 'model'}", *arguments(tmp_path, "run"), *overrides]))
    rows = rows_of(tmp_path / "run" / "predictions.jsonl")
    assert [row["id"] for row in rows] == [f"u{number}" for number in range(6)]
    assert all(1 <= row["num_tokens"] <= 3 and row["time"] > 0 for row in rows)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["batch_invariance"]["num_checked"] == 2
    assert run["inputs"]["model"]["weights"]
    assert run["system"]["architecture"] == "audio transformer + Qwen3 language model"
    assert run["num_parameters"] == sum(p.numel() for p in tiny_model().parameters())


# --- interrupted and resumed --------------------------------------------------------------------------------------------


def run_fake(tmp_path: Path, run_dir: str, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The job as a process of its own, on the manifest of `tmp_path`."""
    given = [f"model.path={tmp_path / 'model'}", *arguments(tmp_path, run_dir), *overrides]
    return run_module("tests.transcription.fake_job", given, env=environment)


def arguments(tmp_path: Path, run_dir: str) -> list[str]:
    return [
        "suite=own",
        f"suite.manifest={tmp_path / 'm.jsonl'}",
        f"run_dir={tmp_path / run_dir}",
        "decode.max_batch_rows=2",
        "decode.num_warmup_batches=0",
        "decode.check_batch_invariance=0",
    ]


def texts_of(run_dir: Path) -> list[tuple[str, str]]:
    return [(row["id"], row["pred_text"]) for row in rows_of(run_dir / "predictions.jsonl")]


def run_here(tmp_path: Path, run_dir: str, *overrides: str) -> None:
    """What `run_fake` runs, in this process (faster)."""
    NamingModel.num_batches = 0
    evaluate(load_config("evaluate", [f"model.path={tmp_path / 'model'}", *arguments(tmp_path, run_dir), *overrides]))


def test_killed_halfway_and_resumed_equals_the_straight_run(
    tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcription, "load_model", load_fake)
    run_here(tmp_path, "straight")
    assert NamingModel.num_batches == 3
    killed = run_fake(tmp_path, "killed", FAKE_KILL_AFTER="2")
    assert killed.returncode == -9
    assert not (tmp_path / "killed" / "predictions.jsonl").exists()
    assert len(rows_of(tmp_path / "killed" / "predictions.partial.jsonl")) == 4
    with pytest.raises(ConfigError, match="set resume=true to go on with it"):
        run_here(tmp_path, "killed")
    run_here(tmp_path, "killed", "resume=true")
    assert NamingModel.num_batches == 1
    assert texts_of(tmp_path / "killed") == texts_of(tmp_path / "straight")
    scores = [json.loads((tmp_path / name / "scores.json").read_text())["overall"] for name in ("killed", "straight")]
    for one in scores:
        one.pop("inference_s"), one.pop("rtfx")
    assert scores[0] == scores[1]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, manifest: Path) -> None:
    stopped = run_fake(tmp_path, "run", FAKE_STOP_AFTER="1")
    assert stopped.returncode == 2
    assert stopped.stderr.splitlines()[-1] == (
        f"error: interrupted; 2 of 6 utterances are in {tmp_path / 'run'}: the same command with resume=true goes on"
    )
    assert "Traceback" not in stopped.stderr


def test_a_line_cut_short_by_a_kill_is_transcribed_again(make: Make, tmp_path: Path) -> None:
    def stop(ids: list[str]) -> None:
        if ids == ["u0", "u1"]:
            raise KeyboardInterrupt

    with pytest.raises(UserError, match="interrupted; 4 of 6 utterances"):
        evaluate(make(FakeModel(perfect().texts, before_batch=stop)))
    partial = tmp_path / "run" / "predictions.partial.jsonl"
    partial.write_bytes(partial.read_bytes()[:-20])  # u3's line: its batch is {u2, u3}
    model = perfect()
    evaluate(make(model, resume=True))
    assert sorted(model.batches) == [["u0", "u1"], ["u2", "u3"]]  # the torn batch is done again whole
    assert [row["pred_text"] for row in rows_of(tmp_path / "run" / "predictions.jsonl")] == TEXTS


def test_resuming_a_finished_run_scores_it_again_without_a_model(make: Make, tmp_path: Path) -> None:
    evaluate(make())
    before = (tmp_path / "run" / "scores.json").read_text()
    (tmp_path / "run" / "scores.json").unlink()
    model = perfect()
    evaluate(make(model, resume=True))
    assert model.batches == []
    after = (tmp_path / "run" / "scores.json").read_text()
    assert json.loads(after)["overall"] == json.loads(before)["overall"]


def test_a_term_list_and_recordings_may_be_asked_of_a_finished_run(make: Make, tmp_path: Path, manifest: Path) -> None:
    evaluate(make())
    (tmp_path / "terms.txt").write_text("two words\nsixes\nnine\n")
    suite = suite_of(manifest)
    suite.terms = str(tmp_path / "terms.txt")
    evaluate(make(suite=suite, resume=True, report=ReportConfig(embed_audio=True)))
    assert "holds the recordings of 6 utterances" in (tmp_path / "run" / "report.html").read_text()
    entities = json.loads((tmp_path / "run" / "scores.json").read_text())["entities"]
    assert (entities["overall"]["num_spoken"], entities["overall"]["recall_percent"]) == (2, 100.0)
    suite.terms = str(tmp_path / "none.txt")
    with pytest.raises(ConfigError, match=r"suite.terms=.*none.txt: cannot be read"):
        evaluate(make(suite=suite, run_dir=str(tmp_path / "other")))
    assert not (tmp_path / "other").exists()


def test_a_finished_run_may_be_asked_for_columns_of_its_manifest(make: Make, tmp_path: Path, manifest: Path) -> None:
    run = tmp_path / "run"
    rows = [row | {"zone": ["north", "south"][i % 2], "home": "hidden"} for i, row in enumerate(rows_of(manifest))]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluate(make())
    assert "columns" not in rows_of(run / "predictions.jsonl")[0]
    evaluate(make(perfect(), resume=True, by=["zone"]))
    assert [row["columns"] for row in rows_of(run / "predictions.jsonl")[:2]] == [{"zone": "north"}, {"zone": "south"}]
    groups = json.loads((run / "scores.json").read_text())["columns"][0]["groups"]
    assert {group["group"]: group["num_reference_words"] for group in groups} == {"north": 5, "south": 8}
    assert "hidden" not in "".join(path.read_text() for path in run.glob("*.jsonl"))
    with pytest.raises(ConfigError, match=r"by=\[zones\]: no row of ward has that column; correct it"):
        evaluate(make(perfect(), resume=True, by=["zones"]))


def test_a_resumed_run_tries_failed_recordings_again_and_nothing_else(make: Make, tmp_path: Path) -> None:
    good = (tmp_path / "u2.wav").read_bytes()
    (tmp_path / "u2.wav").write_bytes(b"<html>")
    decode = DecodeConfig(max_batch_rows=2, num_warmup_batches=0, check_batch_invariance=0, max_failed_fraction=0.9)

    def stop(ids: list[str]) -> None:
        if ids == ["u0", "u1"]:
            raise KeyboardInterrupt

    with pytest.raises(UserError, match="interrupted; 4 of 6"):
        evaluate(make(FakeModel(perfect().texts, before_batch=stop), decode=decode))
    (tmp_path / "u2.wav").write_bytes(good)  # the file server is back
    model = perfect()
    evaluate(make(model, decode=decode, resume=True))
    assert sorted(model.batches) == [["u0", "u1"], ["u2"]]
    rows = rows_of(tmp_path / "run" / "predictions.jsonl")
    assert [row["pred_text"] for row in rows] == TEXTS
    assert [row["failed"] for row in rows] == [None] * 6


@pytest.fixture
def stopped(make: Make, tmp_path: Path) -> Make:
    """A run stopped after its first batch; gives `make` to go on with."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")

    def stop(ids: list[str]) -> None:
        if ids != ["u4", "u5"]:
            raise KeyboardInterrupt

    with pytest.raises(UserError):
        evaluate(make(FakeModel(before_batch=stop)))
    return make


def test_resuming_with_another_decode_setting_names_it(stopped: Make) -> None:
    decode = DecodeConfig(max_batch_rows=2, num_warmup_batches=0, check_batch_invariance=0, language="de")
    with pytest.raises(ConfigError, match=r'decode.language: "auto" -> "German"'):
        evaluate(stopped(resume=True, decode=decode))


def test_resuming_with_another_model_path_or_suite_names_it(stopped: Make, tmp_path: Path, manifest: Path) -> None:
    config = stopped(resume=True)
    config.model.path = "elsewhere"
    with pytest.raises(ConfigError, match=r"model.path: .* -> \"elsewhere\""):
        evaluate(config)
    with pytest.raises(ConfigError, match=r'suite.sets.ward.role: "none" -> "guard"'):
        evaluate(stopped(resume=True, suite=suite_of(manifest, role=Role.guard)))


def test_resuming_with_other_weights_under_the_same_path_is_refused(stopped: Make, tmp_path: Path) -> None:
    (tmp_path / "model" / "model.safetensors").write_bytes(b"trained on")
    with pytest.raises(ConfigError, match=r"the weights of model.path, or the precision, are not those"):
        evaluate(stopped(resume=True))


def test_resuming_with_a_changed_manifest_names_the_set(stopped: Make, manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace("six sixes", "six sevens"))
    with pytest.raises(ConfigError, match=r"the utterances of set 'ward' are not those"):
        evaluate(stopped(resume=True))


def test_settings_that_change_no_transcript_may_change(stopped: Make, tmp_path: Path) -> None:
    decode = DecodeConfig(max_batch_rows=2, num_warmup_batches=1, check_batch_invariance=2, num_workers=1)
    evaluate(stopped(resume=True, decode=decode))
    assert len(rows_of(tmp_path / "run" / "predictions.jsonl")) == 6


@pytest.mark.slow
def test_two_processes_give_what_one_gives_though_killed_on_the_way(tmp_path: Path, manifest: Path) -> None:
    straight = run_fake(tmp_path, "one")
    assert straight.returncode == 0, straight.stderr
    # Of three batches rank 0 has two: it is killed in its second, when rank 1 is done or nearly so.
    killed = run_two(tmp_path, FAKE_KILL_AFTER="1")
    assert killed.returncode != 0
    assert not (tmp_path / "two" / "predictions.jsonl").exists()
    resumed = run_two(tmp_path, "resume=true", "decode.check_batch_invariance=6")
    assert resumed.returncode == 0, resumed.stderr
    assert texts_of(tmp_path / "two") == texts_of(tmp_path / "one")
    scores = [json.loads((tmp_path / name / "scores.json").read_text())["overall"] for name in ("two", "one")]
    for one in scores:
        one.pop("inference_s"), one.pop("rtfx")
    assert scores[0] == scores[1]
    run = json.loads((tmp_path / "two" / "run.json").read_text())
    assert run["num_processes"] == 2
    # The model names its companions, so that everybody sounds different alone; both processes found their share.
    assert (run["batch_invariance"]["num_checked"], run["batch_invariance"]["num_different"]) == (6, 6)
    assert {one["id"] for one in run["batch_invariance"]["different"]} == {f"u{number}" for number in range(6)}
    assert resumed.stdout.count("normalizer") == 1  # one process prints the table


def run_two(tmp_path: Path, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The job of `run_fake` in two processes, in the run directory "two"."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    job_and_model = ["-m", "tests.transcription.fake_job", f"model.path={tmp_path / 'model'}"]
    return subprocess.run(
        [*launch, *job_and_model, *arguments(tmp_path, "two"), *overrides],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# --- mistakes -----------------------------------------------------------------------------------------------------------


def test_fp16_is_refused_with_the_reason(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"precision=fp16: the decoder of Qwen3-ASR overflows float16"):
        make(precision=Precision.fp16)


def test_no_gpu_where_one_was_asked_for_is_a_sentence(make: Make, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device=cuda: torch .* sees no GPU .*; set device=cpu, or auto"):
        evaluate(make(device=Device.cuda))
    assert not (tmp_path / "run").exists()


def test_a_used_run_dir_is_refused_before_the_model_is_loaded(make: Make, tmp_path: Path) -> None:
    evaluate(make())
    model = perfect()
    with pytest.raises(ConfigError, match=r"run: exists and is not empty; choose another run_dir"):
        evaluate(make(model))
    assert model.batches == []


def test_a_baseline_that_is_no_run_is_refused_at_load(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"baseline=.*: holds no predictions.jsonl; name the run_dir of a finished"):
        make(baseline=str(tmp_path))


def test_a_run_that_transcribed_nothing_frees_the_name(make: Make, tmp_path: Path, manifest: Path) -> None:
    for number in range(6):
        (tmp_path / f"u{number}.wav").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"set 'ward': . of 6 recordings could not be transcribed"):
        evaluate(make())
    assert not (tmp_path / "run").exists()


def test_a_model_that_cannot_be_loaded_frees_the_name(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make()
    monkeypatch.setattr(transcription, "load_model", load_model)
    with pytest.raises(CheckpointError, match=r"model: no such directory"):
        evaluate(config)
    assert not (tmp_path / "run").exists()


def test_an_unfinished_run_is_not_scored_as_if_it_were_whole(stopped: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run: holds an evaluation that is not finished; finish it .* resume=true"):
        load_predictions(tmp_path / "run")


def test_chunks_are_put_together_before_they_are_scored(make: Make, tmp_path: Path, manifest: Path) -> None:
    """Earnings22's way: u0 to u5 are chunks of two calls, out of order; the model misses one word of five."""
    places = [("b", 0), ("a", 1), ("a", 0), ("a", 2), ("b", 2), ("b", 1)]
    rows = [
        {"audio": f"u{number}.wav", "parent_id": parent, "chunk_index": index}
        for number, (parent, index) in enumerate(places)
    ]
    (tmp_path / "chunks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    calls = [
        {"id": "a", "audio": "u0.wav", "text": "one two three"},
        {"id": "b", "audio": "u1.wav", "text": "four five"},
    ]
    (tmp_path / "calls.jsonl").write_text("".join(json.dumps(row | {"language": "en"}) + "\n" for row in calls))
    sets = {
        "calls": SetConfig(
            source=SourceConfig(path=str(tmp_path / "chunks.jsonl")),
            parents=SourceConfig(path=str(tmp_path / "calls.jsonl")),
        )
    }
    model = FakeModel({"u0": "four", "u1": "two", "u2": "one", "u3": "tree", "u4": "", "u5": "five"})
    evaluate(
        make(model, suite=SuiteConfig(name="t", normalizer="none", sets=sets), report=ReportConfig(embed_audio=True))
    )
    written = rows_of(tmp_path / "run" / "predictions.jsonl")
    assert [(row["parent_id"], row["chunk_index"]) for row in written] == places
    scored = {row["id"]: row for row in rows_of(tmp_path / "run" / "utterances.jsonl")}
    assert {name: row["hypothesis"] for name, row in scored.items()} == {"a": "one two tree", "b": "four five"}
    assert scored["a"]["duration_s"] == pytest.approx(0.6 + 0.7 + 0.8)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["sets"]["calls"]["wer_percent"] == 20.0
    assert "it was transcribed in chunks" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


class SureModel(FakeModel):
    """Says how probable its words are: 0.9 each, of birds 0.3."""

    def _hypothesis(self, utterance_id: str, max_new_tokens: int) -> Hypothesis:
        heard = super()._hypothesis(utterance_id, max_new_tokens)
        words = heard.text.split()
        shares = [math.log(0.3 if word == "birds" else 0.9) for word in words]
        pieces = [
            TextPiece(len(word) + bool(at), share) for at, (word, share) in enumerate(zip(words, shares, strict=True))
        ]
        return replace(heard, pieces=tuple(pieces))


def test_words_to_check_of_a_run_and_of_the_same_run_asked_otherwise(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SureModel(perfect().texts | {"u1": "two birds"})
    config = make(model)
    evaluate(config)
    run_dir = Path(config.run_dir)
    assert rows_of(run_dir / "predictions.jsonl")[1]["pieces"] == [[3, -0.1054], [6, -1.204]]
    assert rows_of(run_dir / "utterances.jsonl")[1]["word_confidences"] == [0.9, 0.3]
    words = json.loads((run_dir / "scores.json").read_text())["words"]
    assert words["overall"]["readings"][1]["found_percent"] == 100.0, "the least sure of 13 words is the wrong one"
    said = "Reading the 5 % least sure words (1 of 13, confidence up to 0.300) finds 100.0 % of the wrong words"
    assert said in capsys.readouterr().out
    evaluate(make(model, resume=True, words=WordsConfig(read_percents=[50]), style=["capitals"]))
    scores = json.loads((run_dir / "scores.json").read_text())
    assert [one["percent"] for one in scores["words"]["overall"]["readings"]] == [50] and len(scores["style"]) == 1
    assert len(model.batches) == 3, "nothing was transcribed again"


def test_sets_to_calibrate_on_that_are_not_there_are_refused_before_a_model_is_loaded(make: Make) -> None:
    model = SureModel(before_batch=pytest.fail)
    with pytest.raises(ConfigError, match=r"words.dev_sets=\[dev\]: no such set; there are ward"):
        evaluate(make(model, words=WordsConfig(dev_sets=["dev"])))
