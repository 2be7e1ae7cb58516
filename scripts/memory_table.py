"""The memory that training takes on a GPU, worked out on paper; prints the tables of docs/scaling.md.

    python scripts/memory_table.py

Weights, gradients, AdamW, activations, for the sizes of the two published models and configs/adapt/. Parameters are counted
on the model itself, built without memory; bytes kept for the backward pass are those that scripts/bench/weigh_activations.py
found on a CPU in bf16 autocast. Nothing here was measured on a GPU. 1 GB is 1e9 bytes.
"""

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import Qwen3ASRConfig, Qwen3ASRForConditionalGeneration

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.encoder import CHUNKS_AT_ONCE
from qasr_train.models.settings import AdaptConfig, LoraSettings

ROOT = Path(__file__).resolve().parents[1]
MASTER, HALF = 4, 2  # bytes of a float32 and a bf16 number
ADAMW, ADAMW_8BIT = 8, 2  # bytes of optimizer state a trained weight: two means in float32, in 8 bits
POSITIONS_PER_S = 13  # of the encoder, and of the decoder for the same audio
TEXT_PER_S = 5  # further decoder positions a second: 222 for clips of 12.4 s (facts on LibriSpeech), 18 in all
CHUNK_ROWS = 256  # objective.chunk_rows
# Of a GPU: CUDA context, NCCL and cuBLAS buffers; and the share lost to fragmentation as batches of other shapes come.
FIXED_GB, USED_FRACTION = 2.0, 0.9
GPUS_GB = {"24 GB": 24, "48 GB": 48, "80 GB": 80, "141 GB": 141}


@dataclass(frozen=True)
class Size:
    """A published model's widths and depths."""

    width: int  # of the decoder
    ffn: int
    encoder_width: int
    encoder_ffn: int
    encoder_layers: int
    encoder_heads: int
    vocabulary: int = 151_936
    layers: int = 28


SIZES = {
    "0.6B": Size(width=1024, ffn=3072, encoder_width=896, encoder_ffn=3584, encoder_layers=18, encoder_heads=14),
    "1.7B": Size(width=2048, ffn=6144, encoder_width=1024, encoder_ffn=4096, encoder_layers=24, encoder_heads=16),
}


@dataclass(frozen=True)
class Kept:
    """Bytes kept for the backward pass: of an encoder and a decoder layer a position; of the rest a second of audio."""

    encoder_layer: int
    decoder_layer: int
    rest: int


# scripts/bench/weigh_activations.py, 2026-11-23, torch 2.13 on a CPU.
KEPT = {
    ("0.6B", "lora_decoder"): Kept(encoder_layer=0, decoder_layer=72_072, rest=60_112),
    ("0.6B", "lora"): Kept(encoder_layer=34_312, decoder_layer=72_072, rest=274_384),
    ("0.6B", "full"): Kept(encoder_layer=30_536, decoder_layer=86_184, rest=8_492_304),
    ("1.7B", "lora_decoder"): Kept(encoder_layer=0, decoder_layer=115_080, rest=60_112),
    ("1.7B", "lora"): Kept(encoder_layer=39_184, decoder_layer=115_080, rest=427_728),
    ("1.7B", "full"): Kept(encoder_layer=34_896, decoder_layer=137_384, rest=8_739_088),
}


@dataclass(frozen=True)
class Counts:
    """Parameters: all, trained, of the largest decoder layer, and of what is no layer (embeddings, convolutions ...)."""

    total: int
    trained: int
    layer: int
    outside_layers: int


@dataclass(frozen=True)
class Case:
    """A row of the table: a model, configs/adapt, a launch file, how many GPUs, bytes of optimizer state a weight."""

    size: str
    adapt: str
    launch: str
    num_gpus: int
    optimizer: int = ADAMW

    @property
    def name(self) -> str:
        """As the table says it."""
        gpus = "1 GPU" if self.num_gpus == 1 else f"{self.launch}, {self.num_gpus} GPUs"
        return f"{self.size} {self.adapt}{', 8-bit AdamW' if self.optimizer == ADAMW_8BIT else ''}, {gpus}"


@dataclass(frozen=True)
class Memory:
    """Gigabytes of one GPU that do not depend on the batch."""

    weights: float
    copies: float  # in bf16
    gradients: float
    optimizer: float
    gathered: float  # FSDP: what is whole for the moment; DDP: buckets of gradients
    head: float  # logits of a chunk

    @property
    def total(self) -> float:
        """All of it."""
        return sum(vars(self).values())


