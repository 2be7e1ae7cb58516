"""Every YAML file of configs/ composes to the class that checks it, and every key says what it means."""

from pathlib import Path

import pytest

from qasr_train.config.compose import Composed, compose_config, open_folders
from qasr_train.config.keys import documented_leaves, leaves
from qasr_train.config.load import refuse_untyped, register_schemas
from qasr_train.jobs.recipes import CONFIG_DIR, PROJECT, RECIPES, SCHEMAS, load_config
from tests.helpers import ROOT

# Where a source is put; `configs/source/` is for training and for benchmarks.
SOURCE_AT = {
    "align": "source",
    "check_transcripts": "source",
    "evaluate": "suite.sets.tried.source",
    "finetune": "data.train.tried",
    "honesty": "source",
    "learning_curve": "data.train.tried",
    "pseudo_label": "source",
    "routes": "source",
    "show_batch": "data.train.tried",
    "sweep_chunks": "suite.sets.tried.source",
    "sweep_strength": "suite.sets.tried.source",
}
NOT_HYDRA = {"launch"}  # configs of accelerate
EXPERIMENTS = sorted(path.stem for path in (CONFIG_DIR / "experiment").glob("*.yaml"))


def cases() -> list[tuple[str, dict[str, str]]]:
    """(recipe, group -> file): every file in the first recipe that takes it, and every group of every recipe with one file.

    A composition takes one file of each group, so that there are as many as the largest group has files. `own` comes first:
    the suite beside which `evaluate` takes a source. Experiments, which overlay other groups, have a test of their own.
    """
    chosen: list[tuple[str, dict[str, str]]] = []
    seen: set[tuple[str, str]] = set()
    for recipe, entry in RECIPES.items():
        files: dict[str, list[str]] = {}
        for group in entry.groups:
            for name in sorted(
                (path.stem for path in (CONFIG_DIR / group).glob("*.yaml")), key=lambda n: (n != "own", n)
            ):
                new = {(recipe, group), (group, name)} - seen
                if new:
                    seen |= new
                    files.setdefault(group, []).append(name)
        for number in range(max(map(len, files.values()), default=0)):
            chosen.append((recipe, {group: names[number] for group, names in files.items() if number < len(names)}))
    return chosen


def compose(recipe: str, *overrides: str) -> Composed:
    register_schemas(recipe, PROJECT)
    with open_folders(recipe, PROJECT.search_dirs) as folders:
        composed = compose_config(folders, overrides, is_complete=False)
        refuse_untyped(composed, PROJECT, folders)
    return composed


@pytest.mark.parametrize(("recipe", "files"), cases(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_file_of_a_group_composes_to_its_own_class(recipe: str, files: dict[str, str]) -> None:
    composed = compose(recipe, *(override(recipe, group, name) for group, name in files.items()))
    assert_has_schemas(composed)


def override(recipe: str, group: str, name: str) -> str:
    return f"+source@{SOURCE_AT[recipe]}={name}" if group == "source" else f"{group}={name}"


def assert_has_schemas(composed: Composed) -> None:
    for leaf in documented_leaves(composed.tree):
        assert leaf.field is not None, f"{leaf.key} has no schema"


def test_every_file_of_a_group_is_composed_somewhere() -> None:
    composed = {(group, name) for _, files in cases() for group, name in files.items()}
    files = {(path.parent.name, path.stem) for path in CONFIG_DIR.glob("*/*.yaml")}
    assert files - composed == {(g, n) for g, n in files if g in {"experiment", *NOT_HYDRA}}


def test_no_folder_of_configs_is_unknown() -> None:
    folders = {path.name for path in CONFIG_DIR.iterdir() if path.is_dir()}
    assert folders - {group for group, _ in SCHEMAS} - {"experiment"} - NOT_HYDRA == set()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_key_of_a_recipe_says_what_it_means(recipe: str) -> None:
    for leaf in documented_leaves(compose(recipe).tree):
        assert leaf.field is not None, leaf.key
        assert len(leaf.field.metadata.get("help", "")) > 5, f"{leaf.key} has no help"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_loads_once_its_missing_values_are_given(name: str) -> None:
    composed = compose("finetune", f"experiment={name}")
    assert_has_schemas(composed)
    given = [f"{leaf.key}=x" for leaf in leaves(composed.tree) if leaf.value == "???"]
    assert load_config("finetune", [f"experiment={name}", *given])


def test_a_learning_curve_takes_an_experiment() -> None:
    assert_has_schemas(compose("learning_curve", f"experiment={EXPERIMENTS[0]}"))


def test_configs_hold_values_only() -> None:
    for path in CONFIG_DIR.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert "_target_" not in text, path
        assert text.startswith("#"), f"{path.relative_to(ROOT)} does not say in its first line what it is for"


def test_the_config_folder_is_the_checkouts() -> None:
    assert Path(CONFIG_DIR) == ROOT / "configs"
