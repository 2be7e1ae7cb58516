"""Qwen3-ASR as training and evaluation see it, against transformers' own forward pass on random weights."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from qasr_train.batch import IGNORED, Batch, Recording
from qasr_train.errors import CheckpointError
from qasr_train.models.adapt import apply_adaptation, parameter_groups
from qasr_train.models.base import ModelOrigin
from qasr_train.models.families import load_collator, load_model
from qasr_train.models.qwen3_asr.config import PARTS, Qwen3ASRConfig
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.settings import AdaptConfig, LoraSettings, Recompute
from qasr_train.objectives.cross_entropy import CrossEntropy
from tests.helpers import utterance
from tests.helpers_model import tiny_model, tiny_processor

TEXTS = ["the quick brown fox", "two pills", "", "a small day takes now"]
DURATIONS_S = [1.7, 0.6, 1.0, 3.2]


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    """Four clips of noise, of unequal lengths."""
    noise = np.random.default_rng(0)
    return [
        Recording(
            utterance(id=f"u{i}", text=text, duration_s=seconds),
            noise.standard_normal(round(seconds * 16_000)).astype(np.float32) * 0.1,
        )
        for i, (text, seconds) in enumerate(zip(TEXTS, DURATIONS_S, strict=True))
    ]


def make_model(adapt: AdaptConfig | None = None, *, path: str = "") -> Qwen3ASR:
    """The tiny model; with adapters, trained-looking ones."""
    model = Qwen3ASR(tiny_model(), tiny_processor(), origin=ModelOrigin(path))
    if adapt is None:
        return model
    torch.manual_seed(0)
    model.module = apply_adaptation(model.module, adapt, PARTS)
    with torch.no_grad():
        for _, parameter in parameter_groups(model.module, PARTS)["adapters"]:
            parameter.normal_(std=0.1)
    model.module.eval()
    return model


def lora(**settings: bool) -> AdaptConfig:
    chosen = LoraSettings(
        rank=4, alpha=8.0, decoder=["q_proj", "down_proj"], encoder=["fc1"], projector=["*"], **settings
    )
    return AdaptConfig(lora=chosen)


def full_logits(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """float32 [B, T, V]: transformers' own forward pass."""
    return model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        input_features=batch.input_features,
        input_features_mask=batch.input_features_mask,
    ).logits


def test_logits_of_the_targets_are_transformers_own_one_position_before_each(recordings):
    model = make_model()
    batch = model.collator.for_training(recordings)
    assert batch.labels is not None
    with torch.no_grad():
        out, full = model(batch), full_logits(tiny_model(), batch)
    positions = (batch.labels != IGNORED).nonzero().tolist()
    assert len(positions) == len(out.targets) == batch.num_targets
    for number, (row, column) in enumerate(positions):
        assert int(out.row[number]) == row
        assert int(out.targets[number]) == int(batch.input_ids[row, column])
        torch.testing.assert_close(out.logits[number], full[row, column - 1], rtol=1e-5, atol=1e-5)


def test_companions_do_not_change_a_clips_logits(recordings):
    model = make_model()
    with torch.no_grad():
        together = model(model.collator.for_training(recordings))
        for row, one in enumerate(recordings):
            alone = model(model.collator.for_training([one]))
            torch.testing.assert_close(together.logits[together.row == row], alone.logits, rtol=1e-4, atol=1e-4)


def test_transcripts_of_a_batch_are_those_of_its_clips_alone(recordings):
    model = make_model()
    together = model.transcribe(model.collator.for_transcription(recordings), max_new_tokens=12)
    assert [h.id for h in together] == ["u0", "u1", "u2", "u3"]
    for heard, one in zip(together, recordings, strict=True):
        assert model.transcribe(model.collator.for_transcription([one]), max_new_tokens=12) == [heard]
    assert len({h.raw_text for h in together}) > 1  # else the claim above would be empty


