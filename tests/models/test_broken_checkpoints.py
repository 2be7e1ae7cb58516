"""Checkpoints that open, and compute something else than they should: each is one sentence before any work."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from qasr_train.errors import CheckpointError
from qasr_train.models.qwen3_asr.layouts import load_checkpoint, save_native
from tests.helpers_model import tiny_model, tiny_processor

WEIGHT = "model.language_model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound native checkpoint."""
    save_native(tiny_model(), tiny_processor(), tmp_path)
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3"), (torch.float8_e5m2, "F8_E5M2")]
)
def test_quantized_weights_without_their_scales_are_refused(folder: Path, dtype: torch.dtype, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {WEIGHT: tensors[WEIGHT].to(dtype)}, folder / "model.safetensors")
    assert f"1 tensors are no plain floating-point weights ({WEIGHT} is {name})" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_not_finite_is_found(folder: Path, value: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[WEIGHT].view(-1)[-1] = value
    save_file(tensors, folder / "model.safetensors")
    assert f"{WEIGHT} holds NaN or infinite numbers" in refusal(folder)


@pytest.mark.parametrize("section", ["", "text_config", "audio_config"])
def test_a_quantization_config_is_refused_wherever_it_stands(folder: Path, section: str) -> None:
    said = {"quant_method": "awq"}
    edit(folder / "config.json", lambda c: (c[section] if section else c).update(quantization_config=said))
    assert "config.json has a quantization_config (method 'awq')" in refusal(folder)


def test_a_processor_of_another_sampling_rate_is_refused(folder: Path) -> None:
    edit(folder / "processor_config.json", lambda c: c["feature_extractor"].update(sampling_rate=8000))
    assert "the processor's sampling_rate is 8000, and audio is read at 16000 Hz here" in refusal(folder)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_an_end_token_that_the_tokenizer_lacks_is_refused(folder: Path, file: str) -> None:
    edit(folder / file, lambda c: c.update(eos_token_id=[99999]))
    assert f"{file}: eos_token_id is 99999, which the tokenizer does not have" in refusal(folder)


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize(
    "size", ["text_config.num_attention_heads", "text_config.head_dim", "audio_config.encoder_attention_heads"]
)
def test_a_size_of_nothing_is_refused(folder: Path, size: str, value: int) -> None:
    section, name = size.split(".")
    edit(folder / "config.json", lambda c: c[section].update({name: value}))
    assert f"config.json: {size} is {value}; expected from 1 to 1e+07" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("text_config.rms_norm_eps", float("nan"), "is nan; expected a finite number"),
        ("text_config.rope_theta", float("inf"), "is inf; expected a finite number"),
        ("text_config.rms_norm_eps", -1e-6, "is -1e-06; expected from 0 to 0.5"),
        ("text_config.num_hidden_layers", 10**9, "is 1000000000; expected from 0 to 1000"),
        ("text_config.vocab_size", 10**12, "is 1000000000000; expected from 1 to 1e+07"),
    ],
)
def test_a_number_of_no_model_is_refused(folder: Path, name: str, value: float, said: str) -> None:
    section, key = name.split(".")
    edit(folder / "config.json", lambda c: c[section].update({key: value}))
    assert f"config.json: {name} {said}, copy it from the source again" in refusal(folder)


def test_sizes_that_do_not_fit_each_other_are_refused(folder: Path) -> None:
    edit(folder / "config.json", lambda c: c["audio_config"].update(encoder_attention_heads=10**6))
    assert "config.json describes no model that can be built" in refusal(folder)


@pytest.mark.parametrize("depth", [800, 100_000])
def test_a_deeply_nested_config_is_refused_or_ignored(folder: Path, depth: int) -> None:
    text = (folder / "config.json").read_text().rstrip().removesuffix("}")
    (folder / "config.json").write_text(f'{text}, "x": {"[" * depth}{"]" * depth}}}')
    assert "config.json" in refusal(folder)
