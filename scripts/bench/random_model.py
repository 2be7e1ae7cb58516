"""Owns the models that benchmarks measure: the published architectures with random weights and the bundled tokenizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, Qwen3ASRForConditionalGeneration

from qasr_train.models.locations import resolve_checkpoint
from qasr_train.models.qwen3_asr.layouts import load_processor
from qasr_train.models.qwen3_asr.model import Qwen3ASR

VOCABULARY, CHANNELS = 151_936, 480


@dataclass(frozen=True)
class Shape:
    """Widths and depths of a published model; the decoder has 28 layers, 16 heads and 8 of keys, each 128 wide, in both."""

    width: int
    heads: int
    encoder_layers: int
    decoder_width: int
    decoder_layers: int = 28


SHAPES = {"0.6b": Shape(896, 14, 18, 1024), "1.7b": Shape(1024, 16, 24, 2048)}


def random_model(
    name: str,
    *,
    encoder_layers: int | None = None,
    decoder_layers: int | None = None,
    vocabulary: int = VOCABULARY,
    channels: int = CHANNELS,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Qwen3ASR:
    """A model of SHAPES, or the architecture of the bundled one ("tiny"); seeded. layers: None: as many as published."""
    torch.manual_seed(0)
    tiny = resolve_checkpoint("bundled:tiny", None)
    config: Any = AutoConfig.from_pretrained(tiny)
    if name != "tiny":
        shape = SHAPES[name]
        config.audio_config.update(
            {
                "d_model": shape.width,
                "encoder_attention_heads": shape.heads,
                "encoder_ffn_dim": 4 * shape.width,
                "output_dim": shape.decoder_width,
                "encoder_layers": shape.encoder_layers if encoder_layers is None else encoder_layers,
                "downsample_hidden_size": channels,
            }
        )
        num_layers = shape.decoder_layers if decoder_layers is None else decoder_layers
        config.text_config.update(
            {
                "hidden_size": shape.decoder_width,
                "intermediate_size": 3 * shape.decoder_width,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "num_hidden_layers": num_layers,
                "layer_types": ["full_attention"] * num_layers,
                "vocab_size": vocabulary,
            }
        )
    config.audio_config.initializer_range = config.text_config.initializer_range = config.initializer_range = 0.02
    config.dtype = dtype
    with torch.device(device):  # drawn where it is used: a GPU does so in a second
        core = Qwen3ASRForConditionalGeneration(config)
    for parameter in core.parameters():  # tables that are not weights (positions, rotations) stay in float32
        parameter.data = parameter.data.to(dtype)
    return Qwen3ASR(core, load_processor(tiny))


@contextmanager
def plain_attention(core: Any) -> Iterator[None]:
    """Let transformers attend by itself meanwhile."""
    configs = (core.config.audio_config, core.config.text_config)
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name
