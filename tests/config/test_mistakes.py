"""What a user may get wrong, from the command line: exit status 2 and one sentence that begins `error: `, never a traceback."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import qasr_train.models.safetensors_files as weights
from qasr_train.config.command_line import exit_status, run_command_line
from qasr_train.errors import EXIT_INTERRUPTED
from qasr_train.jobs.recipes import PROJECT
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.training.checkpoint import find_fault, list_checkpoints
from tests.helpers import ROOT, tone, write_wav
from tests.helpers_copies import Copy, start_script
from tests.helpers_model import tiny_model, tiny_processor

RECIPES = ["finetune", "evaluate", "show_batch", "prepare"]
ROW = {"id": "c0", "audio": "c0.wav", "text": "two pills", "language": "English"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`model`, a tiny checkpoint; `good.jsonl`, four clips; `zero.wav`, which holds no samples."""
    save_native(tiny_model(), tiny_processor(), tmp_path / "model")
    for i in range(4):
        write_wav(tmp_path / f"c{i}.wav", tone(0.5 + 0.2 * i))
    write_wav(tmp_path / "zero.wav", np.zeros(0, dtype=np.float32))
    manifest(tmp_path, "good.jsonl", *(ROW | {"id": f"c{i}", "audio": f"c{i}.wav"} for i in range(4)))
    return tmp_path


