"""Launches that cannot work are refused in one sentence, before anything is loaded. Two processes: test_two_processes.py."""

import pytest
import torch

from qasr_train.errors import ConfigError, TrainingError
from qasr_train.training.launch import refuse_launch
from qasr_train.training.settings import is_sharding_asked_for
from tests.helpers_trainer import launch


@pytest.mark.parametrize(
    ("environment", "device", "words"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "cuda", "fsdp_version: 1 in the launch; only FSDP2"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "cuda", "set fsdp_version: 2"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_ACTIVATION_CHECKPOINTING": "true"},
            "cuda",
            "use trainer.gradient_checkpointing=",
        ),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"},
            "cpu",
            "computes on a CPU and has nothing to offload",
        ),
    ],
)
def test_what_cannot_work_is_refused(environment, device, words, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        refuse_launch(torch.device(device))


@pytest.mark.parametrize(("num_gpus", "is_refused"), [(2, True), (4, False), (8, False)])
def test_more_processes_than_gpus_of_the_machine_are_refused(num_gpus, is_refused, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    refuse_launch(torch.device("cpu"))
    if not is_refused:
        refuse_launch(torch.device("cuda"))
        return
    with pytest.raises(
        ConfigError, match="starts 4 processes on this machine, which has 2 GPUs; .* --num_processes 2 "
    ):
        refuse_launch(torch.device("cuda"))


def test_processes_that_do_not_meet_are_told_the_address(tmp_path, monkeypatch):
    place = {"MASTER_ADDR": "node7", "MASTER_PORT": "29500", "RANK": "1", "WORLD_SIZE": "2"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)

    def find_nobody(**settings):
        raise torch.distributed.DistNetworkError("The client socket has timed out\nframe #0: c10::Error")

    monkeypatch.setattr("qasr_train.training.launch.Accelerator", find_nobody)
    with pytest.raises(
        TrainingError, match="process 1 of 2 did not find the others at node7:29500 .*timed out\\); check"
    ):
        launch(tmp_path)


@pytest.mark.parametrize("environment", [{}, {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}])
def test_what_works_is_not(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert refuse_launch(torch.device("cpu")) is None
    assert is_sharding_asked_for() == bool(environment), "and it is seen for what it is"
