"""What must survive: SIGKILL at any moment, also while a checkpoint is written; a stop on request; a first resume=true."""

import hashlib
import json
import random
import signal
from pathlib import Path

import pytest

from qasr_train.config.command_line import exit_status, run_command_line
from qasr_train.errors import EXIT_INTERRUPTED
from qasr_train.jobs.recipes import PROJECT
from qasr_train.training.checkpoint import checkpoint_path, find_fault, latest_checkpoint
from tests.helpers import ROOT
from tests.helpers_copies import start_script
from tests.helpers_finetune import last_step, make_inputs, start, wait_until
from tests.helpers_trainer import losses

NUM_KILLS, NUM_STEPS = 10, 150


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def digests(checkpoint: Path) -> dict[str, str]:
    """Checksums of weights, optimizer and random generators: all that the next step depends on."""
    files = [*checkpoint.rglob("*.safetensors"), checkpoint / "state" / "generators.pt"]
    return {str(f.relative_to(checkpoint)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_stopped_on_request_it_saves_and_says_so_by_its_status_and_the_same_command_goes_on(tmp_path: Path, arguments):
    """resume=true stands in the first start too, as it does in a script that a cluster runs again after a preemption."""
    command = [
        *arguments,
        f"run_dir={tmp_path / 'run'}",
        "resume=true",
        "trainer.max_steps=12",
        "trainer.save_every=100",
    ]
    first = start_script(ROOT / "recipes" / "finetune.py", command)
    assert wait_until(lambda: last_step(tmp_path / "run") >= 2, first)
    first.send_signal(signal.SIGTERM)
    error = first.communicate(timeout=240)[1]  # a busy machine saves slowly
    assert first.returncode == EXIT_INTERRUPTED == 75
    assert "interrupted after step" in error and "go on with the same command and resume=true" in error
    assert "Traceback" not in error
    checkpoint = latest_checkpoint(tmp_path / "run")
    assert checkpoint is not None

    assert exit_status(lambda: run_command_line("finetune", command, PROJECT)) == 0
    assert len(losses(tmp_path / "run")) == 12
    assert "resumed" in json.loads((tmp_path / "run" / "run.json").read_text())


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "objective"), [("qwen3_asr", "cross_entropy"), ("qwen3_asr", "gspo"), ("whisper", "cross_entropy")]
)
def test_ten_kills_change_nothing(tmp_path: Path, family: str, objective: str):
    """Half at a random step, half while a checkpoint is being written, which is when its .part folder stands.

    gspo: what a step draws belongs to its number and its clips, and must be drawn again.
    """
    (tmp_path / "inputs").mkdir()
    num_steps = NUM_STEPS if objective == "cross_entropy" else NUM_STEPS // 2  # each takes several times as long
    arguments = [*make_inputs(tmp_path / "inputs", family), f"objective={objective}"]
    settings = [*arguments, f"trainer.max_steps={num_steps}", "trainer.save_every=5", "trainer.keep_last=3"]
    straight = start([*settings, f"run_dir={tmp_path / 'straight'}"])
    assert straight.communicate(timeout=1200)[1] is not None and straight.returncode == 0

    run_dir, rng = tmp_path / "killed", random.Random(0)
    killed_at, num_torn, num_faults = [], 0, 0
    for number in range(NUM_KILLS):
        process = start([*settings, f"run_dir={run_dir}", "resume=true"])
        target = (number + 1) * (num_steps - 20) // NUM_KILLS + rng.randrange(-4, 5)
        target = max(target, last_step(run_dir) + 1)  # each has done something before it is killed
        assert wait_until(lambda target=target: last_step(run_dir) >= target, process), process.communicate()[1]
        if number % 2:
            checkpoints = run_dir / "checkpoints"
            assert wait_until(lambda folder=checkpoints: any(folder.glob(".step_*.part")), process, poll_s=0.0002)
        process.kill()
        process.communicate()
        killed_at.append(last_step(run_dir))
        num_torn += any((run_dir / "checkpoints").glob(".step_*.part"))
        num_faults += sum(find_fault(p) is not None for p in (run_dir / "checkpoints").glob("step_*"))
    last = start([*settings, f"run_dir={run_dir}", "resume=true"])
    assert last.communicate(timeout=1200)[1] is not None and last.returncode == 0

    expected = digests(checkpoint_path(tmp_path / "straight", num_steps))
    found = digests(checkpoint_path(run_dir, num_steps))
    num_resumes = len(json.loads((run_dir / "run.json").read_text())["resumed"])
    differences = [name for name in expected if found.get(name) != expected[name]]
    other_losses = sum(a != b for a, b in zip(losses(run_dir), losses(tmp_path / "straight"), strict=True))
    print(
        f"\n{family}, {objective}: kills {NUM_KILLS} (at steps {killed_at}), {num_torn} while a checkpoint was written; "
        f"resumes {num_resumes}; torn checkpoints taken for whole {num_faults}; "
        f"differing files {len(differences)} of {len(expected)}; differing losses {other_losses} of {num_steps}"
    )
    assert (differences, other_losses, num_faults, num_resumes) == ([], 0, 0, NUM_KILLS)
    assert num_torn >= 1
    assert not list((run_dir / "checkpoints").glob(".step_*.part"))
