"""Launches with DeepSpeed that cannot work are one sentence. Steps and checkpoints: tests/training/test_two_processes.py."""

import pytest
import torch

from qasr_train.errors import ConfigError
from qasr_train.training import deepspeed_zero as zero
from qasr_train.training.launch import refuse_launch, sharding_plugin
from qasr_train.training.settings import is_sharding_asked_for

LAUNCH = {zero.ZERO_ASKED_FOR: "true", "WORLD_SIZE": "2", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1"}
STAGE = "ACCELERATE_DEEPSPEED_ZERO_STAGE"


@pytest.fixture(autouse=True)
def as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero, "find_spec", lambda name: name)
    for name, value in LAUNCH.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WORLD_SIZE", "1", "DeepSpeed with one process.*single.yaml"),
        (STAGE, "1", "zero_stage: 1 in the launch; only 2 and 3"),
        ("ACCELERATE_DEEPSPEED_CONFIG_FILE", "ds.json", "deepspeed_config_file: ds.json .* give zero_stage alone"),
        ("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "cpu", "offload_optimizer_device: cpu .* use FSDP2"),
        ("ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE", "nvme", "offload_param_device: nvme .* use FSDP2"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "gradient_accumulation_steps: 4 .*trainer.num_microbatches"),
        ("ACCELERATE_GRADIENT_CLIPPING", "1.0", "gradient_clipping: 1.0 .*trainer.max_grad_norm"),
    ],
)
def test_what_cannot_work_is_refused(name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        refuse_launch(torch.device("cpu"))


@pytest.mark.parametrize("stage", ["2", "3"])
def test_the_two_stages_are_taken_and_count_as_sharding_but_not_as_fsdp(stage: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(STAGE, stage)
    refuse_launch(torch.device("cpu"))
    assert is_sharding_asked_for()
    assert sharding_plugin(torch.float32) is None


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zero, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"DeepSpeed, which is not installed; pip install .*\[deepspeed\].*fsdp2.yaml"
    ):
        refuse_launch(torch.device("cpu"))


def test_an_optimizer_that_cannot_be_cut_into_shards_is_refused():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))])
    with pytest.raises(ConfigError, match="DeepSpeed shards adamw only .* optim.name=adamw"):
        zero.ZeroAccelerator.share(None, None, optimizer)