@cache
def count(size: str, adapt: str) -> Counts:
    """Parameters of a model of this size with configs/adapt/ADAPT.yaml applied, built on the meta device."""
    with torch.device("meta"):
        model = apply_adaptation(
            Qwen3ASRForConditionalGeneration(model_config(SIZES[size])), adapt_config(adapt), PARTS
        )
    parameters = dict(model.named_parameters())  # the tied head comes once
    layer = sum(p.numel() for name, p in parameters.items() if ".language_model.layers.0." in name)
    in_layers = sum(p.numel() for name, p in parameters.items() if ".layers." in name)
    total = sum(p.numel() for p in parameters.values())
    trained = sum(p.numel() for p in parameters.values() if p.requires_grad)
    return Counts(total, trained, layer, total - in_layers)


def model_config(size: Size) -> Qwen3ASRConfig:
    """The native configuration of a published model."""
    audio: dict[str, Any] = {
        "d_model": size.encoder_width,
        "encoder_layers": size.encoder_layers,
        "encoder_attention_heads": size.encoder_heads,
        "encoder_ffn_dim": size.encoder_ffn,
        "output_dim": size.width,
        "downsample_hidden_size": 480,
    }
    text: dict[str, Any] = {
        "hidden_size": size.width,
        "intermediate_size": size.ffn,
        "num_hidden_layers": size.layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": size.vocabulary,
        "tie_word_embeddings": True,
    }
    return Qwen3ASRConfig(audio_config=audio, text_config=text, tie_word_embeddings=True)


def fixed_memory(case: Case, counts: Counts) -> Memory:
    """What one GPU holds whatever the batch. Offloaded: weights, gradients and optimizer lie in the host's memory."""
    size, is_sharded = SIZES[case.size], case.launch.startswith("fsdp2")
    is_full, is_offloaded = counts.trained == counts.total, case.launch == "fsdp2_cpu_offload"
    held = 0.0 if is_offloaded else 1 / (case.num_gpus if is_sharded else 1)
    if is_sharded:
        # Whole at a time: what is no layer, to the end of the backward pass, the layer at work and the next one, in bf16; then
        # their gradients before they are reduced, in bf16 and once more in float32.
        whole = counts.outside_layers + 2 * counts.layer
        copies, gathered = 0, whole * (HALF + (HALF + MASTER) * is_full)
    else:
        # Autocast's copies are kept for the backward pass (the head's is counted with it). DDP reduces gradients in buckets.
        copies = HALF * (counts.total - size.vocabulary * size.width)
        gathered = MASTER * counts.trained * (case.num_gpus > 1)
    return Memory(
        weights=MASTER * counts.total * held / 1e9,
        copies=copies / 1e9,
        gradients=MASTER * counts.trained * held / 1e9,
        optimizer=case.optimizer * counts.trained * held / 1e9,
        gathered=gathered / 1e9,
        head=head_bytes(size, is_trained=is_full) / 1e9,
    )


def head_bytes(size: Size, *, is_trained: bool) -> int:
    """Of a chunk: logits in bf16; in float32, their log-probabilities and gradient too; the head's bf16 copy and gradient."""
    weight = size.vocabulary * size.width
    return CHUNK_ROWS * size.vocabulary * (HALF + 3 * MASTER) + weight * (HALF + MASTER * is_trained)


def activation_mb_per_s(size: Size, kept: Kept, *, is_recomputed: bool = False) -> float:
    """Megabytes kept for the backward pass a second of audio.

    is_recomputed: trainer.gradient_checkpointing=all keeps the input of each layer (float32, which autocast leaves the residual
    stream in), and all of one layer while it is computed again.
    """
    positions = POSITIONS_PER_S + TEXT_PER_S
    encoder, decoder = kept.encoder_layer * POSITIONS_PER_S, kept.decoder_layer * positions
    if not is_recomputed:
        return (size.encoder_layers * encoder + size.layers * decoder + kept.rest) / 1e6
    inputs = size.encoder_layers * size.encoder_width * POSITIONS_PER_S + size.layers * size.width * positions
    return (MASTER * inputs + max(encoder, decoder)) / 1e6


