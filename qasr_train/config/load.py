"""Owns loading a config: from a recipe's entry and the schemas of its groups to the job's own dataclass, checked.

Input: `Tables` (recipes, schemas, folders of YAML), a recipe's name, overrides. Output: an instance of the recipe's config class,
with no OmegaConf left in it. Knows no recipe by name: the project's tables stand in `jobs/recipes.py`.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qasr_train.config.compose import OVERLAY_GROUP, Composed, ConfigFolders, compose_config, open_folders
from qasr_train.config.keys import Leaf, expected_text, leaves, unknown_key_sentence
from qasr_train.config.positional import files_as_setting
from qasr_train.config.settings import check_value
from qasr_train.errors import ConfigError

# Where results go is `out` in every recipe; what its own key is called (`run_dir` in five of them) does in every one as well.
OUTPUT_NAMES = ("out", "run_dir")


@dataclass(frozen=True)
class Recipe:
    """One job a person can run. What it names as "module:name" is imported when it is needed: the config first, then the job.

    summary: what it does, in a sentence; `qasr` lists it, and `recipes/<name>.py` begins with it.
    config: "module:Class" of the job's config dataclass; imports no torch.
    job: "module:function", from that config to an exit status (None: 0); imported once the config is checked.
    output: the key of the folder or file it writes; in a --multirun each job gets its own below it. None: it writes nothing.
    groups: the groups of `Tables.schemas` its config is composed from.
    examples: command lines for --help, without `python recipes/<name>.py`.
    files: the key of a list of paths, which stand on the command line as plain words; None: every word is a setting.
    """

    summary: str
    config: str
    job: str
    output: str | None
    groups: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    files: str | None = None


@dataclass(frozen=True)
class Tables:
    """What a recipe's name and a config group stand for, and where YAML files lie; of the project, of a test.

    schemas: (group, name) -> config dataclass; YAML files of the group name it as `<name>_schema` in their defaults list.
    search_dirs: folders of YAML, the project's first.
    """

    recipes: Mapping[str, Recipe]
    schemas: Mapping[tuple[str, str], type]
    search_dirs: tuple[Path, ...]


def load_config(recipe_name: str, overrides: Sequence[str], tables: Tables) -> Any:
    """The checked config of one job: an instance of its recipe's dataclass, with no OmegaConf left in it.

    Raises:
        ConfigError: an unknown key, wrong type, value out of range, missing value, or settings that contradict each other.
    """
    register_schemas(recipe_name, tables)
    overrides = name_output(overrides, tables.recipes[recipe_name])
    with open_folders(recipe_name, tables.search_dirs) as folders:
        return build_config(compose_config(folders, overrides), folders, tables)


def name_output(overrides: Sequence[str], recipe: Recipe) -> list[str]:
    """The overrides, with the recipe's own key in them for where its results go, whichever of OUTPUT_NAMES was typed.

    Raises:
        ConfigError: both were.
    """
    if recipe.output is None:
        return list(overrides)
    typed = [text for text in overrides if text.partition("=")[0].strip() in OUTPUT_NAMES]
    if len({text.partition("=")[0].strip() for text in typed}) > 1:
        raise ConfigError(f"{typed[0]} and {typed[1]} are one setting: where the results go; give one of them")
    return [recipe.output + "=" + text.partition("=")[2] if text in typed else text for text in overrides]


def name_files(words: Sequence[str], recipe: Recipe, top: type) -> list[str]:
    """The overrides of a command line whose words may be files too, where the recipe takes files.

    Raises:
        ConfigError: files are given in two ways.
    """
    if recipe.files is None:
        return list(words)
    keys = {field.name for field in fields(top)} | {*recipe.groups, *OUTPUT_NAMES, OVERLAY_GROUP}
    return files_as_setting(words, recipe.files, keys)


def register_schemas(recipe_name: str, tables: Tables) -> type:
    """Import a recipe's dataclasses and put them into Hydra's ConfigStore; returns the top-level one."""
    recipe = tables.recipes[recipe_name]
    store = ConfigStore.instance()
    top = _config_class(recipe)
    _store(store, f"{recipe_name}_schema", top)
    for (group, name), schema in tables.schemas.items():
        if group in recipe.groups:
            _store(store, f"{name}_schema", schema, group)
    return top


def _store(store: ConfigStore, name: str, node: type, group: str | None = None) -> None:
    """Store a dataclass unless it stands there: working out its tree takes Hydra a millisecond or two each."""
    known = store.repo.get(group, {}) if group else store.repo
    stored = known.get(f"{name}.yaml")
    if stored is None or OmegaConf.get_type(stored.node) is not node:
        store.store(name=name, node=node, group=group)


def build_config(composed: Composed, folders: ConfigFolders, tables: Tables) -> Any:
    """Check a composed config and turn it into dataclasses: missing values, references, ranges, then `__post_init__`."""
    tree, recipe_name = composed.tree, folders.config_name
    if OmegaConf.get_type(tree) is not _config_class(tables.recipes[recipe_name]):
        raise ConfigError(f"{folders.file_of(recipe_name)}: its defaults list must begin with {recipe_name}_schema")
    refuse_untyped(composed, tables, folders)
    given = list(leaves(tree))
    _refuse_missing(given)
    _resolve_references(tree, given)
    for leaf in leaves(tree):
        _check_leaf(leaf)
    return OmegaConf.to_object(tree)


def _config_class(recipe: Recipe) -> type:
    cls = import_named(recipe.config)
    assert is_dataclass(cls) and isinstance(cls, type), f"{recipe.config} is no dataclass"
    return cls


def import_named(target: str) -> Any:
    """What "module:name" stands for."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _refuse_missing(given: Sequence[Leaf]) -> None:
    missing = [leaf for leaf in given if leaf.value == "???"]
    if not missing:
        return
    first = missing[0]
    others = f"; also missing: {', '.join(leaf.key for leaf in missing[1:])}" if missing[1:] else ""
    raise ConfigError(
        f"{first.key} is missing: give {first.key}=VALUE, {expected_text(first.annotation, first.field)}{others}"
    )


def _resolve_references(tree: DictConfig, given: Sequence[Leaf]) -> None:
    """Replace `${...}` by what it stands for, key by key, so that an error names the key."""
    references = [leaf for leaf in given if _has_reference(leaf.value)]
    for leaf in references:
        try:
            OmegaConf.select(tree, leaf.key, throw_on_resolution_failure=True)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{leaf.key}={leaf.value}: cannot be filled in ({reason})") from error
    OmegaConf.resolve(tree)


def _has_reference(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_reference(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_reference(item) for item in value)
    return isinstance(value, str) and "${" in value


def _check_leaf(leaf: Leaf) -> None:
    if leaf.field is None:
        raise ConfigError(unknown_key_sentence(leaf.key, [leaf.key.rpartition(".")[0] or leaf.key]))
    check_value(leaf.key, leaf.value, leaf.field)


def refuse_untyped(composed: Composed, tables: Tables, folders: ConfigFolders) -> None:
    """A YAML file without its schema line would load as a plain mapping or as the group's base class: nothing checks it."""
    tree = composed.tree
    for key in map(str, tree):
        names = [name for group, name in tables.schemas if group == key]
        node_class = OmegaConf.get_type(tree, key) if names and not OmegaConf.is_missing(tree, key) else None
        if node_class is not None and node_class not in [tables.schemas[key, name] for name in names]:
            chosen, schemas = composed.choices.get(key), " or ".join(f"{name}_schema" for name in names)
            raise ConfigError(f"{folders.file_of(f'{key}/{chosen}')}: its defaults list must begin with {schemas}")
