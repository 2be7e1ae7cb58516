"""The frame of a recipe: exit status, one line on standard error, --help, --cfg, --multirun, and what Hydra must not do."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qasr_train.config.command_line import exit_status, run_command_line
from qasr_train.errors import UserError
from tests import example_job
from tests.config.test_load import GIVEN, write_tables
from tests.helpers import ROOT

Run = Callable[..., int]


@pytest.fixture
def jobs() -> list[Any]:
    """The configs of the jobs that ran."""
    return []


@pytest.fixture
def run(tmp_path: Path, jobs: list[Any], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the example recipe as its command line would; the job notes its config."""
    tables = write_tables(tmp_path, {})
    monkeypatch.delenv("QASR_DEBUG", raising=False)

    def call(*arguments: str, job: Callable[[Any], int | None] = jobs.append) -> int:
        monkeypatch.setattr(example_job, "run", job)
        return exit_status(lambda: run_command_line("example", arguments, tables))

    return call


def test_the_status_of_the_job_is_the_status_of_the_process(run: Run) -> None:
    assert run(*GIVEN, job=lambda config: None) == 0
    assert run(*GIVEN, job=lambda config: 1) == 1


def test_a_config_mistake_is_one_line_and_status_2(run: Run, jobs: list[Any], capsys: pytest.CaptureFixture) -> None:
    assert run("trainer.max_step=3", *GIVEN) == 2
    printed = capsys.readouterr()
    assert printed.err == "error: unknown key trainer.max_step; did you mean trainer.max_steps?\n"
    assert (printed.out, jobs) == ("", [])