def test_greedy_transcripts_are_the_best_token_each_time(recordings):
    """Token by token through transformers' forward pass without a cache."""
    model, plain = make_model(), tiny_model()
    batch = model.collator.for_transcription(recordings[:1])
    [heard] = model.transcribe(batch, max_new_tokens=5)
    ids = batch.input_ids
    for _ in range(5):
        with torch.no_grad():
            grown = Batch(**(vars(batch) | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}))
            ids = torch.cat([ids, full_logits(plain, grown)[:, -1:].argmax(-1)], dim=1)
    expected = model.collator.tokenizer.decode(ids[0, batch.input_ids.shape[1] :], skip_special_tokens=True)
    assert (heard.raw_text, heard.num_tokens, heard.is_truncated) == (expected, 5, True)


def test_a_forced_language_is_part_of_the_raw_text_and_of_the_hypothesis(recordings):
    model = make_model()
    batch = model.collator.for_transcription(recordings[:2], language="German")
    for heard in model.transcribe(batch, max_new_tokens=4):
        assert heard.raw_text.startswith("language German<asr_text>")
        assert heard.language == "German"


def test_a_frozen_encoder_runs_without_gradients(recordings):
    frozen = AdaptConfig(trainable=["decoder.*"])
    assert not audio_embedding_requires_grad(make_model(frozen), recordings)
    for part in ("encoder.*", "projector.*"):
        assert audio_embedding_requires_grad(make_model(AdaptConfig(trainable=[part])), recordings)


def audio_embedding_requires_grad(model: Qwen3ASR, recordings: list[Recording]) -> bool:
    seen: list[bool] = []
    projector = model.core.model.multi_modal_projector
    hook = projector.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    model(model.collator.for_training(recordings[:2]))
    hook.remove()
    assert len(seen) == 1
    return seen[0]


@pytest.mark.parametrize("part", ["encoder", "projector", "decoder"])
def test_lora_on_any_part_gets_gradients(recordings, part: str):
    patterns = {"encoder": ["fc1"], "projector": ["*"], "decoder": ["q_proj"]}
    model = make_model(AdaptConfig(lora=LoraSettings(rank=2, **{part: patterns[part]})))
    CrossEntropy()(model, model.collator.for_training(recordings)).total.backward()
    trained = [p for p in model.module.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)


def test_a_batch_without_targets_gives_no_loss_and_no_gradient(recordings):
    """What a process is given when none of its clips could be read; it must take part in the step all the same."""
    from qasr_train.data.workers import PlannedBatches

    model = make_model(AdaptConfig(trainable=["*"]))
    gone = [utterance(id="gone", audio="gone.wav")]
    loaded = PlannedBatches(gone, [[0]], model.collator)[0]
    assert [one.id for one in loaded.failed] == ["gone"]
    loss = CrossEntropy()(model, loaded.batch)
    loss.total.backward()
    assert (float(loss.total.detach()), loss.num_targets) == (0.0, 0)
    gradients = [p.grad for p in model.module.parameters() if p.grad is not None]
    assert gradients and not any(g.any() for g in gradients)


# ---- saving


