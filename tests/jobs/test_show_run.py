"""`recipes/show_run.py`: the page of a training made again, and what is told where that cannot be."""

from pathlib import Path

import pytest

from qasr_train.config.command_line import run_command_line
from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import PROJECT
from tests.run.test_history import dev, write_run
from tests.run.test_page import ROWS, SAMPLES, SECRETS


def show_run(*arguments: str) -> None:
    assert run_command_line("show_run", list(arguments), PROJECT) == 0


def test_the_page_of_an_old_run_is_made_again_in_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture):
    run = write_run(tmp_path / "old", ROWS, {"config": {}}, SAMPLES)
    show_run(f"run={run}")
    told = capsys.readouterr().out
    assert (
        "Best: step 20, mean error rate of the dev sets in percent 10.00" in told
        and f"page: {run / 'report.html'}" in told
    )
    page = (run / "report.html").read_text()
    assert "Best: step 20" in page and not any(secret in page for secret in SECRETS)


def test_elsewhere_and_with_transcripts_where_that_is_asked_for(tmp_path: Path):
    run = write_run(tmp_path / "old", ROWS, {"config": {"tracking": {"allow_text": False}}}, SAMPLES)
    show_run(f"run={run}", f"out={tmp_path / 'new' / 'page.html'}", "allow_text=true")
    page = (tmp_path / "new" / "page.html").read_text()
    assert all(secret in page for secret in SECRETS) and not (run / "report.html").exists()


def test_what_cannot_be_shown_is_a_sentence(tmp_path: Path):
    run = write_run(tmp_path / "run", [dev(1, 1.0)], {"recipe": "evaluate"})
    with pytest.raises(ConfigError, match="is a run of evaluate, not of finetune"):
        show_run(f"run={run}")
    with pytest.raises(ConfigError, match="not the folder of a run"):
        show_run(f"run={tmp_path}")
    run = write_run(tmp_path / "run", [dev(1, 1.0)], {})
    with pytest.raises(ConfigError, match="is a folder"):
        show_run(f"run={run}", f"out={tmp_path}")
    with pytest.raises(ConfigError, match=r"/proc/nowhere/x.html: cannot be written .*; choose another place"):
        show_run(f"run={run}", "out=/proc/nowhere/x.html")
