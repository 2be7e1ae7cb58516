"""Shell completion: what may follow a line, and that bash asks for it as Hydra's function does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qasr_train.cli.completion import complete, following
from qasr_train.errors import UserError
from qasr_train.jobs.recipes import PROJECT
from tests.helpers import ROOT

JOBS = [*PROJECT.recipes, "info"]
OBJECTIVES = [f"objective={path.stem}" for path in sorted((ROOT / "configs" / "objective").glob("*.yaml"))]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("qasr e", ["evaluate", "export"]),
        ("qasr finetune trainer.max_st", ["trainer.max_steps="]),
        ("qasr finetune obj", ["objective.", "objective="]),
        ("qasr finetune objective=", OBJECTIVES),
        ("qasr finetune objective=kl_to_base objective.kl_", ["objective.kl_sources.", "objective.kl_weight="]),
        ("qasr evaluate decode.num_wo", ["decode.num_workers="]),  # though no suite is chosen yet
        ("qasr finetune trainer.device=", []),
        ("qasr finetune lau", []),  # configs/launch/ is Accelerate's
        ("qasr finetune --foo trainer.max_st", []),
        ("qasr finetune model=nope trainer.max_st", []),
        ("qasr nothing trainer.max_st", []),
    ],
)
def test_what_may_follow(line: str, words: list[str]) -> None:
    assert following(line, PROJECT, JOBS) == words


def test_another_request_or_shell_is_refused() -> None:
    for request in ("install=ksh", "bash", ""):
        with pytest.raises(UserError, match=f"--shell-completion {request}: give install=SHELL or uninstall=SHELL"):
            complete(request, PROJECT, JOBS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_asks_and_is_answered(tmp_path: Path) -> None:
    """What the Tab key does: the function that was installed for `qasr`, with the variables that bash sets for it."""
    command = tmp_path / "qasr"
    command.write_text(f"#!{sys.executable}\nfrom qasr_train.cli.main import main\nmain()\n")
    command.chmod(0o755)
    script = (
        'eval "$(qasr --shell-completion install=bash)"\n'
        "complete -p qasr >&2\n"
        'COMP_LINE="qasr finetune trainer.max_st"; COMP_POINT=${#COMP_LINE}; COMP_CWORD=2\n'
        'hydra_bash_completion; echo "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "trainer.max_steps=\n", done.stderr
    assert "-F hydra_bash_completion qasr" in done.stderr
