"""The arrows between wings run one way, and what needs no torch imports none."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from qasr_train.jobs.recipes import RECIPES
from tests.helpers import ROOT

PACKAGE = ROOT / "qasr_train"

# A module imports from its own wing and from wings to the left, also for type checkers alone and inside functions.
WINGS = (
    "errors files text audio pages config timed manifest run batch sources augment models data rewards objectives alignment "
    "streaming transcription evaluation corpus training serving jobs cli"
).split()
# What a wing may know of the frame around jobs: how a setting is declared, and the patterns a user may give.
OPEN_OF_CONFIG = {"settings", "patterns"}
# Jobs that must start on a machine where torch is not wanted.
TORCH_FREE = [
    "qasr_train.config.command_line",
    "qasr_train.manifest",
    "qasr_train.jobs.score",
    "qasr_train.jobs.compare",
    "qasr_train.cli.main",
]
HEAVY = ["torch", "transformers", "datasets", "matplotlib", "wandb"]
# A study is made of whole runs of another job, each in a folder with which that job's own recipe goes on.
STUDIES = {("jobs.learning_curve", "jobs.finetune")}
# The table of recipes is made for the frame, and the command runs it; nothing else of a wing knows it.
FRAME = {"jobs.recipes", "cli.main", "cli.completion", "cli.notebook", "cli.overrides"}


def module_name(path: Path) -> str:
    """qasr_train/models/base.py -> models.base"""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path, *, only_top: bool = False) -> Iterator[str]:
    """The modules of ours that a file imports, without the package's name."""
    nodes: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("qasr_train.") for alias in node.names if "qasr_train" in alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "qasr_train":
            base = (node.module or "").removeprefix("qasr_train").lstrip(".")
            names = [f"{base}.{alias.name}".lstrip(".") for alias in node.names]
            yield from (name if name in MODULES else base for name in names)
        elif not (only_top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            nodes += list(ast.iter_child_nodes(node))


def wing(name: str) -> str:
    return name.split(".")[0]


def is_allowed(module: str, target: str) -> bool:
    """Whether a module may import another: from its own wing or one to the left; of jobs in a study, of config what is open."""
    mine, other = wing(module), wing(target)
    if mine == other:
        return mine != "jobs" or target.startswith("jobs.settings") or (module, target) in STUDIES
    if other == "config" and target.removeprefix("config.") not in OPEN_OF_CONFIG:
        return module in FRAME
    return WINGS.index(other) < WINGS.index(mine)


def test_every_module_stands_in_a_wing() -> None:
    assert {wing(name) for name in MODULES if name} == set(WINGS)


def test_no_arrow_runs_back() -> None:
    arrows = {(name, target) for name, path in MODULES.items() if name for target in imports(path)}
    assert not {f"{name} imports {target}" for name, target in arrows if not is_allowed(name, target)}


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


def test_what_needs_no_torch_imports_none() -> None:
    """One process for all, in the order given; the first that brings a heavy package is named."""
    modules = TORCH_FREE + [f"qasr_train.{name}" for name in MODULES if "settings" in name]
    script = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        f"    heavy = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "    assert not heavy, f'{module} imports {heavy}'"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_recipes_are_short_and_known() -> None:
    for path in (ROOT / "recipes").glob("*.py"):
        assert path.stem in RECIPES, f"{path.name} is not in RECIPES of qasr_train/jobs/recipes.py"
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, path.name
        assert (ROOT / "configs" / f"{path.stem}.yaml").is_file(), f"configs/{path.stem}.yaml is missing"
    assert {path.stem for path in (ROOT / "recipes").glob("*.py")} == set(RECIPES)
