"""What autograd keeps for the backward pass in bf16 autocast: bytes a second of audio, and of each layer a position.

    python scripts/bench/weigh_activations.py --shape 0.6b --adapt lora

Real widths, random weights, one and two layers, two lengths of one clip: differences between lengths are activations (copies
of weights in bf16 do not grow with the audio), differences between depths are a layer's. scripts/memory_table.py holds the
figures.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, Qwen3ASRForConditionalGeneration

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.batch import Recording
from qasr_train.manifest import Utterance
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.locations import resolve_checkpoint
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.layouts import load_processor
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.settings import AdaptConfig
from qasr_train.objectives.cross_entropy import CrossEntropy
from scripts.bench.bench_train import SHAPES
from scripts.bench.train_step import saved_bytes
from scripts.memory_table import adapt_config

LENGTHS_S = (8, 24)  # whole windows of the encoder
POSITIONS_PER_S = 13


def main() -> None:
    """Weigh and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="0.6b")
    parser.add_argument(
        "--adapt", choices=["full", "lora", "lora_decoder"], default="full", help="a file of configs/adapt"
    )
    arguments = parser.parse_args()
    kept = {depth: weigh(arguments.shape, arguments.adapt, *depth) for depth in ((1, 1), (2, 1), (1, 2))}
    seconds = LENGTHS_S[1] - LENGTHS_S[0]
    tokens = kept[1, 1][1]
    base, encoder, decoder = (kept[depth][0] for depth in ((1, 1), (2, 1), (1, 2)))
    rest = base - (encoder - base) - (decoder - base)
    print(f"{arguments.shape} {arguments.adapt}: {tokens / seconds:.1f} decoder positions a second")
    print(f"an encoder layer, bytes a position: {(encoder - base) / (seconds * POSITIONS_PER_S):,.0f}")
    print(f"a decoder layer, bytes a position: {(decoder - base) / tokens:,.0f}")
    print(f"the rest (convolutions above all), bytes a second of audio: {rest / seconds:,.0f}")


def weigh(shape: str, adapt: str, num_encoder_layers: int, num_decoder_layers: int) -> tuple[int, int]:
    """(bytes kept, decoder positions) that the longer clip has more than the shorter one."""
    model = build_model(shape, adapt_config(adapt), num_encoder_layers, num_decoder_layers)
    found = [weigh_clip(model, length_s) for length_s in LENGTHS_S]
    return found[1][0] - found[0][0], found[1][1] - found[0][1]


def build_model(shape: str, adapt: AdaptConfig, num_encoder_layers: int, num_decoder_layers: int) -> Qwen3ASR:
    """Random weights in a published model's widths, and the bundled tokenizer."""
    torch.manual_seed(0)
    tiny = resolve_checkpoint("bundled:tiny", None)
    config: Any = AutoConfig.from_pretrained(tiny)
    audio, text = SHAPES[shape]
    config.audio_config.update(audio | {"encoder_layers": num_encoder_layers, "downsample_hidden_size": 480})
    layers = {"num_hidden_layers": num_decoder_layers, "layer_types": ["full_attention"] * num_decoder_layers}
    config.text_config.update(text | layers | {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128})
    config.dtype = torch.float32
    model = Qwen3ASR(Qwen3ASRForConditionalGeneration(config), load_processor(tiny))
    model.module = apply_adaptation(model.module, adapt, PARTS)
    model.module.train()
    return model


def weigh_clip(model: Qwen3ASR, length_s: int) -> tuple[int, int]:
    """(bytes autograd keeps, decoder positions) of a clip of noise with some three words a second."""
    waveform = np.random.default_rng(0).normal(0, 0.1, 16_000 * length_s).astype(np.float32)
    text = " ".join(["small"] * 3 * length_s)
    row = Utterance(id="noise", audio="noise", text=text, language="English", duration_s=float(length_s))
    batch = model.collator.for_training([Recording(row, waveform)])
    objective = CrossEntropy()
    with torch.autocast("cpu", torch.bfloat16):
        _, kept = saved_bytes(lambda: objective(model, batch).total, model)
    return kept, int(batch.attention_mask.sum())


if __name__ == "__main__":
    main()