def manifest(folder: Path, name: str, *rows: dict[str, Any] | str) -> str:
    """Write rows (or lines as they are); returns the path."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return str(folder / name)


def arguments(folder: Path, recipe: str, *, data: str = "good.jsonl") -> list[str]:
    """The least that makes a recipe run; its output is `out` in the folder."""
    path, model, out = folder / data, f"model.path={folder / 'model'}", folder / "out"
    return {
        "finetune": [
            model,
            f"data.train.main.path={path}",
            "data.num_workers=0",
            "trainer.max_steps=2",
            "trainer.device=cpu",
            f"run_dir={out}",
        ],
        "evaluate": [model, "suite=own", f"suite.manifest={path}", "device=cpu", f"run_dir={out}"],
        "show_batch": [model, f"data.train.main.path={path}", f"out={out / 'shown.jsonl'}"],
        "prepare": [f"source.path={path}", f"out={out}"],
    }[recipe]


def error_of(capsys: pytest.CaptureFixture, recipe: str, given: list[str]) -> str:
    """The sentence with which a recipe refuses; checks that it is one line, status 2, and no traceback."""
    capsys.readouterr()
    assert exit_status(lambda: run_command_line(recipe, given, PROJECT)) == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    errors = [line for line in shown.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, shown
    assert shown.splitlines()[-1] == errors[0]
    return errors[0].removeprefix("error: ")


# ---- settings


@pytest.mark.parametrize(
    ("recipe", "given", "told"),
    [
        ("finetune", "trainer.max_step=3", "unknown key trainer.max_step; did you mean trainer.max_steps?"),
        ("finetune", "data.train.main.pth=x", "unknown key data.train.main.pth; did you mean data.train.main.path?"),
        (
            "finetune",
            "normalizer=qasr",
            "normalizer=qasr: unknown; choose one of leaderboard-2026-08, leaderboard-2026-11, qasr-1, qasr-2, none",
        ),
        ("evaluate", "device=gpu", "device"),
        ("finetune", "trainer.precision=fp16", "trainer.precision=fp16: the decoder of Qwen3-ASR overflows float16"),
        (
            "finetune",
            "adapt.lora.decoder=[q_prj]",
            "adapt.lora.decoder: 'q_prj' matches nothing; names here are like q_",
        ),
        ("finetune", "optim.lr=-1", "optim.lr=-1"),
    ],
)
def test_a_setting_that_is_wrong(folder: Path, capsys: pytest.CaptureFixture, recipe: str, given: str, told: str):
    assert error_of(capsys, recipe, [*arguments(folder, recipe), given]).startswith(told)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(("recipe", "key"), [("finetune", "trainer.device"), ("evaluate", "device")])
def test_no_gpu_where_one_was_asked_for(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch, recipe: str, key: str
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sentence = error_of(capsys, recipe, [*arguments(folder, recipe), f"{key}=cuda"])
    assert sentence.startswith(f"{key}=cuda: torch ")
    assert "sees no GPU" in sentence
    assert sentence.endswith(f"set {key}=cpu, or auto")


# ---- data


ODD_MANIFESTS: dict[str, tuple[list[dict[str, Any] | str], str]] = {
    "no JSON": ([ROW, '{"id": "c1", "audio": '], "bad.jsonl:2: this line is not JSON"),
    "no audio column": ([{"id": "a", "sound": "c0.wav", "text": "x"}], "bad.jsonl:1: lacks a column for `audio`"),
    "no text column": ([{"id": "a", "audio": "c0.wav"}], "bad.jsonl:1: lacks a column for `text`; it has id, audio"),
    "empty": ([], "bad.jsonl: holds no rows; expected one row for each utterance"),
    "unknown language": (
        [ROW | {"language": "Klingon"}],
        "bad.jsonl:1: unknown language 'Klingon'; use one of Chinese",
    ),
    "lost audio": ([ROW | {"audio": "lost.wav"}], "lost.wav does not exist, nor does that of any of the first 1 rows"),
    "one lost": ([ROW, ROW | {"id": "b", "audio": "lost.wav"}], "lost.wav (b): no such file; check the path"),
    "no samples": (
        [ROW, ROW | {"id": "z", "audio": "zero.wav"}],
        "zero.wav (z): holds no audio (0 samples); remove it",
    ),
    "transcript not known": ([ROW | {"text": None}], "bad.jsonl:1: utterance 'c0' has no transcript"),
}


@pytest.mark.parametrize("name", ODD_MANIFESTS)
def test_a_manifest_that_cannot_be_trained_on(folder: Path, capsys: pytest.CaptureFixture, name: str):
    rows, told = ODD_MANIFESTS[name]
    manifest(folder, "bad.jsonl", *rows)
    assert told in error_of(capsys, "finetune", arguments(folder, "finetune", data="bad.jsonl"))
    assert not (folder / "out").exists()  # the name is free again


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["no JSON", "empty", "unknown language"])
def test_every_recipe_that_reads_a_manifest_says_so(
    folder: Path, capsys: pytest.CaptureFixture, recipe: str, name: str
):
    rows, told = ODD_MANIFESTS[name]
    manifest(folder, "bad.jsonl", *rows)
    if (recipe, name) == ("prepare", "unknown language"):  # its rows go to the rejects, and here that is all of them
        told = "all 1 clips were rejected, 1 of them like c0: unknown language 'Klingon'"
    assert told in error_of(capsys, recipe, arguments(folder, recipe, data="bad.jsonl"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_missing_manifest(folder: Path, capsys: pytest.CaptureFixture, recipe: str):
    sentence = error_of(capsys, recipe, arguments(folder, recipe, data="gone.jsonl"))
    assert f"{folder / 'gone.jsonl'}: no such file" in sentence


def test_a_missing_file_is_told_before_a_model_is_looked_for(capsys, folder: Path) -> None:
    given = [*arguments(folder, "finetune", data="gone.jsonl"), "model.path=no-such-model"]
    assert "gone.jsonl: no such file" in error_of(capsys, "finetune", given)


def test_zero_length_audio_whose_duration_is_stated_shows_when_it_is_read(folder: Path, capsys: pytest.CaptureFixture):
    manifest(folder, "bad.jsonl", ROW, ROW | {"id": "z", "audio": "zero.wav", "duration_s": 1.0})
    sentence = error_of(capsys, "finetune", arguments(folder, "finetune", data="bad.jsonl"))
    assert "2 of 4 clips could not be read, over data.max_failed_fraction=0.01, the last: " in sentence
    assert "zero.wav (z): holds no audio (0 samples)" in sentence
    assert sentence.endswith(f"see {folder / 'out' / 'failed_audio.jsonl'}")


def test_all_clips_rejected(folder: Path, capsys: pytest.CaptureFixture):
    manifest(folder, "bad.jsonl", *({"id": f"z{i}", "audio": "zero.wav", "text": "x"} for i in range(3)))
    sentence = error_of(capsys, "prepare", arguments(folder, "prepare", data="bad.jsonl"))
    assert sentence.startswith("all 3 clips were rejected, 3 of them like ")
    assert sentence.endswith(f"see {folder / 'out' / 'rejects.jsonl'}")


def test_all_clips_outside_the_limits(folder: Path, capsys: pytest.CaptureFixture):
    given = [*arguments(folder, "finetune"), "data.min_duration_s=20"]
    sentence = error_of(capsys, "finetune", given)
    assert sentence.startswith("source 'main': none of its 4 utterances is within the limits of length")


# ---- models


def without_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()


def without_a_tensor(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    del tensors["model.audio_tower.conv2d2.weight"]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


def of_another_family(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"model_type": "whisper"}))


def cut_short(model: Path) -> None:
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("recipe", ["finetune", "evaluate"])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without_weights, "no weights, neither model.safetensors nor model.safetensors.index.json"),
        (without_a_tensor, "tensors 1 missing (model.audio_tower.conv2d2.weight)"),
        (
            of_another_family,
            "says model_type 'whisper', and model.family=qwen3_asr opens qwen3_asr; for this checkpoint give",
        ),
        (cut_short, "model.safetensors: damaged or cut short"),
        (shutil.rmtree, "no such directory"),
    ],
)
def test_a_model_that_cannot_be_loaded(
    folder: Path, capsys: pytest.CaptureFixture, recipe: str, damage: Callable[[Path], None], told: str
):
    damage(folder / "model")
    sentence = error_of(capsys, recipe, arguments(folder, recipe))
    assert sentence.startswith(str(folder / "model"))
    assert told in sentence
    assert not (folder / "out").exists()


# ---- output


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_output_below_a_file(folder: Path, capsys: pytest.CaptureFixture, recipe: str):
    (folder / "out").write_text("in the way")
    sentence = error_of(capsys, recipe, arguments(folder, recipe))
    assert str(folder / "out") in sentence
    assert (folder / "out").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("recipe", RECIPES)
def test_an_output_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture, recipe: str):
    locked = folder / "locked"
    locked.mkdir(mode=0o500)
    given = [a.replace(str(folder / "out"), str(locked / "out")) for a in arguments(folder, recipe)]
    assert "Permission denied" in error_of(capsys, recipe, given)


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/sys/kernel").is_dir(), reason="what even root may not write: /sys")
@pytest.mark.parametrize("recipe", RECIPES)
def test_an_output_that_not_even_root_can_write(folder: Path, capsys: pytest.CaptureFixture, recipe: str):
    given = [a.replace(str(folder / "out"), "/sys/qasr") for a in arguments(folder, recipe)]
    sentence = error_of(capsys, recipe, given)
    assert "/sys/qasr" in sentence
    assert "Operation not permitted" in sentence


def test_a_run_directory_in_use(folder: Path, capsys: pytest.CaptureFixture):
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("kept")
    sentence = error_of(capsys, "finetune", arguments(folder, "finetune"))
    assert sentence == f"{folder / 'out'}: exists and is not empty; choose another run_dir: nothing is ever overwritten"
    assert [p.name for p in (folder / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("what", ["weights", "optimizer"])
def test_a_disk_that_fills_while_saving_leaves_the_checkpoint_before(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, what: str
):
    given = [*arguments(folder, "finetune"), "trainer.save_every=1", "adapt=full"]
    with monkeypatch.context() as patch:
        fill_disk_at_second_save(patch, what)
        sentence = error_of(capsys, "finetune", given)
    first, second = (folder / "out" / "checkpoints" / f"step_00000{n}" for n in (1, 2))
    assert sentence == (
        f"{second}: could not be saved, the disk is full; {first} is intact; free space, then resume=true"
    )
    assert [p.name for p in (folder / "out" / "checkpoints").iterdir() if not p.is_symlink()] == ["step_000001"]
    assert find_fault(first) is None
    assert (folder / "out" / "checkpoints" / "last").resolve() == first.resolve()

    assert exit_status(lambda: run_command_line("finetune", [*given, "resume=true"], PROJECT)) == 0
    assert list_checkpoints(folder / "out") == [first, second]


def fill_disk_at_second_save(patch: pytest.MonkeyPatch, what: str) -> None:
    """In the second save what writes the weights (or the optimizer) stops after its first tensor, as on a full disk."""
    name = "model.safetensors" if what == "weights" else "optimizer.safetensors"
    written: list[Path] = []
    begin, read = weights._header, weights._read

    def follow(*args: Any) -> bytes:
        frame = sys._getframe(1)
        written.append(frame.f_locals["file"])
        return begin(*args)

    def fill(tensor: Any) -> torch.Tensor:
        if written and written[-1].name == name and [one.name for one in written].count(name) == 2:
            raise OSError(28, "No space left on device", str(written[-1]))
        return read(tensor)

    patch.setattr(weights, "_header", follow)
    patch.setattr(weights, "_read", fill)


# ---- resuming and interrupting


def test_resume_with_another_config(folder: Path, capsys: pytest.CaptureFixture):
    given = arguments(folder, "finetune")
    assert exit_status(lambda: run_command_line("finetune", given, PROJECT)) == 0
    sentence = error_of(capsys, "finetune", [*given, "resume=true", "optim.lr=0.5", "seed=3"])
    assert sentence == (
        f"resume with another config than {folder / 'out'} was started with (optim.lr: 0.0002 -> 0.5, seed: 0 -> 3); "
        "give the same settings, or another run_dir"
    )
    # what changes nothing of the result may change
    assert (
        exit_status(lambda: run_command_line("finetune", [*given, "resume=true", "data.num_workers=1"], PROJECT)) == 0
    )


def test_resume_of_nothing_starts(folder: Path, capsys: pytest.CaptureFixture):
    """A cluster repeats one command after a preemption, also of a job that had not begun."""
    given = [*arguments(folder, "finetune"), "resume=true"]
    assert exit_status(lambda: run_command_line("finetune", given, PROJECT)) == 0
    assert f"{folder / 'out'} holds no checkpoint; starting at step 0" in capsys.readouterr().out


def test_ctrl_c_saves_says_how_to_go_on_and_the_run_can_be_finished(folder: Path, capsys: pytest.CaptureFixture):
    """A process of its own with a loader worker; SIGINT goes to all of its group, as a terminal sends it."""
    given = [
        *arguments(folder, "finetune"),
        *("data.num_workers=1", "trainer.max_steps=20", "trainer.num_epochs=null", "trainer.log_every=1"),
        *("data.train.main.passes_per_epoch=10", "data.max_batch_rows=1"),  # 20 steps in one epoch
    ]
    run = start_script(ROOT / "recipes" / "finetune.py", given, cwd=folder, is_session=True)
    wait_for_steps(folder / "out" / "metrics.jsonl", 2, run)
    os.killpg(run.pid, signal.SIGINT)
    _, shown = run.communicate(timeout=120)
    assert run.returncode == EXIT_INTERRUPTED, shown
    assert "Traceback" not in shown
    stopped_at = len(steps_logged(folder))
    assert 2 <= stopped_at < 20
    assert shown.splitlines()[-1] == (
        f"error: interrupted after step {stopped_at} of 20; saved; go on with the same command and resume=true "
        f"run_dir={folder / 'out'}"
    )
    assert find_fault(folder / "out" / "checkpoints" / f"step_{stopped_at:06d}") is None

    given = [*given, "resume=true"]
    assert exit_status(lambda: run_command_line("finetune", given, PROJECT)) == 0
    assert "done: 20 steps" in capsys.readouterr().out
    assert steps_logged(folder) == list(range(1, 21))
    assert (folder / "out" / "checkpoints" / "last").resolve().name == "step_000020"


def steps_logged(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]


def wait_for_steps(metrics: Path, number: int, run: Copy) -> None:
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and run.poll() is None:
        if metrics.is_file() and metrics.read_text().count("\n") >= number:
            return
        time.sleep(0.02)
    run.kill()
    pytest.fail(f"the run did not come to step {number}: {run.communicate()[1]}")
