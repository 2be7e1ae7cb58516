"""Every command that a page shows is one that its recipe takes: its words, groups, keys and values, with nothing missing."""

import re
import shlex
from collections.abc import Iterator

import pytest

from qasr_train.config.compose import compose_config, open_folders
from qasr_train.config.load import build_config, name_files, name_output, register_schemas
from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import PROJECT, RECIPES
from tests.helpers import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"(?:\bqasr |\brecipes/)(?P<recipe>\w+)(?:\.py)? +(?P<words>.*)")


def commands() -> Iterator[tuple[str, str, str]]:
    """(page, recipe, the words after it) of every line in the blocks of commands; one with `...` is none."""
    for page in PAGES:
        for block in re.findall(
            r"^```(?:bash|sh)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                found = COMMAND.search(line.partition(" # ")[0])
                if found and found["recipe"] in RECIPES and " ..." not in line and "`" not in line:
                    yield page.name, found["recipe"], found["words"].strip()


@pytest.mark.parametrize(("page", "recipe", "words"), commands())
def test_a_documented_command_is_taken_by_its_recipe(page: str, recipe: str, words: str) -> None:
    top = register_schemas(recipe, PROJECT)
    typed = name_output(name_files(shlex.split(words), RECIPES[recipe], top), RECIPES[recipe])
    with open_folders(recipe, PROJECT.search_dirs) as folders:
        composed = compose_config(folders, typed)
        try:
            build_config(composed, folders, PROJECT)
        except ConfigError as error:  # the run that another command of the page would have made
            assert "holds no predictions.jsonl" in str(error), f"{page}: {error}"
