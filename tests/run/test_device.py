"""The device of a run is chosen, or refused in one sentence."""

import pytest
import torch

from qasr_train.errors import ConfigError
from qasr_train.run.device import choose_device
from qasr_train.run.settings import Device


def test_a_missing_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ConfigError, match="^trainer.device=cuda: torch .* sees no GPU .*set trainer.device=cpu, or auto$"
    ):
        choose_device(Device.cuda, key="trainer.device")
    assert choose_device(Device.auto) == choose_device(Device.cpu) == torch.device("cpu")
