"""The memory worked out on paper: its parts against sums done by hand, and docs/scaling.md against what the script prints."""

import pytest

from scripts.memory_table import (
    ADAMW_8BIT,
    KEPT,
    SIZES,
    Case,
    Counts,
    activation_mb_per_s,
    batch_seconds,
    count,
    fixed_memory,
    tables,
)
from tests.helpers import ROOT


@pytest.mark.parametrize(("size", "total"), [("0.6B", 782_426_112), ("1.7B", 2_038_052_480)])
def test_parameters_are_those_of_the_published_models(size: str, total: int):
    found = count(size, "full")
    assert found.total == found.trained == total


def test_lora_weights_are_rank_times_inputs_plus_outputs():
    # A decoder layer of the 0.6B: q 1024->2048, k and v 1024->1024, o 2048->1024, gate and up 1024->3072, down 3072->1024.
    layer = 16 * (3072 + 2048 + 2048 + 3072 + 3 * 4096)
    assert count("0.6B", "lora_decoder").trained == 28 * layer == 10_092_544
    # An encoder layer: q, k, v, out 896->896, fc1 896->3584, fc2 back; the projector 896->896->1024.
    encoder, projector = 16 * (4 * 1792 + 2 * 4480), 16 * (1792 + 1920)
    assert count("0.6B", "lora").trained == 28 * layer + 18 * encoder + projector


def test_data_parallel_holds_everything_and_buckets():
    counts = Counts(total=2_000_000_000, trained=2_000_000_000, layer=50_000_000, outside_layers=400_000_000)
    memory = fixed_memory(Case("1.7B", "full", "ddp", 8), counts)
    assert (memory.weights, memory.gradients, memory.optimizer, memory.gathered) == (8.0, 8.0, 16.0, 8.0)
    assert memory.copies == pytest.approx(2 * (2.0 - 0.151936 * 2.048))
    # 256 rows of 151,936 logits at 2 + 3 x 4 bytes; the head's 311 million weights at 2 + 4.
    assert memory.head == pytest.approx(0.5445 + 1.8670, abs=1e-3)
    assert memory.total == pytest.approx(8 + 8 + 16 + 8 + memory.copies + memory.head)
    assert fixed_memory(Case("1.7B", "full", "ddp", 1), counts).gathered == 0
    assert fixed_memory(Case("1.7B", "full", "ddp", 8, ADAMW_8BIT), counts).optimizer == 4.0


def test_fsdp_shares_out_and_gathers_a_layer_at_a_time():
    counts = Counts(total=2_000_000_000, trained=2_000_000_000, layer=50_000_000, outside_layers=400_000_000)
    memory = fixed_memory(Case("1.7B", "full", "fsdp2", 8), counts)
    assert (memory.weights, memory.copies, memory.gradients, memory.optimizer) == (1.0, 0.0, 1.0, 2.0)
    assert memory.gathered == 0.5 * (2 + 2 + 4)
    offloaded = fixed_memory(Case("1.7B", "full", "fsdp2_cpu_offload", 2), counts)
    assert offloaded.total == offloaded.gathered + offloaded.head
    frozen = fixed_memory(Case("1.7B", "lora", "fsdp2", 8), Counts(2_000_000_000, 20_000_000, 50_000_000, 400_000_000))
    assert (frozen.gathered, frozen.gradients) == (1.0, 0.01)


def test_activations_are_layers_times_positions():
    kept = KEPT["0.6B", "full"]
    by_hand = 18 * 13 * 30_536 + 28 * 18 * 86_184 + 8_492_304
    assert activation_mb_per_s(SIZES["0.6B"], kept) == pytest.approx(by_hand / 1e6)
    inputs = 4 * (18 * 13 * 896 + 28 * 18 * 1024)
    again = activation_mb_per_s(SIZES["0.6B"], kept, is_recomputed=True)
    assert again == pytest.approx((inputs + 18 * 86_184) / 1e6)


def test_what_is_left_of_a_gpu_holds_so_many_seconds():
    assert batch_seconds(24, 9.6, 100) == 100  # 24 x 0.9 - 2 - 9.6 = 10 GB
    assert batch_seconds(24, 20.0, 100) == 0


def test_the_page_shows_what_the_script_prints():
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    missing = [table.splitlines()[0] for table in tables().split("\n\n") if table not in page]
    assert not missing, f"put what `python scripts/memory_table.py` prints into docs/scaling.md: {missing}"
