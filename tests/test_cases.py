"""Inputs on which users met a fault: folders of ../shared/cases with `run.sh SCRATCH`, which ends with 0 where all is right."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import ROOT, SHARED, needs_shared

CASES = sorted(path.parent for path in SHARED.glob("cases/*/run.sh")) if SHARED else []
LIMIT_S = 300
# Names of ours that a case was written with and that moved since: rewritten in a copy of its script, nothing else is.
MOVED = {"qasr_train.models.folders": "qasr_train.models.locations"}


@needs_shared
@pytest.mark.cases
@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv/bin/python").exists(), reason="needs the project's .venv (make setup)")
@pytest.mark.parametrize("case", CASES or [None], ids=[case.name for case in CASES] or ["none"])
def test_a_case_of_a_user_ends_well(case: Path | None, tmp_path: Path) -> None:
    assert case is not None, "../shared holds no cases"
    folder = Path(shutil.copytree(case, tmp_path / "case"))
    script = folder / "run.sh"
    text = script.read_text(encoding="utf-8")
    for before, now in MOVED.items():
        text = text.replace(before, now)
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["bash", str(script), str(tmp_path / "scratch")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