def test_saving_lora_leaves_the_live_model_as_it_was(recordings, tmp_path: Path):
    model = make_model(lora())
    before = {name: p.clone() for name, p in model.named_parameters()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    model.save(tmp_path)
    after = dict(model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], p) for name, p in after.items())
    assert {name for name, p in after.items() if p.requires_grad} == trained


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_the_merged_checkpoint_and_its_adapter_say_what_the_live_model_says(recordings, tmp_path: Path, settings: dict):
    save_native(tiny_model(), tiny_processor(), tmp_path / "base")
    model = make_model(lora(**settings), path=str(tmp_path / "base"))
    model.save(tmp_path / "saved")
    batch = model.collator.for_training(recordings)
    with torch.no_grad():
        live = model(batch).logits
        base = load_model(Qwen3ASRConfig(path=str(tmp_path / "base")), device="cpu")(batch).logits
        merged = load_model(Qwen3ASRConfig(path=str(tmp_path / "saved")), device="cpu")(batch).logits
        over_base = load_model(Qwen3ASRConfig(path=str(tmp_path / "saved" / "adapter")), device="cpu")(batch).logits
    assert (live - base).abs().max() > 0.1  # the adapters do something
    torch.testing.assert_close(merged, live, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(over_base, live, rtol=1e-5, atol=1e-5)


def test_whole_weights_beside_lora_are_in_the_merged_files_and_no_adapter_is_written(recordings, tmp_path: Path):
    adapt = lora()
    adapt.trainable = ["decoder.norm.weight"]
    model = make_model(adapt)
    model.core.model.language_model.norm.weight.data += 0.5
    model.save(tmp_path)
    assert not (tmp_path / "adapter").exists()
    batch = model.collator.for_training(recordings)
    with torch.no_grad():
        live = model(batch).logits
        saved = load_model(Qwen3ASRConfig(path=str(tmp_path)), device="cpu")(batch).logits
    torch.testing.assert_close(saved, live, rtol=1e-4, atol=1e-4)


def test_a_base_for_a_whole_model_is_refused(tmp_path: Path):
    save_native(tiny_model(), tiny_processor(), tmp_path)
    config = Qwen3ASRConfig(path=str(tmp_path), base="elsewhere")
    with pytest.raises(CheckpointError, match="model.base=elsewhere: only an adapter has a base"):
        load_model(config, device="cpu")


def test_the_collator_of_an_adapter_is_that_of_its_base(recordings, tmp_path: Path):
    save_native(tiny_model(), tiny_processor(), tmp_path / "base")
    model = make_model(lora(), path=str(tmp_path / "base"))
    model.save(tmp_path / "saved")
    collator = load_collator(Qwen3ASRConfig(path=str(tmp_path / "saved" / "adapter")))
    expected = model.collator.for_training(recordings)
    assert torch.equal(collator.for_training(recordings).input_ids, expected.input_ids)


# ---- gradient checkpointing


def test_gradient_checkpointing_changes_no_gradient_and_warns_of_nothing(recordings):
    gradients = []
    for recompute in Recompute:
        model = make_model(AdaptConfig(trainable=["*"]))
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            model.set_gradient_checkpointing(recompute)
        in_decoder = recompute in (Recompute.decoder, Recompute.all)
        assert is_checkpointing(model) is (in_decoder or recompute is Recompute.encoder)
        model.module.train()
        calls, convolved = count_calls(model)
        CrossEntropy()(model, model.collator.for_training(recordings)).total.backward()
        # Recomputed in the backward pass: every decoder layer runs twice.
        assert len(calls) == (4 if in_decoder else 2)
        in_encoder = recompute in (Recompute.conv, Recompute.encoder, Recompute.all)
        assert len(convolved) == (2 if in_encoder else 1)
        gradients.append({name: p.grad for name, p in model.module.named_parameters() if p.grad is not None})
    for others in gradients[1:]:
        assert gradients[0].keys() == others.keys()
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(others[name], gradient, rtol=1e-5, atol=1e-6)


def test_gradient_checkpointing_reaches_lora_over_a_frozen_model(recordings):
    model = make_model(lora())
    model.set_gradient_checkpointing(Recompute.all)
    model.module.train()
    CrossEntropy()(model, model.collator.for_training(recordings)).total.backward()
    assert all(p.grad is not None for p in model.module.parameters() if p.requires_grad)
    model.set_gradient_checkpointing(Recompute.none)
    assert not is_checkpointing(model)


def is_checkpointing(model: Qwen3ASR) -> bool:
    return any(getattr(layer, "gradient_checkpointing", False) for layer in model.core.modules())


def count_calls(model: Qwen3ASR) -> tuple[list[int], list[int]]:
    """Calls of the decoder's MLPs, and of the last convolution."""
    decoded: list[int] = []
    convolved: list[int] = []
    for layer in model.core.model.language_model.layers:
        layer.mlp.register_forward_pre_hook(lambda module, inputs: decoded.append(1))
    model.core.model.audio_tower.conv2d3.register_forward_pre_hook(lambda module, inputs: convolved.append(1))
    return decoded, convolved
