"""A model on one process is shared with nobody; several: test_two_processes.py."""

from pathlib import Path

import pytest

from qasr_train.errors import CheckpointError
from qasr_train.training.sharding import raise_everywhere, sum_everywhere, whole_weights
from tests.helpers_trainer import launch, make_clips, make_trainer


def test_an_error_is_raised_and_none_is_not(tmp_path: Path):
    accelerator = launch(tmp_path)
    raise_everywhere(accelerator, None)
    with pytest.raises(CheckpointError, match="the disk is full"):
        raise_everywhere(accelerator, CheckpointError("the disk is full"))


def test_the_sum_over_one_process_is_its_own_number(tmp_path: Path):
    assert sum_everywhere(launch(tmp_path), 2.5) == 2.5


def test_what_is_not_sharded_is_whole_already(tmp_path: Path):
    shared = make_trainer(tmp_path, make_clips(tmp_path, 1)).step.shared
    assert not shared.is_sharded
    before = [p.data_ptr() for p in shared.model.module.parameters()]
    with whole_weights(shared.accelerator, shared.model), shared.readable_weights():
        assert [p.data_ptr() for p in shared.model.module.parameters()] == before
