"""What the pages name is there: files, groups and their files, settings; and benchmarks.md has what others quote from it."""

import dataclasses
import re
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from qasr_train.config.load import import_named
from qasr_train.jobs.recipes import CONFIG_DIR, RECIPES, SCHEMAS
from tests.helpers import ROOT
from tests.test_extending import new_files

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = {group for group, _ in SCHEMAS} | {"experiment"}
PATH = re.compile(r"(?<![\w./-])(?:docs|tests|scripts|recipes|configs|qasr_train)/[\w./-]+")
SETTING = re.compile(r"(?<![\w./+@-])([a-z][\w]*(?:\.[\w*]+)*)=([\w.|]*)")
# Of other programs, of Python, of the text around: no settings of ours.
FOREIGN = re.compile(
    r"[A-Z]|^(api_key|audio|base_url|calculate_wer|pretrained_name|dataset_manifest|output_filename|batch_size|file)$"
)
INVENTED = {"configs/suite/calls.yaml", "suite=calls"}  # docs/evaluation.md writes it


@cache
def settings() -> set[str]:
    """Every key of every recipe and group; `*` stands for a name that the user gives."""

    def walk(cls: type, prefix: str) -> Iterator[str]:
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            key = f"{prefix}{field.name}"
            yield key
            kind = hints[field.name]
            is_mapping = typing.get_origin(kind) is dict
            inner = ".*." if is_mapping else "."
            if is_mapping:
                yield f"{key}.*"
            for part in (kind, *typing.get_args(kind)):
                if dataclasses.is_dataclass(part):
                    yield from walk(typing.cast(type, part), key + inner)

    found = {key for recipe in RECIPES.values() for key in walk(import_named(recipe.config), "")}
    return found | {key for (group, _), schema in SCHEMAS.items() for key in walk(schema, f"{group}.")}


def is_setting(key: str) -> bool:
    parts = key.split(".")
    ends = [known.split(".")[-len(parts) :] for known in settings() if known.count(".") >= len(parts) - 1]
    return any(all(mine in (own, "*") or own == "*" for mine, own in zip(parts, end, strict=True)) for end in ends)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = {path.rstrip("./") for path in PATH.findall(page.read_text(encoding="utf-8"))} - INVENTED - new_files()
    assert [path for path in sorted(named) if "NAME" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_and_choices_that_a_page_names_are_there(page: Path) -> None:
    unknown = []
    for key, value in SETTING.findall(page.read_text(encoding="utf-8")):
        if key in GROUPS:
            files = [one.rstrip(".") for one in value.split("|") if one.rstrip(".") and not one[0].isupper()]
            unknown += [f"{key}={one}" for one in files if not (CONFIG_DIR / key / f"{one}.yaml").is_file()]
        elif not FOREIGN.search(key) and not is_setting(key):
            unknown.append(key)
    made = {f"{Path(path).parent.name}={Path(path).stem}" for path in new_files()}
    assert [one for one in unknown if one not in INVENTED | made | {"augment.dropout.probability"}] == []


def test_a_misspelt_setting_would_be_found() -> None:
    assert is_setting("trainer.keep_best") and is_setting("suite.sets.own.source.split") and is_setting("keep_best")
    assert not is_setting("trainer.keep_bset") and not is_setting("suite.set.own.source.split")
