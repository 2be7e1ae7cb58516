"""The arrows between modules run one way, as design.md draws them, and what needs no torch imports none."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qasr_train.config import RECIPES
from tests.helpers import ROOT

PACKAGE = ROOT / "qasr_train"

# A module (with all below it) -> what it must never import, at the top or inside a function.
FORBIDDEN = {
    "manifest": [
        "audio",
        "sources",
        "data",
        "batch",
        "models",
        "objectives",
        "optim",
        "trainer",
        "evaluation",
        "config",
    ],
    "audio": ["sources", "data", "batch", "models", "objectives", "optim", "trainer", "checkpoint", "evaluation"],
    "sources": ["data", "models", "objectives", "optim", "trainer", "checkpoint", "evaluation"],
    "batch": ["data", "models", "objectives", "optim", "trainer", "checkpoint", "evaluation"],
    "data": ["objectives", "optim", "trainer", "finetune", "checkpoint", "evaluation"],
    "loading": ["data", "objectives", "optim", "trainer", "finetune", "checkpoint", "evaluation"],
    "models": ["data", "loading", "objectives", "optim", "trainer", "finetune", "validation", "evaluation"],
    "objectives": ["data", "optim", "trainer", "finetune", "checkpoint", "validation", "evaluation"],
    "optim": ["data", "trainer", "finetune", "checkpoint", "validation", "evaluation"],
    "evaluation": ["objectives", "optim", "trainer", "finetune", "validation"],
}
# The frame around jobs: it knows their names, they do not know it.
FRAME = ["config", "compose", "config_keys", "config_help", "recipe"]
# Jobs that must start on a machine where torch is not wanted.
TORCH_FREE = [
    "qasr_train.recipe",
    "qasr_train.manifest",
    "qasr_train.evaluation.score",
    "qasr_train.evaluation.compare",
]


def module_name(path: Path) -> str:
    """qasr_train/models/base.py -> models.base"""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path, *, only_top: bool = False) -> Iterator[str]:
    """The modules of ours that a file imports, without the package's name; those for type checkers alone are left out."""
    nodes: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("qasr_train.") for alias in node.names if "qasr_train" in alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "qasr_train":
            base = (node.module or "").removeprefix("qasr_train").lstrip(".")
            names = [f"{base}.{alias.name}".lstrip(".") for alias in node.names]
            yield from (name if name in MODULES else base for name in names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not (only_top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            nodes += list(ast.iter_child_nodes(node))


def is_below(name: str, parent: str) -> bool:
    return name == parent or name.startswith(f"{parent}.")


@pytest.mark.parametrize("module", FORBIDDEN)
def test_no_arrow_runs_back(module: str) -> None:
    wrong = [
        f"{name} imports {target}"
        for name, path in MODULES.items()
        if is_below(name, module)
        for target in imports(path)
        if any(is_below(target, forbidden) for forbidden in FORBIDDEN[module])
    ]
    assert wrong == []


def test_jobs_do_not_know_the_frame_around_them() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, path in MODULES.items()
        if name not in FRAME
        for target in imports(path)
        if target in FRAME
    ]
    assert wrong == []


def test_no_imports_in_a_circle() -> None:
    graph = {name: set(imports(path, only_top=True)) - {name, ""} for name, path in MODULES.items()}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for target in sorted(graph.get(name, ())):
            walk(target, (*trail, name))
        done.add(name)

    for name in graph:
        walk(name, ())


@pytest.mark.parametrize("module", TORCH_FREE)
def test_what_needs_no_torch_imports_none(module: str) -> None:
    script = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or f"{module} imports torch"


def test_recipes_are_short_and_known() -> None:
    for path in (ROOT / "recipes").glob("*.py"):
        assert path.stem in RECIPES, f"{path.name} is not in RECIPES of qasr_train/config.py"
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, path.name
        assert (ROOT / "configs" / f"{path.stem}.yaml").is_file(), f"configs/{path.stem}.yaml is missing"
    assert {path.stem for path in (ROOT / "recipes").glob("*.py")} == set(RECIPES)
