"""Owns how YAML files and command-line overrides become one typed Hydra config, and the sentence for whatever goes wrong there.

Input: a primary config's name, overrides ("trainer.max_steps=100"), the folders to search. Output: an OmegaConf tree whose nodes
are typed by the schemas in Hydra's ConfigStore. Overrides of values are applied here one by one, so that an error knows its key.
"""

import difflib
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigIndexError,
    ConfigKeyError,
    GrammarParseError,
    OmegaConfBaseException,
)

from qasr_train.config.keys import (
    all_keys,
    dataclass_named,
    did_you_mean,
    element_class,
    expected_text,
    field_at,
    inner_type,
    split_key,
    unknown_key_sentence,
)
from qasr_train.config.loader import RecordingLoader
from qasr_train.config.spelling import QUOTE_HINT, SpelledParser, as_meant
from qasr_train.errors import ConfigError

OVERLAY_GROUP = "experiment"  # the one group that is no section: its files overlay the whole config


@dataclass
class Composed:
    """A composed config, not yet checked for missing values or ranges.

    tree: the typed OmegaConf tree.
    choices: config group (or group@package) -> the file chosen from it; None where it is off.
    """

    tree: DictConfig
    choices: dict[str, str | None]


@dataclass(frozen=True)
class ConfigFolders:
    """Hydra set up for one primary config and the folders its YAML files are looked up in."""

    config_name: str
    search_dirs: tuple[Path, ...]
    loader: RecordingLoader

    def options(self, group: str) -> list[str]:
        """The names a user may choose in a group, sorted; schemas, which are no files, are left out.

        Hydra lists them too, but copies every schema it knows for each question, some 20 ms.
        """
        return sorted({path.stem for folder in self.search_dirs for path in (folder / group).glob("*.yaml")})

    def file_of(self, name: str) -> str:
        """The YAML file behind "trainer/long", as a message should name it."""
        found = [folder / f"{name}.yaml" for folder in self.search_dirs if (folder / f"{name}.yaml").is_file()]
        if found and found[0].is_relative_to(self.search_dirs[0]):
            return str(found[0].relative_to(self.search_dirs[0].parent))
        return str(found[0]) if found else f"{name}.yaml"


@contextmanager
def open_folders(config_name: str, search_dirs: Sequence[Path]) -> Iterator[ConfigFolders]:
    """Set Hydra up; `search_dirs` are the project's configs first, then the user's own. Hydra writes no file and logs nothing."""
    for folder in search_dirs:
        if not folder.is_dir():
            raise ConfigError(
                f"{folder}: no such folder of configs; run from a clone of the project and check --config-dir"
            )
    if not (search_dirs[0] / f"{config_name}.yaml").is_file():
        raise ConfigError(f"{search_dirs[0] / config_name}.yaml: no such file; this recipe needs it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield ConfigFolders(config_name, tuple(search_dirs), RecordingLoader(search_dirs))


def compose_config(folders: ConfigFolders, overrides: Sequence[str], *, is_complete: bool = True) -> Composed:
    """Compose `<config_name>.yaml` with overrides; values still missing stay "???".

    Args:
        overrides: as typed on the command line; a comma list stands for a sweep and is refused (see `expand_sweeps`).
        is_complete: refuse a group from which nothing is chosen yet; off for --help and --cfg, which show what is missing.

    Raises:
        ConfigError: one sentence naming key, value, file and choices.
    """
    parsed = [parse_override(text, folders.loader) for text in overrides]
    for override in parsed:
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.input_line!r}: several values need --multirun; for one list write 'key=[a,b]', "
                "for text with a comma write \"key='a,b'\""
            )
    is_group = [_is_group(override, folders) for override in parsed]
    lines = [_group_line(o, folders) for o, chosen in zip(parsed, is_group, strict=True) if chosen]
    keys = [str(o.key_or_group) for o, chosen in zip(parsed, is_group, strict=True) if not chosen]
    composed = _compose_groups(folders, [line for line in lines if line], is_complete=is_complete, keys=keys)
    for override, chosen in zip(parsed, is_group, strict=True):
        if not chosen:
            _apply(override, composed.tree)
    return composed


def expand_sweeps(folders: ConfigFolders, overrides: Sequence[str]) -> list[list[str]]:
    """All combinations of the comma lists, `range(...)` and `glob(...)` in overrides: one list of overrides for each job."""
    jobs: list[list[str]] = [[]]
    for text in overrides:
        override = parse_override(text, folders.loader)
        values = [text]
        if override.is_sweep_override():
            key = override.get_key_element()
            if not override.is_discrete_sweep():
                raise ConfigError(f"{text!r}: an interval has no list of values; write them out, e.g. {key}=1,2,3")
            swept = [str(value) for value in override.sweep_string_iterator()]
            values = [f"{key}={value}" for value in swept if not value.endswith("_schema")]
            if not values:
                raise ConfigError(f"{text!r}: matches nothing, so there is no job to run")
        jobs = [[*job, value] for job in jobs for value in values]
    return jobs


