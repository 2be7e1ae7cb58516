"""What a run's folder leads to, in every setting that names a model."""

import json
from pathlib import Path

import pytest

from qasr_train.alignment.hearing import recogniser_at
from qasr_train.errors import CheckpointError
from qasr_train.jobs.recipes import load_config
from qasr_train.models.qwen3_aligner.config import Qwen3AlignerConfig
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.run_folder import checkpoint_in_run, name_of_run
from qasr_train.models.whisper.config import WhisperConfig


def step(run: Path, name: str, link: str, file: str = "config.json") -> str:
    """A checkpoint of a run with the link that leads to it."""
    folder = run / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / file).write_text(json.dumps({"model_type": "qwen3_asr"}))
    (run / "checkpoints" / link).symlink_to(name)
    return str(folder)


@pytest.mark.parametrize("config", [Qwen3ASRConfig, WhisperConfig, Qwen3AlignerConfig])
def test_of_a_run_the_best_checkpoint_is_meant_else_the_last(config: type, tmp_path: Path) -> None:
    run = tmp_path / "medical"
    last = step(run, "step_000006", "last")
    assert config(path=str(run)).path == last, "the step's folder, not the link, which moves on"
    best = step(run, "step_000004", "best", "adapter_config.json")
    made = config(path=str(run), base=str(run))
    assert (made.path, made.base) == (best, best)
    assert config(path=last).path == last


def test_every_recipe_takes_a_run(tmp_path: Path) -> None:
    last = step(tmp_path / "run", "step_000006", "last")
    run = str(tmp_path / "run")
    source = "source.path=x.jsonl"
    for recipe, given in {
        "evaluate": ["model=tiny", "suite=own", "suite.manifest=x.jsonl", "run_dir=o"],
        "align": ["model=tiny_aligner", source, "out=o"],
        "routes": ["model=tiny", source, "run_dir=o"],
        "pseudo_label": ["model=tiny", source, "run_dir=o"],
        "honesty": ["model=tiny", source, "run_dir=o"],
        "finetune": ["model=tiny", "data.train.main.path=x.jsonl", "run_dir=o"],
        "transcribe": ["model=tiny", "files=[x.wav]"],
    }.items():
        assert load_config(recipe, [*given, f"model.path={run}"]).model.path == last, recipe
    assert recogniser_at(run).path == last
    exported = load_config("export", [f"checkpoint={run}", f"average=[{run}]", "out=o"])
    assert {exported.checkpoint, *exported.average} == {f"{run}/checkpoints/last"}


@pytest.mark.parametrize(
    ("recipe", "why"),
    [("finetune", "this run has saved no checkpoint yet"), ("evaluate", "this run is one of evaluate, which saves no")],
)
def test_a_run_without_a_checkpoint_is_refused(recipe: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "run.json").write_text(json.dumps({"recipe": recipe}))
    with pytest.raises(CheckpointError, match=rf"^{tmp_path}: {why}"):
        load_config("evaluate", ["model=tiny", f"model.path={tmp_path}", "suite=own", "suite.manifest=x", "run_dir=o"])


def test_other_paths_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    for path in ("Qwen/Qwen3-ASR-0.6B", "bundled:tiny-2", "~/gone", "", str(tmp_path), str(tmp_path / "model")):
        assert checkpoint_in_run(path) == path


def test_a_model_is_called_by_its_run() -> None:
    assert name_of_run("runs/medical/checkpoints/step_000006") == "medical"
    assert (name_of_run("runs/medical/"), name_of_run("bundled:tiny-2"), name_of_run("a/b")) == (
        "medical", "bundled:tiny-2", "b",
    )  # fmt: skip
