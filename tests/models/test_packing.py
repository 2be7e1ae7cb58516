"""Packed training batches and the encoder composed for them, against transformers' own padded forward pass."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from qasr_train.batch import IGNORED, Batch, Recording
from qasr_train.models.adapt import apply_adaptation, parameter_groups
from qasr_train.models.qwen3_asr import encoder
from qasr_train.models.qwen3_asr import packing as packing_module
from qasr_train.models.qwen3_asr.config import PARTS, Packing
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.qwen3_asr.packing import RowLengths, attend_rows, pack
from qasr_train.models.settings import AdaptConfig, LoraSettings, Recompute
from qasr_train.objectives.cross_entropy import CrossEntropy
from tests.helpers import utterance
from tests.helpers_model import tiny_model, tiny_processor

# Unequal lengths: under a chunk, just over one, several, more than a window of 8 s.
DURATIONS_S = [0.6, 1.05, 3.2, 9.3]
TEXTS = ["two pills", "", "the quick brown fox", "a small day takes now two pills the quick brown fox a day"]


def recording(number: int, seed: int = 0) -> Recording:
    samples = np.random.default_rng([number, seed]).standard_normal(round(DURATIONS_S[number] * 16_000))
    about = utterance(id=f"u{number}", text=TEXTS[number], duration_s=DURATIONS_S[number])
    return Recording(about, 0.1 * samples.astype(np.float32))


RECORDINGS = [recording(number) for number in range(4)]
FULL = AdaptConfig(trainable=["*"])
LORA = AdaptConfig(lora=LoraSettings(rank=4, alpha=8.0, decoder=["q_proj", "v_proj"], encoder=["fc1"], projector=["*"]))
FROZEN = AdaptConfig(trainable=["decoder.*"])


def make_model(adapt: AdaptConfig = FULL, packing: Packing = Packing.packed) -> Qwen3ASR:
    model = Qwen3ASR(tiny_model(), tiny_processor(), packing=packing)
    torch.manual_seed(0)
    model.module = apply_adaptation(model.module, adapt, PARTS)
    with torch.no_grad():
        for _, parameter in parameter_groups(model.module, PARTS).get("adapters", []):
            parameter.normal_(std=0.1)
    return model


def native_loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Summed cross entropy over transformers' own full logits of the padded batch."""
    assert batch.labels is not None
    logits = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        input_features=batch.input_features,
        input_features_mask=batch.input_features_mask,
    ).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten(), reduction="sum")