def parse_override(text: str, loader: ConfigLoader | None = None) -> Override:
    """One override; a value that Hydra's grammar cannot read (`path=/été/take (1).wav`) is taken as it was typed."""
    parser = SpelledParser.create(config_loader=loader)
    key, equals, value = text.partition("=")
    override = _try_parse(parser, text)
    if override is None and equals and not value.lstrip().startswith(("[", "{", "'", '"')):
        escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
        override = _try_parse(parser, f"{key.strip()}='{escaped}'")
    if override is None or not override.key_or_group:
        raise ConfigError(f"cannot read {text!r}: write key=value, a list as 'key=[a,b]', odd text as \"key='a=b'\"")
    if override.key_or_group.split(".")[0].split("/")[0] == "hydra":
        raise ConfigError(f"{text!r}: settings of Hydra itself have no effect here; remove it")
    return override


def _try_parse(parser: OverridesParser, text: str) -> Override | None:
    try:
        return parser.parse_overrides([text])[0]  # unlike parse_override, this also gives glob() its folders
    except HydraException:
        return None


def _is_group(override: Override, folders: ConfigFolders) -> bool:
    if isinstance(override.value(), dict):
        return False
    return override.package is not None or bool(folders.options(override.key_or_group))


def _group_line(override: Override, folders: ConfigFolders) -> str:
    """The choice of a group in Hydra's own words; "" where there is nothing to choose."""
    group, value = override.key_or_group, override.value()
    options = folders.options(group)
    names = ", ".join(options)
    if override.is_delete() and override.package is None and group != OVERLAY_GROUP:
        raise ConfigError(f"~{group}: this group cannot be left out; choose {group}=NAME from {names}")
    if override.is_delete():
        return str(override.input_line)
    if value is None and group == OVERLAY_GROUP:
        return ""
    if value is None or isinstance(value, list) or value == "":
        raise ConfigError(f"{override.input_line}: {group} takes one name; choose from {names}")
    if str(value) not in options and not str(value).endswith("_schema"):
        raise ConfigError(f"{group}={value}: no such {group}{did_you_mean(str(value), options)}; choose from {names}")
    return f"{override.get_key_element()}='{value}'"


def _compose_groups(
    folders: ConfigFolders, group_lines: list[str], *, is_complete: bool, keys: Sequence[str] = ()
) -> Composed:
    """The tree of the chosen groups; `keys` are the settings given besides, for the sentence about a group not chosen."""
    try:
        tree, choices = folders.loader.compose(folders.config_name, group_lines, is_complete=is_complete)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{mark.name}:{mark.line + 1}" if mark else "a config file"
        raise ConfigError(f"{where}: not valid YAML ({error.problem})") from error
    except MissingConfigException as error:
        raise ConfigError(_missing_file_sentence(error, folders)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_composition_sentence(error, folders, keys)) from error
    OmegaConf.set_struct(tree, None)  # typed nodes stay closed by their schema; plain dicts take new entries
    return Composed(tree, choices)


def _missing_file_sentence(error: MissingConfigException, folders: ConfigFolders) -> str:
    """A choice made in a YAML file's defaults list (one made on the command line is checked before); Hydra does not say which."""
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    options = folders.options(group) if group else []
    return f"a defaults list chooses {group}={name}: no such file{did_you_mean(name, options)}; choose from {', '.join(options)}"


def _composition_sentence(error: Exception, folders: ConfigFolders, keys: Sequence[str]) -> str:
    text = str(error)
    in_file = re.search(r"In '(.+?)'", text)
    place = f"{folders.file_of(in_file[1])}: " if in_file else ""
    unchosen = re.search(r"You must specify '(.+?)'", text)
    if unchosen:
        options = ", ".join(folders.options(unchosen[1].partition("@")[0]))
        beside = next((f"; {key}=... goes beside it" for key in keys if key.startswith(f"{unchosen[1]}.")), "")
        return f"{unchosen[1]} is missing: choose {unchosen[1]}=NAME from {options}{beside}"
    no_match = re.search(r"Could not (?:override|delete) '(.+?)'", text)
    if no_match:
        groups = [] if in_file else sorted(_compose_groups(folders, [], is_complete=False).choices)
        known = f"; its groups are {', '.join(groups)}" if groups else "; write the group as `override /group: name`"
        return f"{place}{folders.config_name} has no group {no_match[1]}{did_you_mean(no_match[1], groups)}{known}"
    full_key, class_name = re.search(r"full_key: (\S+)", text), re.search(r"object_type=(\w+)", text)
    if full_key and in_file and full_key[1] == OVERLAY_GROUP:
        return f"{place}its first line must be `# @package _global_`"
    cls = dataclass_named(class_name[1]) if class_name else None
    if full_key and cls is not None:
        return place + _sentence_about_key(full_key[1], cls, text)
    detail = text.split("composing config:\n")[-1].strip().splitlines()
    return place + (detail[0] if detail else type(error).__name__)


