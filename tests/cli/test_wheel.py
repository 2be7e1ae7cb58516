"""The wheel: built from what the repository tracks, installed into an empty environment, run in an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from qasr_train.jobs.recipes import RECIPES
from tests.helpers import ROOT, write_wav

pytestmark = pytest.mark.slow
Qasr = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline from a copy, so that no build folder is left in the tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout, so what belongs to the project is not known")
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():  # not one that is deleted and not yet committed
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(out), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    return next(out.glob("qasr_train-*.whl"))


@pytest.fixture(scope="module")
def qasr(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Qasr:
    """Run the installed command in an empty folder and return what it prints; it must end well.

    Other packages are those of this environment, by a line in a .pth file, behind what is installed: no network, no minutes.
    """
    folder, work = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    own = next((folder / "lib").glob("python*/site-packages"))
    (own / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*arguments: str, command: str = "qasr") -> str:
        done = subprocess.run(
            [str(folder / "bin" / command), *arguments], cwd=work, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    place = call("-c", "import qasr_train; print(qasr_train.__file__)", command="python")
    assert Path(place.strip()).is_relative_to(folder), "the wheel is not what runs"
    return call


def test_it_holds_the_bundled_models(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for folder in ("tiny", "tiny-2", "tiny-aligner", "serve"):
        for path in (ROOT / "qasr_train" / "assets" / folder).iterdir():
            assert f"qasr_train/assets/{folder}/{path.name}" in names


def test_it_lists_every_job_and_has_every_config(qasr: Qasr) -> None:
    listed = qasr()
    for name in RECIPES:
        assert f"\n  {name} " in listed
        assert ": ???" in qasr(name, "--cfg", "job") or name in ("finetune", "serve", "show_batch", "transcribe")
    assert "  model: " in qasr("finetune", "--help")
    assert qasr("--version").startswith("qasr_train ")
    assert "torch: " in qasr("info")


def test_it_trains_evaluates_and_reports_with_a_config_folder_of_the_users_own(qasr: Qasr, tmp_path: Path) -> None:
    rows = [{"id": f"c{i}", "audio": f"c{i}.wav", "text": "two pills", "language": "English"} for i in range(2)]
    for row in rows:
        write_wav(tmp_path / row["audio"])
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = tmp_path / "mine" / "experiment" / "short.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(f"# @package _global_\ntrainer: {{max_steps: 1}}\nrun_dir: {tmp_path / 'run'}\n")
    own_dir = ["--config-dir", str(tmp_path / "mine")]
    qasr("finetune", *own_dir, "experiment=short", f"data.train.main.path={manifest}", "data.num_workers=0")
    model = f"model.path={tmp_path / 'run' / 'checkpoints' / 'last'}"
    qasr("evaluate", "model=tiny", model, "suite=own", f"suite.manifest={manifest}", f"run_dir={tmp_path / 'scored'}")
    assert "<style>" in (tmp_path / "scored" / "report.html").read_text()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["git"] is None