def gradients(model: Qwen3ASR, loss: Callable[[], torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    value = loss()
    value.backward()
    found = {name: p.grad for name, p in model.module.named_parameters() if p.grad is not None}
    return float(value.detach()), found


@pytest.mark.parametrize("adapt", [FULL, LORA, FROZEN], ids=["full", "lora", "frozen encoder"])
@pytest.mark.parametrize("packing", [Packing.packed, Packing.padded])
def test_loss_and_gradients_are_those_of_transformers_over_padded_rows_and_full_logits(adapt, packing):
    ours = make_model(adapt, packing)
    batch = ours.collator.for_training(RECORDINGS)
    loss, grads = gradients(ours, lambda: CrossEntropy(chunk_rows=7)(ours, batch).total)

    plain = make_model(adapt)
    for config in (plain.core.config.audio_config, plain.core.config.text_config):
        config._attn_implementation = "sdpa"
    their_loss, their_grads = gradients(plain, lambda: native_loss(plain.core, batch))

    assert plain.core.lm_head.weight is plain.core.get_input_embeddings().weight  # tied: its gradient is a sum of two
    assert loss == pytest.approx(their_loss, rel=1e-6)
    assert grads.keys() == their_grads.keys() and len(grads) > 5
    # The bias of a key has no gradient but rounding: hence one scale for all.
    scale = max(float(grad.abs().max()) for grad in their_grads.values())
    for name, grad in their_grads.items():
        torch.testing.assert_close(grads[name], grad, rtol=1e-4, atol=1e-6 * scale, msg=name)


def test_a_packed_row_without_a_system_turn_is_that_row_alone():
    rows = [replace(one, has_system_turn=number % 2 == 0) for number, one in enumerate(RECORDINGS)]
    model = make_model()
    together = model(model.collator.for_training(rows))
    for number, one in enumerate(rows):
        alone = model(model.collator.for_training([one]))
        torch.testing.assert_close(together.logits[together.row == number], alone.logits, rtol=1e-4, atol=1e-5)
    with_turns = model(model.collator.for_training(RECORDINGS))
    assert (together.logits - with_turns.logits)[together.row == 1].abs().max() > 1e-3  # the turn is heard of


def test_a_row_does_not_see_its_neighbours():
    model = make_model()
    before = model(model.collator.for_training(RECORDINGS))
    changed = [RECORDINGS[0], RECORDINGS[1], recording(2, seed=1), RECORDINGS[3]]
    after = model(model.collator.for_training(changed))
    others = before.row != 2
    assert torch.equal(before.logits[others], after.logits[others])
    assert (before.logits[~others] - after.logits[~others]).abs().max() > 1e-3


def test_a_row_is_the_same_wherever_its_padding_is():
    model = make_model()
    batch = model.collator.for_training(RECORDINGS)
    moved = {}
    for name in ("input_ids", "attention_mask", "labels"):
        rows = zip(getattr(batch, name), batch.attention_mask.sum(-1).tolist(), strict=True)
        moved[name] = torch.stack([row.roll(len(row) - length) for row, length in rows])
    left = replace(batch, **moved)
    assert left.attention_mask[0, 0] == 0
    packed, packed_left = (pack(one, model.collator.audio_id) for one in (batch, left))
    for name in ("position_ids", "audio", "before_target", "targets", "row"):
        assert torch.equal(getattr(packed, name), getattr(packed_left, name))
    torch.testing.assert_close(model(left).logits, model(batch).logits)


def test_the_layout_of_a_packed_batch_by_hand():
    batch = Batch(
        ids=["a", "b"],
        input_ids=torch.tensor([[5, 9, 6, 7, 0], [5, 9, 9, 6, 8]]),
        attention_mask=torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
        labels=torch.tensor([[IGNORED, IGNORED, 6, 7, IGNORED], [5, IGNORED, IGNORED, IGNORED, 8]]),
        input_features=torch.zeros(2, 1, 100),
        input_features_mask=torch.ones(2, 100, dtype=torch.int64),
        duration_s=torch.ones(2),
    )
    packed = pack(batch, audio_id=9)
    assert packed.flat.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 4]]
    assert packed.audio.tolist() == [1, 5, 6]
    # The first token of row b is supervised, but nothing stands before it in its own row.
    assert packed.before_target.tolist() == [1, 2, 7]
    assert (packed.targets.tolist(), packed.row.tolist()) == ([6, 7, 8], [0, 0, 1])
    assert (packed.rows.lengths, packed.rows.boundaries.tolist(), packed.rows.longest) == ([4, 5], [0, 4, 9], 5)


def test_attention_over_rows_is_that_of_a_block_mask():
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 4, 9, 8), torch.randn(1, 2, 9, 8), torch.randn(1, 2, 9, 8)
    rows = RowLengths.of([4, 5], torch.device("cpu"))
    for causal in (True, False):
        out, _ = attend_rows(torch.nn.Module(), query, key, value, None, is_causal=causal, rows=rows)
        block = torch.ones(4, 4), torch.ones(5, 5)
        mask = torch.block_diag(*(one.tril() if causal else one for one in block)).bool()
        theirs = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
        torch.testing.assert_close(out, theirs.transpose(1, 2))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("torch_2_11", [False, True])
