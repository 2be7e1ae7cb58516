"""The tables of the project: what they are derived from; a config is composed and checked before anything heavy is imported."""

import ast
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from qasr_train.config.load import OUTPUT_NAMES, Tables, import_named, load_config, name_output
from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import PROJECT, RECIPES, SCHEMAS
from qasr_train.jobs.recipes import load_config as load_project
from qasr_train.models.families import FAMILIES
from qasr_train.models.settings import Capability
from qasr_train.objectives.table import OBJECTIVES, ObjectiveEntry
from qasr_train.transcription.prompts import PromptForm
from tests.helpers import ROOT

# The least by which a config of each recipe is complete; nothing is looked at but the config.
LEAST = {
    "prepare": "source.path=x out=y",
    "show_batch": "data.train.main.path=x",
    "finetune": "data.train.main.path=x",
    "show_run": "run=x",
    "transcribe": "files=[x.wav]",
    "serve": "model=tiny",
    "align": "model=tiny_aligner source.path=x out=y",
    "evaluate": "model=tiny suite=own suite.manifest=x run_dir=y",
    "score": "predictions=x normalizer=qasr-1 out=y",
    "compare": "baseline=x candidate=y out=z",
    "export": "checkpoint=x out=y",
    "check_transcripts": "model=tiny source.path=x run_dir=y",
    "pseudo_label": "model=tiny source.path=x run_dir=y",
    "sweep_strength": "checkpoint=x suite=demo suite.sets.medical.source.path=x suite.sets.general.source.path=x run_dir=y",
    "sweep_chunks": "suite=own suite.manifest=x run_dir=y",
    "honesty": "model=tiny source.path=x run_dir=y",
    "routes": "model=tiny source.path=x run_dir=y",
    "learning_curve": "data.train.main.path=x suite=own suite.manifest=x run_dir=y",
}
# What `--help`, `--cfg job`, a mistake and a run do before the job: compose, show, check.
SCRIPT = """
import contextlib, io, sys
from qasr_train.config.command_line import run_command_line
from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import PROJECT, load_config

def refused(recipe, *given):
    try:
        run_command_line(recipe, given, PROJECT)
    except ConfigError:
        return True

for recipe, least in LEAST.items():
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert run_command_line(recipe, ["--help"], PROJECT) == 0
        assert run_command_line(recipe, ["--cfg", "job"], PROJECT) == 0
    assert shown.getvalue().startswith(f"{recipe}: ")
    assert load_config(recipe, least.split())
    assert refused(recipe, *least.split(), "seeed=1")
    heavy = {"torch", "transformers", "datasets", "matplotlib", "wandb"} & set(sys.modules)
    assert not heavy, f"{recipe} imports {heavy}"
assert refused("finetune", "data.train.main.path=x", "objective=kl_to_base")  # settings that contradict each other
assert "torch" not in sys.modules
"""