def recomputed_gb(kept: Kept) -> float:
    """Gigabytes of the seconds of audio whose convolutions are computed again at a time."""
    return CHUNKS_AT_ONCE["cuda"] * kept.rest / 1e9


def batch_seconds(memory_gb: float, fixed_gb: float, mb_per_s: float) -> int:
    """Padded seconds of a microbatch that fit beside what is fixed; 0 where not even that fits."""
    left_gb = memory_gb * USED_FRACTION - FIXED_GB - fixed_gb
    return max(0, int(left_gb * 1000 / mb_per_s))


CASES = [
    *(Case("0.6B", adapt, "ddp", n) for adapt in ("lora_decoder", "lora", "full") for n in (1, 8)),
    *(Case("1.7B", adapt, "ddp", n) for adapt in ("lora_decoder", "lora", "full") for n in (1, 8)),
    Case("1.7B", "full", "ddp", 8, ADAMW_8BIT),
    Case("0.6B", "full", "fsdp2", 8),
    *(Case("1.7B", "full", "fsdp2", n) for n in (2, 4, 8, 64)),
    Case("1.7B", "lora", "fsdp2", 8),
    Case("1.7B", "full", "fsdp2_cpu_offload", 2),
]


def main() -> None:
    """Print the tables."""
    print(tables())


def tables() -> str:
    """Markdown: parameters, what does not depend on the batch, what does."""
    counts = {(size, adapt): count(size, adapt) for size, adapt in KEPT}
    return "\n\n".join([_parameter_table(counts), _fixed_table(counts), _activation_table(), _batch_table(counts)])


def adapt_config(name: str) -> AdaptConfig:
    """What configs/adapt/NAME.yaml says."""
    values = yaml.safe_load((ROOT / "configs" / "adapt" / f"{name}.yaml").read_text(encoding="utf-8"))
    lora = LoraSettings(**values["lora"]) if "lora" in values else None
    return AdaptConfig(trainable=values.get("trainable", []), lora=lora)


def _parameter_table(counts: dict[tuple[str, str], Counts]) -> str:
    rows = ["| | parameters | trained | share |", "|---|---:|---:|---:|"]
    for (size, adapt), found in counts.items():
        share = 100 * found.trained / found.total
        rows.append(f"| {size} {adapt} | {found.total:,} | {found.trained:,} | {share:.1f} % |")
    return "\n".join(rows)


def _fixed_table(counts: dict[tuple[str, str], Counts]) -> str:
    rows = [
        "| GB of one GPU | weights | bf16 copies | gradients | AdamW | buckets, gathered | head | total |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case in CASES:
        memory = fixed_memory(case, counts[case.size, case.adapt])
        rows.append(f"| {case.name} | {' | '.join(f'{gb:.1f}' for gb in (*vars(memory).values(), memory.total))} |")
    return "\n".join(rows)


def _activation_table() -> str:
    rows = ["| MB a second of audio | kept | recomputed (`all`) |", "|---|---:|---:|"]
    for (size, adapt), kept in KEPT.items():
        both = (activation_mb_per_s(SIZES[size], kept, is_recomputed=flag) for flag in (False, True))
        rows.append(f"| {size} {adapt} | {' | '.join(f'{mb:.0f}' for mb in both)} |")
    return "\n".join(rows)


def _batch_table(counts: dict[tuple[str, str], Counts]) -> str:
    rows = [f"| seconds of a microbatch, kept / recomputed | {' | '.join(GPUS_GB)} |", "|---|" + "---:|" * len(GPUS_GB)]
    for case in CASES:
        size, kept = SIZES[case.size], KEPT[case.size, case.adapt]
        fixed_gb = fixed_memory(case, counts[case.size, case.adapt]).total
        cells = []
        for memory_gb in GPUS_GB.values():
            plain = batch_seconds(memory_gb, fixed_gb, activation_mb_per_s(size, kept))
            again_mb = activation_mb_per_s(size, kept, is_recomputed=True)
            again = batch_seconds(memory_gb, fixed_gb + recomputed_gb(kept), again_mb)
            cells.append(f"{_told(plain)} / {_told(again)}")
        rows.append(f"| {case.name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _told(seconds: int) -> str:
    """Two digits are all that paper gives; under 30 s the longest clip does not fit."""
    if seconds < 30:
        return "-"
    unit = 10 ** (len(str(seconds)) - 2)
    return f"{seconds // unit * unit:,}"


if __name__ == "__main__":
    main()
