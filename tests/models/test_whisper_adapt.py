"""What of Whisper is trained, by part and pattern, and what is saved: for plain transformers, as an adapter, its windows."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoProcessor, WhisperForConditionalGeneration

from qasr_train.jobs.recipes import CONFIG_DIR
from qasr_train.models.adapt import apply_adaptation, optimizer_groups
from qasr_train.models.families import load_model
from qasr_train.models.settings import AdaptConfig, LoraSettings
from qasr_train.models.whisper.config import PARTS, WhisperConfig, Window
from qasr_train.models.whisper.model import Whisper
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.training.optim import build_optimizer
from qasr_train.training.settings import OptimConfig
from tests.helpers_whisper import load, recordings


def preset(name: str) -> AdaptConfig:
    values = OmegaConf.load(CONFIG_DIR / "adapt" / f"{name}.yaml")
    values.pop("defaults")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(AdaptConfig), values))
    assert isinstance(config, AdaptConfig)
    return config


ENCODER = {f"self_attn.{one}" for one in ("q_proj", "k_proj", "v_proj", "out_proj")} | {"fc1", "fc2"}
DECODER = ENCODER | {f"encoder_attn.{one}" for one in ("q_proj", "k_proj", "v_proj", "out_proj")}


@pytest.mark.parametrize(
    "name, encoder, decoder",
    [("lora", ENCODER, DECODER), ("lora_decoder", set(), DECODER), ("lora_encoder", ENCODER, set())],
)
def test_the_lora_that_every_family_is_given_sits_on_whispers_linear_layers(
    tiny_whisper: Path, name: str, encoder: set[str], decoder: set[str]
):
    adapted = apply_adaptation(load(tiny_whisper).module, preset(name), PARTS)
    names = [name for name, p in adapted.named_parameters() if p.requires_grad]
    layers = {name.split(".lora_")[0].removeprefix("base_model.model.model.") for name in names}
    wanted = {f"encoder.layers.{i}.{one}" for i in range(2) for one in encoder}
    assert layers == wanted | {f"decoder.layers.{i}.{one}" for i in range(2) for one in decoder}


def test_a_frozen_encoder_has_no_gradient_and_full_trains_all_but_the_sines(tiny_whisper: Path):
    model = load(tiny_whisper)
    model.module = apply_adaptation(model.module, preset("frozen_encoder"), PARTS)
    CrossEntropy()(model, model.collator.for_training(recordings())).total.backward()
    found = {name for name, p in model.module.named_parameters() if p.grad is not None}
    assert found and all(name.startswith("model.decoder.") for name in found)
    assert not model.encode(model.collator.for_training(recordings())).requires_grad
    model.module = apply_adaptation(model.module, preset("full"), PARTS)
    frozen = {name for name, p in model.module.named_parameters() if not p.requires_grad}
    assert frozen == {"model.encoder.embed_positions.weight"}


@pytest.mark.parametrize(
    "patterns, num_layers",
    [(["decoder.layers.*.encoder_attn.*"], 2 * 7), (["decoder.layers.1.self_attn.*"], 7), (["encoder.layers.0.*"], 15)],
)
def test_patterns_choose_self_and_cross_attention(tiny_whisper: Path, patterns: list[str], num_layers: int):
    """Four projections of an attention, three of them with a bias."""
    module = apply_adaptation(load(tiny_whisper).module, AdaptConfig(trainable=patterns), PARTS)
    assert sum(p.requires_grad for p in module.parameters()) == num_layers


def test_rates_by_part(tiny_whisper: Path):
    model = load(tiny_whisper)
    config = OptimConfig(lr=1e-3, lr_encoder=1e-5)
    full = apply_adaptation(model.module, preset("full"), PARTS)
    rates = {
        group["part"]: group["peak_lr"] for group in build_optimizer(optimizer_groups(full, PARTS), config).param_groups
    }
    assert rates == {"encoder": 1e-5, "decoder": 1e-3}
    counted = sum(p.numel() for group in optimizer_groups(full, PARTS).values() for _, p in group)
    assert counted == sum(p.numel() for p in full.parameters()), "the tied head is in one group, once"


def step(model: Whisper, lr: float = 0.05) -> None:
    """A large step of what is trained, so that a saved model is another."""
    trained = [p for p in model.module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=lr)
    model.module.train().zero_grad()
    loss = CrossEntropy()(model, model.collator.for_training(recordings()))
    (loss.total / loss.num_targets).backward()
    optimizer.step()
    model.module.eval()


def said(model: Any) -> list[str]:
    batch = model.collator.for_transcription(recordings()[:2], language="German", use_context=False)
    return [one.raw_text for one in model.transcribe(batch, max_new_tokens=6)]


def said_by_transformers(folder: Path) -> list[str]:
    reference = WhisperForConditionalGeneration.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    waveforms = [one.waveform for one in recordings()[:2]]
    inputs = processor(waveforms, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    told = {"language": "german", "task": "transcribe", "max_new_tokens": 6}
    generated = reference.generate(inputs.input_features, attention_mask=inputs.attention_mask, **told)
    return processor.batch_decode(generated, skip_special_tokens=True)


ADAPT = {
    "full": preset("full"),
    "lora": AdaptConfig(lora=LoraSettings(rank=4, alpha=64.0, decoder=["*_proj", "fc?"], encoder=["*_proj"])),
    "both": AdaptConfig(
        trainable=["decoder.embed_tokens.weight"], lora=LoraSettings(rank=4, alpha=64.0, decoder=["*_proj"])
    ),
}


@pytest.mark.parametrize("adapt", list(ADAPT))
def test_what_is_saved_says_the_same_in_plain_transformers_and_as_an_adapter(
    tiny_whisper: Path, tmp_path: Path, adapt: str
):
    model = load(tiny_whisper)
    before = said(model)
    model.module = apply_adaptation(model.module, ADAPT[adapt], PARTS)
    for _ in range(2):  # the first step moves a fresh adapter's B alone
        step(model)
    expected = said(model)
    assert expected != before
    model.save(tmp_path)
    assert said_by_transformers(tmp_path) == expected
    assert said(load_model(WhisperConfig(path=str(tmp_path)), device="cpu")) == expected
    assert (tmp_path / "adapter").is_dir() is (adapt == "lora")
    if (tmp_path / "adapter").is_dir():
        alone = WhisperConfig(path=str(tmp_path / "adapter"), base=str(tiny_whisper))
        assert said(load_model(alone, device="cpu")) == expected


def test_the_head_is_the_embedding_before_and_after_saving(tiny_whisper: Path, tmp_path: Path):
    model = load(tiny_whisper)
    model.module = apply_adaptation(model.module, preset("full"), PARTS)
    step(model)
    assert model.core.proj_out.weight is model.core.model.decoder.embed_tokens.weight
    model.save(tmp_path)
    again = load(tmp_path)
    assert again.core.proj_out.weight is again.core.model.decoder.embed_tokens.weight
    assert torch.equal(again.core.proj_out.weight, model.core.proj_out.weight)


def test_a_float16_checkpoint_is_trained_in_float32_and_transcribed_as_asked(tiny_whisper: Path, tmp_path: Path):
    WhisperForConditionalGeneration.from_pretrained(tiny_whisper).half().save_pretrained(tmp_path)
    for file in tiny_whisper.iterdir():
        if not (tmp_path / file.name).exists():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    model = load(tmp_path)
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    model.save(tmp_path / "again")
    assert load_model(WhisperConfig(path=str(tmp_path / "again")), device="cpu").module.dtype == torch.float32
    low = load_model(WhisperConfig(path=str(tmp_path)), device="cpu", dtype=torch.bfloat16)
    assert {p.dtype for p in low.module.parameters()} == {torch.bfloat16}
    assert all(
        np.isfinite(one.log_probs or ()).all()
        for one in low.transcribe(
            low.collator.for_transcription(recordings(), language=None, use_context=True), max_new_tokens=3
        )
    )


def windows_said(caplog: pytest.LogCaptureFixture, folder: Path, window: Window) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "qasr_train"):
        load_model(WhisperConfig(path=str(folder), window=window), device="cpu")
    return caplog.text


def test_evaluation_warns_of_a_window_that_a_checkpoint_was_not_trained_with(
    tiny_whisper: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    untrained = "was never trained with model.window=clip, and an untrained Whisper repeats itself there"
    full_now = "was trained with model.window=clip, and is given the full 30 s now"
    assert untrained in windows_said(caplog, tiny_whisper, Window.clip)
    assert windows_said(caplog, tiny_whisper, Window.full) == ""
    load(tiny_whisper, window=Window.clip).save(tmp_path / "clip")
    assert windows_said(caplog, tmp_path / "clip", Window.clip) == ""
    assert full_now in windows_said(caplog, tmp_path / "clip", Window.full)
    load(tmp_path / "clip", window=Window.clip, full_window_fraction=0.1).save(tmp_path / "both")
    assert (
        windows_said(caplog, tmp_path / "both", Window.clip)
        == windows_said(caplog, tmp_path / "both", Window.full)
        == ""
    )
    model = load(tiny_whisper, window=Window.clip)
    model.module = apply_adaptation(model.module, ADAPT["lora"], PARTS)
    model.save(tmp_path / "lora")
    assert windows_said(caplog, tmp_path / "lora" / "adapter", Window.clip) == ""
    assert full_now in windows_said(caplog, tmp_path / "lora" / "adapter", Window.full)
