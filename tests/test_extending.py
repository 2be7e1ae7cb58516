"""docs/extending.md done to the letter: its steps in a copy of the package, its commands, and nothing else touched."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import ROOT, tone, write_wav

PAGE = ROOT / "docs" / "extending.md"
COPIED = ("qasr_train", "configs", "recipes", "tests")
BLOCK = re.compile(r"^(?P<said>[^\n`#|][^\n]*\n)?\n?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
STEP = re.compile(
    r"New `(?P<new>[^`]+)`|"
    r"Copy `(?P<of>[^`]+)` to `(?P<to>[^`]+)`, and in its files rename `(?P<old>[^`]+)` to `(?P<name>[^`]+)`|"
    r"In `(?P<file>[^`]+)`, (?P<how>after|before|replace|at the end)(?: `(?P<anchor>[^`]+)`)?"
)


@dataclass(frozen=True)
class Section:
    """What the page says under one heading. steps: (file, its content before -> after) are applied in order."""

    title: str
    text: str

    def blocks(self) -> list[tuple[str, str, str]]:
        """(the line before it, kind, text) of each block of code."""
        return [(m["said"] or "", m["kind"], m["text"]) for m in BLOCK.finditer(self.text)]

    def commands(self) -> list[str]:
        return [text.strip() for _, kind, text in self.blocks() if not kind]

    def do(self, root: Path) -> set[str]:
        """Take its steps below a folder; returns the files and folders it names."""
        named = set()
        for step in STEP.finditer(self.text):
            if step["of"]:
                shutil.copytree(root / step["of"], root / step["to"])
                for file in (root / step["to"]).rglob("*.py"):
                    file.write_text(file.read_text().replace(step["old"], step["name"]))
                named.add(step["to"])
                continue
            file = root / (step["new"] or step["file"])
            code = self._code_after(step)
            if step["new"]:
                assert not file.exists(), file
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(code)
            else:
                file.write_text(edited(file.read_text(), step["how"], step["anchor"], code))
            named.add(step["new"] or step["file"])
        return named

    def _code_after(self, step: "re.Match[str]") -> str:
        block = BLOCK.search(self.text, self.text.rfind("\n", 0, step.start()) + 1)
        assert block is not None, step[0]
        return block["text"]


def edited(text: str, how: str, anchor: str | None, code: str) -> str:
    """A file with code put where the page says."""
    if how == "at the end":
        return text + code
    assert anchor is not None
    lines = text.split("\n")
    at = [i for i, line in enumerate(lines) if (anchor in line if how == "replace" else line.startswith(anchor))]
    assert len(at) == 1, f"{anchor!r} stands {len(at)} times"
    if how == "replace":
        lines[at[0]] = lines[at[0]].replace(anchor, code.rstrip("\n"))
    else:
        place = at[0] + (how == "after")
        lines[place:place] = code.rstrip("\n").split("\n") if not code.endswith("\n\n") else code[:-1].split("\n")
    return "\n".join(lines)


def sections() -> list[Section]:
    _, *parts = PAGE.read_text(encoding="utf-8").split("\n## ")
    return [Section(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def new_files() -> set[str]:
    """What the page has made; test_docs.py does not look for it."""
    steps = [step for section in sections() for step in STEP.finditer(section.text)]
    return {step["new"] or step["to"] for step in steps if step["new"] or step["to"]}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, its values and a dozen seconds of sound, on which the page is done from its top to its end."""
    root = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "frozen"))
    rows = []
    for number in range(4):
        path = write_wav(root / f"call{number}.wav", tone(1.0 + 0.2 * number))
        row = {"id": f"call{number}", "audio": path.name, "text": f"Call number {number}", "language": "English"}
        rows.append(row | {"duration_s": 1.0 + 0.2 * number})
    (root / "calls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def run(root: Path, *command: str) -> str:
    env = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def contents(root: Path) -> Iterator[tuple[str, bytes]]:
    for name in COPIED:
        for path in (root / name).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                yield path.relative_to(root).as_posix(), path.read_bytes()


# What shows that a section had its effect: (file, what stands in it); None: in the output of its command.
SHOWN = {
    "A dataset": (None, "call0  1.00 s, English"),
    "A suite": ("runs/calls/scores.json", '"desk"'),
    "A normaliser": ("rescored/scores.json", '"lower-1"'),
    "A figure": ("refigured/report.md", "written %"),
    "An augmentation": (None, "gap of 0.02 s"),
    "An objective": ("runs/capped/run.json", '"most_nats": 5.0'),
    "A reward": ("runs/length/metrics.jsonl", '"train/reward/length"'),
    "A family of models": ("runs/toy/checkpoints/last/config.json", '"toy"'),
    "A recipe": ("hours.json", "hours"),
}


def test_every_section_shows_something() -> None:
    assert [section.title for section in sections()] == list(SHOWN)
    assert all(len(section.commands()) == 1 for section in sections())


@pytest.mark.slow
def test_the_page_says_all_that_is_to_be_done(copy: Path) -> None:
    before = dict(contents(copy))
    named: set[str] = set()
    for section in sections():
        named |= section.do(copy)
    if toy := {name for name in named if name.endswith("models/toy")}:
        assert toy == {"qasr_train/models/toy"}
        script = "from pathlib import Path; from tests.models.toy.model import Toy, ToyModel; Toy(ToyModel()).save(Path('toy'))"
        run(copy, sys.executable, "-c", script)
    for section in sections():
        [command] = section.commands()
        job, *arguments = command.removeprefix("qasr ").split()
        output = run(copy, sys.executable, f"recipes/{job}.py", *arguments)
        file, shown = SHOWN[section.title]
        text = output if file is None else (copy / file).read_text(encoding="utf-8")
        assert shown in text, f"{section.title}: {text[-2000:]}"
    after = dict(contents(copy))
    changed = {name for name in after if after[name] != before.get(name)}
    assert {name for name in changed if not any(name == one or name.startswith(f"{one}/") for one in named)} == set()
    run(copy, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_imports.py")
    run(copy, sys.executable, "-m", "ruff", "check", "--select", "F", "qasr_train")