def _sentence_about_key(key: str, cls: type, text: str) -> str:
    """An error of OmegaConf about one key of a YAML file, told with the field of its class."""
    section = key.rpartition(".")[0]
    if re.search(r"Key '.*' not in", text):
        return unknown_key_sentence(key, [f"{section}.{f.name}" if section else f.name for f in fields(cls)])
    tree = OmegaConf.structured(cls)
    found = field_at(tree, split_key(key)[-1])
    value = re.search(r"[Vv]alue '(.*?)'", text)
    expected = expected_text(found[1], found[0]) if found else "another type"
    hint = _null_hint(found, is_null=value is not None and value[1] == "None")
    return f"{key}{f'={value[1]}' if value else ''}: expected {expected}{hint}"


def _apply(override: Override, tree: DictConfig) -> None:
    key = ".".join(split_key(override.key_or_group))
    value = as_meant(override.value(), key, tree)
    if override.is_delete():
        return _delete(key, tree)
    if field_at(tree, key) is None:
        raise ConfigError(unknown_key_sentence(key, all_keys(tree)))
    _make_room(key, tree, is_add=override.is_add() or override.is_force_add())
    try:
        OmegaConf.update(tree, key, value, merge=True)
    except (ConfigAttributeError, ConfigKeyError, ConfigIndexError) as error:
        raise ConfigError(unknown_key_sentence(error.full_key or key, all_keys(tree))) from error
    except GrammarParseError as error:
        raise ConfigError(
            f"{key}={value}: not a complete reference ${{other.key}}; write \\${{ for a plain ${{"
        ) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_wrong_value_sentence(key, value, error, tree)) from error
    return None


def _wrong_value_sentence(key: str, value: Any, error: OmegaConfBaseException, tree: DictConfig) -> str:
    """The value may be a mapping of which one entry is wrong: then OmegaConf names that entry's key and value."""
    wrong_key = error.full_key if error.full_key and field_at(tree, error.full_key) else key
    if wrong_key != key and (inner_value := re.search(r"[Vv]alue '(.*?)'", str(error))):
        value = inner_value[1]
    found = field_at(tree, wrong_key)
    expected = expected_text(found[1], found[0]) if found else "another type"
    return f"{wrong_key}={_as_typed(value)}: expected {expected}{_null_hint(found, is_null=value is None)}"


def _null_hint(found: Any, *, is_null: bool) -> str:
    """null is nothing, and a text that may not be off wants something: perhaps the word itself."""
    return f"; if the word null is meant, {QUOTE_HINT}" if is_null and found and inner_type(found[1]) is str else ""


def _make_room(key: str, tree: DictConfig, *, is_add: bool) -> None:
    """Make a new entry in a dict of config dataclasses (`data.train.extra.path=x`), unless its name looks like a typo.

    Raises:
        ConfigError: the name is near an existing one (`+key=...` adds it all the same); the section is off (null).
    """
    parts = split_key(key)
    for length in range(1, len(parts)):
        parent_key, name = ".".join(parts[:length]), parts[length]
        parent, found = OmegaConf.select(tree, parent_key), field_at(tree, parent_key)
        if parent is None and found and getattr(inner_type(found[1]), "is_opened_by_a_key", False):
            OmegaConf.update(tree, parent_key, OmegaConf.structured(inner_type(found[1])), merge=False)
            parent = OmegaConf.select(tree, parent_key)
        if parent is None:
            raise ConfigError(
                f"{key}: {parent_key} is off (null), so nothing in it can be set; choose a file that has it"
            )
        cls = element_class(found[1]) if found else None
        if cls is None or not isinstance(parent, DictConfig) or name in parent:
            continue
        near = difflib.get_close_matches(name, [str(k) for k in parent], n=1, cutoff=0.75)
        if near and not is_add:
            raise ConfigError(
                f"unknown key {key}; did you mean {parent_key}.{near[0]}? (to add an entry {name} write +{key}=...)"
            )
        parent[name] = OmegaConf.structured(cls)


def _delete(key: str, tree: DictConfig) -> None:
    parent_key, _, name = key.rpartition(".")
    parent = OmegaConf.select(tree, parent_key) if parent_key else tree
    if not isinstance(parent, DictConfig) or name not in parent:
        raise ConfigError(unknown_key_sentence(key, all_keys(tree)))
    found = field_at(tree, parent_key) if parent_key else None
    if found is None or OmegaConf.get_type(parent) is not dict:
        raise ConfigError(f"~{key}: a setting cannot be removed, only an entry of a mapping; give it another value")
    del parent[name]


def _as_typed(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
