"""Launches that cannot work are refused in one sentence, before anything is loaded. Two processes: tests/distributed/."""

import pytest
import torch

from qasr_train.distributed import refuse_launch
from qasr_train.errors import ConfigError


@pytest.mark.parametrize(
    ("environment", "device", "words"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "cuda", "DeepSpeed, whose optimizer state .* use FSDP2"),
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


@pytest.mark.parametrize("environment", [{}, {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}])
def test_what_works_is_not(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    refuse_launch(torch.device("cpu"))
