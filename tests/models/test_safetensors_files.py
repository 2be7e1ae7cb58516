"""Writing safetensors: the library reads back what was written, no tensor is copied beside another."""

import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.lora_files import merge_adapter, merged_state
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.safetensors_files import LazyTensor, write_tensors
from qasr_train.models.settings import AdaptConfig, LoraSettings
from tests.helpers_model import tiny_model


def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    tensors = {
        "a": shared,
        "again": shared,  # safetensors' own writer refuses shared memory
        "turned": shared.T,
        "scalar": torch.tensor(3, dtype=torch.int64),
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "none": torch.zeros(0, 4),
        "bytes": torch.tensor([1, 2, 3], dtype=torch.uint8),
    }
    write_tensors(tensors, tmp_path / "x.safetensors")
    read = load_file(tmp_path / "x.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype is tensor.dtype and torch.equal(read[name], tensor), name

    write_tensors(tensors, tmp_path / "y.safetensors", dtype=torch.bfloat16)
    assert {t.dtype for t in load_file(tmp_path / "y.safetensors").values()} == {torch.bfloat16}


def test_data_begin_where_the_format_says(tmp_path: Path) -> None:
    write_tensors({"a": torch.ones(3)}, tmp_path / "x")
    raw = (tmp_path / "x").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert length % 8 == 0 and len(raw) == 8 + length + 12
    assert header["a"] == {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}


def test_one_tensor_at_a_time_is_held(tmp_path: Path) -> None:
    alive, most = set(), 0

    class Counted(torch.Tensor):
        def __del__(self) -> None:
            alive.discard(id(self))

    def make() -> torch.Tensor:
        nonlocal most
        tensor = torch.ones(1000).as_subclass(Counted)
        alive.add(id(tensor))
        most = max(most, len(alive))
        return tensor

    lazy = {f"t{i}": LazyTensor(torch.Size([1000]), torch.float32, make) for i in range(8)}
    write_tensors(lazy, tmp_path / "x")
    assert most <= 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_after_a_full_disk_the_rest_is_still_read_so_that_no_process_waits(tmp_path: Path) -> None:
    """Others gather sharded tensors with this process; it must take part to the end."""
    num_read = 0

    def make() -> torch.Tensor:
        nonlocal num_read
        num_read += 1
        return torch.ones(100_000)

    (tmp_path / "x.part").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        write_tensors(
            {f"t{i}": LazyTensor(torch.Size([100_000]), torch.float32, make) for i in range(5)}, tmp_path / "x"
        )
    assert caught.value.errno == errno.ENOSPC
    assert num_read == 5
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("use_dora", [False, True])
def test_merging_layer_by_layer_equals_pefts_own_and_leaves_the_model_alone(use_dora: bool) -> None:
    lora = LoraSettings(rank=2, decoder=["q_proj", "down_proj"], encoder=["fc1"], use_dora=use_dora)
    model = apply_adaptation(tiny_model(), AdaptConfig(lora=lora), PARTS)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {n: t.read() if isinstance(t, LazyTensor) else t for n, t in merged_state(model).items()}
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    expected = merge_adapter(model).state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name
    assert not torch.equal(
        state["model.language_model.layers.0.self_attn.q_proj.weight"],
        tiny_model().state_dict()["model.language_model.layers.0.self_attn.q_proj.weight"],
    )