def test_a_config_is_composed_shown_and_refused_without_anything_heavy() -> None:
    assert set(LEAST) == set(RECIPES)
    command = [sys.executable, "-c", f"LEAST = {LEAST!r}\n{SCRIPT}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_families_and_objectives_are_schemas_by_standing_in_their_table() -> None:
    assert {name: SCHEMAS["model", name] for name in FAMILIES} == {n: family.config for n, family in FAMILIES.items()}
    assert {name for group, name in SCHEMAS if group == "objective"} == set(OBJECTIVES)


@pytest.mark.parametrize("name", RECIPES)
def test_the_job_of_a_recipe_is_there_and_its_summary_opens_the_file(name: str) -> None:
    assert callable(import_named(RECIPES[name].job))
    text = ast.get_docstring(ast.parse((ROOT / "recipes" / f"{name}.py").read_text(encoding="utf-8")))
    assert text is not None and text.startswith(RECIPES[name].summary)


@dataclass
class LevelConfig:
    """A toy objective; an heir of nothing."""

    name: str = setting("level", help="name; the objective")
    level_nats: float = setting(1.0, ge=0, help="nats; what the loss is held at")

    def __post_init__(self) -> None:
        check_settings(self, "objective")

    def check_run(self, sources: Sequence[str], *, is_sharded: bool) -> None:
        """Any run will do."""


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """The project's tables with one more objective: its entry, its schema, its file."""
    monkeypatch.setitem(
        OBJECTIVES, "level", ObjectiveEntry(LevelConfig, "no.module", frozenset({Capability.TOKEN_LOSS}))
    )
    path = tmp_path / "objective" / "level.yaml"
    path.parent.mkdir()
    path.write_text("# A toy.\ndefaults: [level_schema, _self_]\nlevel_nats: 3.0\n", encoding="utf-8")
    return Tables(RECIPES, {**SCHEMAS, ("objective", "level"): LevelConfig}, (*PROJECT.search_dirs, tmp_path))


def test_an_objective_need_not_inherit_from_cross_entropy(tables: Tables) -> None:
    given = ["objective=level", "data.train.main.path=x.jsonl"]
    assert load_config("finetune", given, tables).objective == LevelConfig(level_nats=3.0)
    for wrong, told in {
        "objective.level_nats=-1": "objective.level_nats=-1.0: expected at least 0 (nats; what the loss is held at)",
        "objective.levl_nats=1": "unknown key objective.levl_nats; did you mean objective.level_nats?",
        "objective.chunk_rows=1": "unknown key objective.chunk_rows; the keys of objective are name, level_nats",
        "model=parakeet_tdt_1.1b model.path=x": "model.family=parakeet_tdt: models of this family can be evaluated but not "
        "trained; train a Qwen3-ASR or a Whisper, such as model=qwen3_asr_0.6b or model=whisper_small",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load_config("finetune", [*given, *wrong.split()], tables)
        assert str(caught.value) == told


def test_an_objective_whose_file_lacks_its_schema_is_refused(tables: Tables) -> None:
    path = tables.search_dirs[-1] / "objective" / "plain.yaml"
    path.write_text("name: level\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match="its defaults list must begin with cross_entropy_schema or kl_to_base_schema"
    ):
        load_config("finetune", ["objective=plain", "data.train.main.path=x.jsonl"], tables)


@pytest.mark.parametrize(("recipe", "key"), [("score", "out"), ("evaluate", "run_dir")])
@pytest.mark.parametrize("typed", ["out", "run_dir"])
def test_where_results_go_has_one_name_in_every_recipe(recipe: str, key: str, typed: str) -> None:
    assert name_output(["seed=1", f"{typed}=runs/a=b", "model.out=3"], RECIPES[recipe]) == [
        "seed=1",
        f"{key}=runs/a=b",
        "model.out=3",
    ]


def test_both_names_of_where_results_go_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="^out=a and run_dir=b are one setting: where the results go; give one of them$"
    ):
        load_project("evaluate", ["out=a", "run_dir=b"])


def test_every_recipe_has_a_name_for_where_results_go() -> None:
    assert {recipe.output for recipe in RECIPES.values()} == {*OUTPUT_NAMES, None}
    assert [name for name, recipe in RECIPES.items() if recipe.output is None] == ["serve"]  # writes nothing


@pytest.mark.parametrize("recipe", ["evaluate", "pseudo_label", "check_transcripts", "finetune", "learning_curve"])
def test_a_prompt_that_a_family_has_not_is_refused_when_the_config_is_loaded(recipe: str) -> None:
    given = [*LEAST[recipe].split(), "decode.prompt=served"]
    assert load_project(recipe, given).decode.prompt is PromptForm.served
    other = [word for word in given if not word.startswith("model=")]
    with pytest.raises(ConfigError, match="^decode.prompt=served: whisper models have no system turn"):
        load_project(recipe, [*other, "model=whisper_tiny"])
    with pytest.raises(ConfigError, match="decode.prompt.*sreved.*own, served, no_turn"):
        load_project(recipe, [*given[:-1], "decode.prompt=sreved"])