def test_the_variable_length_call_is_one_that_this_torch_and_2_11_take(monkeypatch, causal, torch_2_11):
    """On the meta device, where torch checks the call and its gradients' shapes."""
    seen = {}
    installed = packing_module.varlen_attn

    def of_2_11(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None, window_size=(-1, -1)
    ):
        seen.update(boundaries=(cu_seq_q, cu_seq_k), longest=(max_q, max_k), window=window_size, heads=key.shape[1])
        repeated = (tensor.repeat_interleave(2, dim=1) for tensor in (key, value))  # 2.13 would refuse them as they are
        return installed(query, *repeated, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window_size)

    if torch_2_11:
        monkeypatch.setattr(packing_module, "varlen_attn", of_2_11)
        monkeypatch.setattr(packing_module, "ASKS_FOR_GROUPED_HEADS", False)
    query, key, value = (torch.empty(9, heads, 8, device="meta", dtype=torch.bfloat16) for heads in (4, 2, 2))
    key.requires_grad_()
    rows = RowLengths.of([4, 5], torch.device("meta"))
    out = packing_module._attend_at_once(query, key, value, rows, 0.5, causal)
    assert (out.shape, out.dtype) == ((9, 4, 8), torch.bfloat16)
    out.sum().backward()
    assert key.grad.shape == key.shape
    if torch_2_11:
        assert seen["boundaries"] == (rows.boundaries, rows.boundaries) and rows.boundaries.dtype == torch.int32
        assert (seen["longest"], seen["heads"]) == ((5, 5), 2)
        assert seen["window"] == ((-1, 0) if causal else (-1, -1))


