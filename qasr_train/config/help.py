"""Owns the text of `--help`: how to call a recipe, the groups and their choices, every key with value, unit, meaning and range.

Input: the recipe's entry, its dataclass, the folders of YAML. Output: text, generated from the same fields that are checked.
"""

import inspect
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qasr_train.config.compose import Composed, ConfigFolders, compose_config
from qasr_train.config.keys import ENTRY_NAME, Leaf, documented_leaves, is_optional
from qasr_train.config.settings import choices_of, range_of

if TYPE_CHECKING:
    from qasr_train.config.load import Recipe

LINE_WIDTH = 110
_OPTIONS = """\
  --help              this text; with settings before it (model=NAME --help) the keys and values as they then are
  --cfg job           print the whole config and stop; with --resolve also what ${...} stands for
  --multirun          one job for each value of a comma list: seed=1,2,3 or experiment=medical,legal
  --config-dir DIR    also look up YAML files (DIR/experiment/mine.yaml) in a folder of your own
  QASR_DEBUG=1        in the environment: show the traceback of an error, and what the libraries print"""

_GROUPS = "groups (group=name picks a YAML file of configs/<group>/; * is the one in use):"


def help_text(
    name: str, recipe: "Recipe", top: type, folders: ConfigFolders, overrides: Sequence[str], program: str
) -> str:
    """The whole help of one recipe, called as `program`, for the config as composed with `overrides`."""
    composed = compose_config(folders, overrides, is_complete=False)
    groups = _group_lines(composed, folders)
    summary = inspect.cleandoc(top.__doc__ or "")
    examples = [f"  {program} {example}" for example in recipe.examples]
    return "\n".join(
        [
            f"{name}: {summary}",
            "",
            f"usage: {program} {_files(recipe)}[key=value ...]{' [group=name ...]' if groups else ''} [options]",
            *(["", "examples:", *examples] if examples else []),
            "",
            "options:",
            _OPTIONS,
            "",
            *([_GROUPS, *groups, ""] if groups else []),
            "keys (??? must be given, null means off; NAME is yours to choose):",
            *_key_lines(composed),
        ]
    )


def _files(recipe: "Recipe") -> str:
    return f"[{recipe.files.removesuffix('s').upper()} ...] " if recipe.files else ""


def _group_lines(composed: Composed, folders: ConfigFolders) -> list[str]:
    lines = []
    for group, chosen in sorted(composed.choices.items()):
        options = folders.options(group.partition("@")[0])
        names = ", ".join(f"{name}*" if name == chosen else name for name in options)
        must_choose = " (one must be chosen)" if chosen == "???" else ""
        lines += _wrapped(f"  {group}: ", names + must_choose)
    return lines


def _key_lines(composed: Composed) -> list[str]:
    lines: list[str] = []
    section = ""
    shown_entries: dict[int, str] = {}  # field of an entry -> the first dict that has such entries
    for leaf in documented_leaves(composed.tree):
        entry = leaf.key.partition(f".{ENTRY_NAME}.")[0] if f".{ENTRY_NAME}." in leaf.key else ""
        first = shown_entries.setdefault(id(leaf.field), entry) if entry else ""
        if first != entry:  # data.dev.NAME has the keys of data.train.NAME
            line = f"  {entry}.{ENTRY_NAME}: as {first}.{ENTRY_NAME}"
            lines += [] if line in lines else ["", line]
            continue
        if leaf.key.rpartition(".")[0] != section:
            section = leaf.key.rpartition(".")[0]
            lines.append("")
        lines.append(f"  {leaf.key}={_shown(leaf.value)}")
        lines += _wrapped("      ", _meaning(leaf))
    return lines


def _meaning(leaf: Leaf) -> str:
    choices, notes = choices_of(leaf.annotation), []
    if choices:
        notes.append(f"one of {', '.join(choices)}")
    if leaf.field is not None and range_of(leaf.field):
        notes.append(range_of(leaf.field))
    if is_optional(leaf.annotation):
        notes.append("or null")
    meaning = leaf.field.metadata.get("help", "") if leaf.field is not None else ""
    return f"{meaning} [{', '.join(notes)}]" if notes else meaning


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return str(getattr(value, "name", value))


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, LINE_WIDTH, initial_indent=start, subsequent_indent=" " * max(6, len(start.rstrip()) // 4)
    )