def raising(error: BaseException) -> Callable[[Any], int | None]:
    def job(config: Any) -> int | None:
        raise error

    return job


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("m.jsonl:3: no audio"), "m.jsonl:3: no audio"),
        (UserError("two\nlines"), "two lines"),
        (KeyboardInterrupt(), "interrupted; nothing more was done"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x/a.pt"),
            "runs/x/a.pt: no space left on the disk; free some, or choose another output folder",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/x"),
            "runs/x: cannot be read or written (Permission denied); choose a place where you may",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_2(
    run: Run, capsys: pytest.CaptureFixture, error: BaseException, told: str
) -> None:
    assert run(*GIVEN, job=raising(error)) == 2
    assert capsys.readouterr().err == f"error: {told}\n"


@pytest.mark.parametrize("error", [ValueError("ours"), KeyError("x"), FileNotFoundError(errno.ENOENT, "gone", "x")])
def test_a_bug_of_ours_keeps_its_traceback(run: Run, error: Exception) -> None:
    with pytest.raises(type(error)):
        run(*GIVEN, job=raising(error))


def test_debug_shows_the_traceback_before_the_sentence(
    run: Run, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QASR_DEBUG", "1")
    assert run(*GIVEN, job=raising(UserError("broken"))) == 2
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert told.endswith("error: broken\n")


def test_another_process_of_a_distributed_job_says_which_it_is(
    run: Run, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    assert run(*GIVEN, job=raising(UserError("broken"))) == 2
    assert capsys.readouterr().err == "error (process 3): broken\n"


def test_an_unknown_option_is_told_like_any_mistake(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert run("--foo", *GIVEN) == 2
    assert capsys.readouterr().err == (
        "error: unrecognized arguments: --foo; options are --help, --cfg job, --resolve, --multirun, --config-dir DIR, "
        "then key=value\n"
    )


def test_help_names_groups_choices_keys_units_ranges(run: Run, jobs: list[Any], capsys: pytest.CaptureFixture) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert "  model: other, small*\n" in text
    assert "  trainer.max_steps=10\n      updates; where training stops [at least 1]\n" in text
    assert "  trainer.precision=auto\n      number format of the forward pass [one of auto, bf16]\n" in text
    assert "  data.train.NAME.path=???\n      file; the manifest\n" in text
    assert "  python recipes/example.py model=small run_dir=runs/x\n" in text
    assert jobs == []


def test_help_shows_the_keys_of_what_is_chosen(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert run("model=other", "--help") == 0
    text = capsys.readouterr().out
    assert "  model.width=16\n" in text
    assert "model.num_layers" not in text


def test_cfg_prints_the_whole_config_missing_values_too(
    run: Run, jobs: list[Any], capsys: pytest.CaptureFixture
) -> None:
    assert run("--cfg", "job", "trainer.max_steps=7", "data.train.main.path=x") == 0
    text = capsys.readouterr().out
    assert "trainer:\n  max_steps: 7\n" in text
    assert "run_dir: ???\n" in text
    assert jobs == []


def test_multirun_runs_every_combination_in_its_own_folder(run: Run, jobs: list[Any]) -> None:
    assert run("trainer.max_steps=1,2", "seed=range(5,7)", "--multirun", *GIVEN) == 0
    assert [(job.trainer.max_steps, job.seed, job.run_dir) for job in jobs] == [
        (1, 5, "r/0"),
        (1, 6, "r/1"),
        (2, 5, "r/2"),
        (2, 6, "r/3"),
    ]


def test_multirun_over_groups_and_over_the_folder_itself(run: Run, jobs: list[Any]) -> None:
    assert run("model=glob(*)", "-m", *GIVEN) == 0
    assert run("run_dir=a,b", "-m", GIVEN[0]) == 0
    assert [(type(job.model).__name__, job.run_dir) for job in jobs] == [
        ("OtherModel", "r/0"),
        ("SmallModel", "r/1"),
        ("SmallModel", "a"),
        ("SmallModel", "b"),
    ]


def test_multirun_checks_every_job_before_the_first_runs(
    run: Run, jobs: list[Any], capsys: pytest.CaptureFixture
) -> None:
    assert run("seed=1,-2", "--multirun", *GIVEN) == 2
    assert (
        capsys.readouterr().err
        == "error: job 1 (seed=-2): seed=-2: expected at least 0 (number; of every random choice)\n"
    )
    assert jobs == []


def test_a_failed_job_of_a_multirun_does_not_stop_the_others(run: Run, capsys: pytest.CaptureFixture) -> None:
    seen = []

    def job(config: Any) -> None:
        seen.append(config.seed)
        if config.seed == 1:
            raise UserError("broken")

    assert run("seed=0,1,2", "--multirun", *GIVEN, job=job) == 2
    assert seen == [0, 1, 2]
    assert "error: job 1 (seed=1): broken\n" in capsys.readouterr().err


def test_hydra_writes_nothing_and_stays_in_the_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    folders: list[str] = []
    assert run("seed=1,2", "-m", *GIVEN, job=lambda config: folders.append(str(Path.cwd()))) == 0
    assert folders == [str(work)] * 2
    assert list(work.iterdir()) == []


SCRIPT = """
import sys
from pathlib import Path
import qasr_train.config.command_line as recipe
from qasr_train.config.load import Tables
from tests.example_job import RECIPES, SCHEMAS
tables = Tables(RECIPES, SCHEMAS, (Path(sys.argv.pop(1)),))
sys.exit(recipe.exit_status(lambda: recipe.run_command_line("example", sys.argv[1:], tables)))
"""


def test_as_a_process_it_ends_with_the_status_and_without_traceback(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {})

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SCRIPT, str(tables.search_dirs[0]), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    failed = start("trainer.max_steps=abc", *GIVEN)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert (
        failed.stderr
        == "error: trainer.max_steps=abc: expected a whole number at least 1 (updates; where training stops)\n"
    )
    done = start(*GIVEN)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_a_process_ends_with_its_status_after_what_was_registered_and_with_all_its_output() -> None:
    script = (
        "import atexit; from qasr_train.config.command_line import end_process\n"
        "atexit.register(print, 'registered'); print('done', end=''); end_process(75); print('never')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (75, "doneregistered\n", "")
