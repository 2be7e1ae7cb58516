"""The command `qasr`: a job by its name is the recipe, and whatever else may stand there is told in a sentence."""

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from qasr_train.cli.main import overview, run_command
from qasr_train.config.command_line import exit_status
from qasr_train.jobs.recipes import RECIPES
from tests.helpers import ROOT

MAIN = "import sys; sys.argv[0] = 'qasr'; from qasr_train.cli.main import main; main()"


def run(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error of `qasr ...`."""
    status = exit_status(lambda: run_command(arguments))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_alone_it_lists_every_job_with_a_line(capsys: pytest.CaptureFixture, arguments: Sequence[str]) -> None:
    status, text, _ = run(capsys, *arguments)
    assert (status, text) == (0, overview() + "\n")
    for name, recipe in RECIPES.items():
        assert f"  {name:17}  {recipe.summary}\n" in text


def test_a_job_is_the_recipe_of_its_name(capsys: pytest.CaptureFixture) -> None:
    recipe = [sys.executable, str(ROOT / "recipes" / "export.py")]
    for given in (["--cfg", "job", "checkpoint=x"], ["checkpoint=x", "layuot=native"], ["--help"]):
        done = subprocess.run([*recipe, *given], capture_output=True, text=True, cwd=ROOT, check=False)
        status, text, told = run(capsys, "export", *given)
        expected = done.stdout.replace("python recipes/export.py", "qasr export")
        assert (status, text, told) == (done.returncode, expected, done.stderr)


def test_what_is_no_job_is_told_with_the_nearest_name(capsys: pytest.CaptureFixture) -> None:
    jobs = f"choose from {', '.join(RECIPES)}, info\n"
    assert run(capsys, "finetun", "a=1") == (
        2,
        "",
        f"error: qasr has no job 'finetun' (did you mean finetune?); {jobs}",
    )
    assert run(capsys, "--foo")[2] == f"error: qasr has no job '--foo'; {jobs}"
    assert run(capsys, "experiment=medical")[2] == (
        "error: 'experiment=medical': the job comes first, e.g. qasr finetune experiment=medical; `qasr` lists the jobs\n"
    )
    assert run(capsys, "info", "x")[::2] == (2, "error: qasr info takes no settings; leave them out\n")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture) -> None:
    from importlib.metadata import version

    assert run(capsys, "--version") == (0, f"qasr_train {version('qasr_train')}\n", "")


def test_a_reader_that_has_gone_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "{sys.executable}" -c "{MAIN}" finetune --help | head -1'],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("finetune: ")


def test_listing_and_the_tab_key_import_nothing_heavy() -> None:
    script = (
        "import os, sys; from qasr_train.cli.main import run_command\n"
        "os.environ['COMP_LINE'] = 'qasr finetune trainer.'\n"
        "assert run_command([]) == run_command(['--shell-completion', 'query=bash']) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