def test_only_half_precision_on_ampere_or_newer_goes_through_the_variable_length_call(monkeypatch):
    card = {"capability": (8, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: card["capability"])

    def goes(capability, dtype=torch.bfloat16, is_cuda=True):
        card["capability"] = capability
        packing_module._has_flash_kernel.cache_clear()
        return packing_module._can_attend_at_once(
            SimpleNamespace(is_cuda=is_cuda, dtype=dtype, device=torch.device("cuda", 0))
        )

    assert goes((8, 0)) and goes((9, 0), torch.float16)
    assert not goes((7, 5)) and not goes((9, 0), torch.float32) and not goes((9, 0), is_cuda=False)
    packing_module._has_flash_kernel.cache_clear()


# ---- the encoder


def test_the_encoder_gives_what_transformers_gives_window_by_window(monkeypatch):
    monkeypatch.setattr(encoder, "CHUNKS_AT_ONCE", {"cpu": 3})  # several groups
    model = make_model()
    batch = model.collator.for_training(RECORDINGS)
    ours = model.encode(batch)
    plain = tiny_model()
    theirs = plain.get_audio_features(batch.input_features, batch.input_features_mask).pooler_output
    assert len(ours) == batch.input_ids.eq(model.collator.audio_id).sum()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_what_comes_after_eight_seconds_does_not_change_them():
    """The official package without FlashAttention 2 attends over the whole clip instead (docs/systems.md)."""
    model = make_model()
    batch = model.collator.for_training(RECORDINGS[3:])
    changed = batch.input_features.clone()
    changed[..., 800:] *= 0.5  # frames of 10 ms
    with torch.no_grad():
        before, after = model.encode(batch), model.encode(replace(batch, input_features=changed))
    num_in_window = 8 * 13  # positions of a second
    assert torch.equal(before[:num_in_window], after[:num_in_window])
    assert not torch.allclose(before[num_in_window:], after[num_in_window:])


def test_transformers_own_calls_of_the_encoder_take_the_same_windows():
    """What transcription does, which goes through transformers' forward pass."""
    model, plain = make_model(), tiny_model()
    batch = model.collator.for_training(RECORDINGS)
    ours = model.core.get_audio_features(batch.input_features, batch.input_features_mask).pooler_output
    theirs = plain.get_audio_features(batch.input_features, batch.input_features_mask).pooler_output
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_chunks_of_padding_do_not_reach_the_convolutions():
    model = make_model()
    seen: list[int] = []
    model.core.model.audio_tower.conv2d2.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    batch = model.collator.for_training(RECORDINGS)
    model.encode(batch)
    assert batch.input_features.shape[2] == 1000
    assert seen == [1 + 2 + 4 + 10]  # seconds begun by each clip; padded there would be 40


def test_a_batch_that_a_cache_encoded_does_not_run_the_encoder():
    model = make_model(FROZEN)
    batch = model.collator.for_training(RECORDINGS)
    with torch.no_grad():
        cached = replace(batch, encoded=model.encode(batch), input_features=torch.zeros(4, 128, 0))
        torch.testing.assert_close(model(cached).logits, model(batch).logits)


def test_convolutions_are_kept_only_where_they_are_not_recomputed():
    saved = []
    for recompute in (Recompute.none, Recompute.conv):
        model = make_model()
        model.module.train()
        model.set_gradient_checkpointing(recompute)
        batch = model.collator.for_training(RECORDINGS)
        saved.append(saved_bytes(lambda model=model, batch=batch: model.encode(batch)))
    # 17 chunks; the first convolution alone gives 8 channels x 64 x 50 floats a chunk.
    assert saved[0] - saved[1] > 17 * 8 * 64 * 50 * 4


def saved_bytes(run: Callable[[], object]) -> int:
    """Bytes of the tensors that autograd keeps for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    assert result is not None
    return sum(kept.values())


def test_no_forward_or_backward_pass_waits_for_the_device():
    """On the meta device nothing has a value: whatever asked for one (a sync on a GPU) would raise."""
    model = make_model()
    batch = model.collator.for_training(RECORDINGS)
    model.to("meta")
    there = batch.to("meta")
    assert there.host is batch and there.input_ids.device.type == "meta"
    loss = CrossEntropy(chunk_rows=7)(model, there)
    loss.total.backward()
    assert loss.num_targets == batch.num_targets
    with pytest.raises((NotImplementedError, RuntimeError)):
        model(replace(there, host=None))  # without the batch on the host it has to ask


@pytest.mark.gpu
@pytest.mark.parametrize("adapt", [FULL, LORA, FROZEN], ids=["full", "lora", "frozen encoder"])
def test_on_a_gpu_one_call_for_all_rows_gives_what_a_cpu_gives_row_by_row(adapt, monkeypatch):
    calls = []
    at_once = packing_module._attend_at_once
    monkeypatch.setattr(packing_module, "_attend_at_once", lambda *a: calls.append(1) or at_once(*a))
    exact = make_model(adapt)
    loss, grads = gradients(exact, lambda: CrossEntropy()(exact, exact.collator.for_training(RECORDINGS)).total)
    for is_bf16, tolerance in ((False, 1e-4), (True, 0.05)):
        model = make_model(adapt)
        model.to("cuda")
        batch = model.collator.for_training(RECORDINGS).to("cuda")
        with torch.autocast("cuda", torch.bfloat16, enabled=is_bf16):
            there, grads_there = gradients(model, lambda: CrossEntropy()(model, batch).total)  # noqa: B023
        assert there == pytest.approx(loss, rel=tolerance / 5)
        off = sum(float((grads_there[name].cpu() - grad).square().sum()) for name, grad in grads.items())
        assert (off / sum(float(grad.square().sum()) for grad in grads.values())) ** 0.5 < tolerance
        assert bool(calls) == is_bf16


@pytest.mark.gpu
def test_on_a_gpu_a_row_does_not_see_its_neighbours():
    model = make_model()
    model.to("cuda")
    changed = [RECORDINGS[0], RECORDINGS[1], recording(2, seed=1), RECORDINGS[3]]
    with torch.autocast("cuda", torch.bfloat16), torch.no_grad():
        before, after = (model(model.collator.for_training(one).to("cuda")) for one in (RECORDINGS, changed))
    others = before.row != 2
    assert torch.equal(before.logits[others], after.logits[others])
    assert (before.logits[~others] - after.logits[~others]).abs().max() > 1e-3


def test_the_first_convolution_as_a_matrix_product():
    convolution = torch.nn.Conv2d(1, 6, kernel_size=3, stride=2, padding=1)
    images = torch.randn(4, 10, 14)
    found = encoder.convolve_patches(convolution, images)
    torch.testing.assert_close(found, convolution(images[:, None]))
    assert found.is_contiguous(memory_format=torch.channels_last)
