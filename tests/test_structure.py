"""How large anything may grow before it is to be split by idea: the budgets of the house."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.helpers import ROOT

MAX_ROOT_MODULES, MAX_FOLDER_MODULES = 5, 14
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS, MAX_IMPORTS = 400, 50, 8, 20
GIVEN_BY_OTHERS = {"attend_rows"}  # transformers' interface of an attention function has ten parameters

FILES = sorted([*(ROOT / "qasr_train").rglob("*.py"), *(ROOT / "recipes").glob("*.py")])


@cache
def trees() -> dict[Path, ast.Module]:
    """What each file says; parsed by the process that runs these tests alone."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_the_root_holds_what_every_stage_takes_and_a_folder_what_one_can_look_over() -> None:
    number = Counter(path.parent for path in FILES if path.name != "__init__.py")
    del number[ROOT / "recipes"]  # one for each job, which `qasr` lists with a line each
    assert number[ROOT / "qasr_train"] <= MAX_ROOT_MODULES
    assert {folder: n for folder, n in number.items() if n > MAX_FOLDER_MODULES} == {}


def test_files_are_short() -> None:
    files = [*FILES, *(ROOT / "scripts").rglob("*.py")]
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: n for path, n in lines.items() if n > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    lines = {(path, node.name): (node.end_lineno or 0) - node.lineno + 1 for path, node in functions()}
    assert {where: n for where, n in lines.items() if n > MAX_FUNCTION_LINES} == {}


def test_arguments_that_travel_together_have_a_noun() -> None:
    wide = {}
    for path, node in functions():
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        number = len([name for name in names if name not in ("self", "cls")])
        if number > MAX_PARAMETERS and node.name not in GIVEN_BY_OTHERS:
            wide[path, node.name] = number
    assert wide == {}


def test_no_module_wires_everything() -> None:
    wide = {}
    for path, tree in trees().items():
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        number = len([name for name in modules if name.split(".")[0] == "qasr_train"])
        if number > MAX_IMPORTS:
            wide[path] = number
    assert wide == {}
