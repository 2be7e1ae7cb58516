"""Owns how many operations Qwen3-ASR needs for a training batch, worked out from its configuration.

A matrix product of [m, k] and [k, n] counts 2 m k n (a multiplication and an addition). Norms, activations, embeddings
looked up and LoRA's own small products are left out, as in Chowdhery et al. 2022, "PaLM", appendix B, which also says what
a backward pass costs: once the forward for gradients of activations, and once more for gradients of weights.
"""

from collections.abc import Callable
from typing import Any

from torch import nn
from transformers import Qwen3ASRConfig

from qasr_train.batch import Batch
from qasr_train.models.adapt import ADAPTERS, parameter_groups
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.settings import Parts

_FRAMES_PER_S = 100
_FRAMES_PER_CHUNK = 100  # mel frames the convolutions see at a time
_POSITIONS_PER_CHUNK = 13
_CHUNKS_PER_WINDOW = 8  # encoder attention reaches over 8 s


def flop_counter(
    module: nn.Module, config: Qwen3ASRConfig, *, parts: Parts = PARTS, num_classes: int | None = None
) -> Callable[[Batch], float]:
    """What counts the operations of a training batch for a model whose `requires_grad` is set; see `training_flops`.

    parts: where they lie. num_classes: of the head; None: the vocabulary.
    """
    trained: set[str] = set()
    adapted: set[str] = set()
    for part, named in parameter_groups(module, parts).items():
        for name, parameter in named:
            if parameter.requires_grad:
                (adapted if part == ADAPTERS else trained).add(parts.locate(name)[0])

    def count(batch: Batch) -> float:
        # A cached encoder output is not computed again.
        durations_s = [] if batch.encoded is not None else batch.duration_s.tolist()
        return training_flops(
            config,
            num_frames=[round(duration_s * _FRAMES_PER_S) for duration_s in durations_s],
            num_tokens=batch.attention_mask.sum(1).tolist(),
            num_targets=batch.num_supervised,
            trained=trained,
            adapted=adapted,
            num_classes=num_classes,
        )

    return count


def training_flops(
    config: Qwen3ASRConfig,
    *,
    num_frames: list[int],
    num_tokens: list[int],
    num_targets: int,
    trained: set[str],
    adapted: set[str],
    num_classes: int | None = None,
) -> float:
    """Operations of one forward and backward pass, padding and recomputation not counted: what the data need.

    Args:
        num_frames: mel frames of each row. num_tokens: decoder positions of each row, audio included.
        num_targets: supervised positions, which alone pass the head.
        trained: parts ("encoder", "projector", "decoder") with trained weights of their own. adapted: parts with LoRA, whose
            weights need no gradient but whose activations do, as do those of every part behind them.
        num_classes: of the head; None: the vocabulary.
    """
    forward = {
        "encoder": encoder_flops(config, num_frames),
        "projector": projector_flops(config, num_frames),
        "decoder": decoder_flops(config, num_tokens) + head_flops(config, num_targets, num_classes),
    }
    total, reaches_back = 0.0, False
    for part, flops in forward.items():
        reaches_back = reaches_back or part in trained or part in adapted
        total += flops * (1 + reaches_back + (part in trained))
    return total


def encoder_flops(config: Qwen3ASRConfig, num_frames: list[int]) -> float:
    """Convolutions and layers of the audio encoder, forward."""
    audio: Any = config.audio_config
    channels, width = audio.downsample_hidden_size, audio.d_model
    total = 0.0
    for frames in num_frames:
        num_chunks = frames / _FRAMES_PER_CHUNK
        total += num_chunks * _conv_flops_per_chunk(channels, audio.num_mel_bins, width)
        positions = num_chunks * _POSITIONS_PER_CHUNK
        linear = 4 * width**2 + 2 * width * audio.encoder_ffn_dim  # query, key, value, output; up and down
        window = min(positions, _CHUNKS_PER_WINDOW * _POSITIONS_PER_CHUNK)
        total += audio.encoder_layers * positions * (2 * linear + 4 * window * width)
    return total


def projector_flops(config: Qwen3ASRConfig, num_frames: list[int]) -> float:
    """The two linear layers between encoder and decoder, forward."""
    audio: Any = config.audio_config
    width, out = audio.d_model, audio.output_dim
    positions = sum(num_frames) / _FRAMES_PER_CHUNK * _POSITIONS_PER_CHUNK
    return 2.0 * positions * (width * width + width * out)


def decoder_flops(config: Qwen3ASRConfig, num_tokens: list[int]) -> float:
    """Layers of the language model, forward, without the head; a token attends to itself and those before it."""
    text: Any = config.text_config
    queries, keys = text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim
    linear = text.hidden_size * (2 * queries + 2 * keys) + 3 * text.hidden_size * text.intermediate_size
    return sum(
        text.num_hidden_layers * (2.0 * tokens * linear + 4.0 * queries * tokens * (tokens + 1) / 2)
        for tokens in num_tokens
    )


def head_flops(config: Qwen3ASRConfig, num_targets: int, num_classes: int | None = None) -> float:
    """The head over the vocabulary, or over so many classes, forward."""
    text: Any = config.text_config
    return 2.0 * num_targets * text.hidden_size * (num_classes or text.vocab_size)


def _conv_flops_per_chunk(channels: int, num_mel_bins: int, width: int) -> float:
    """Three 3x3 convolutions of stride 2 over [mel bins, frames], then a linear layer over channels times bins."""
    total, inputs, bins, frames = 0.0, 1, num_mel_bins, _FRAMES_PER_CHUNK
    for _ in range(3):
        bins, frames = (bins + 1) // 2, (frames + 1) // 2
        total += 2.0 * 9 * inputs * channels * bins * frames
        inputs = channels
    return total + 2.0 * frames * channels * bins * width
