"""Owns a tiny random-weight checkpoint of every family, written by transformers' own classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import (
    GenerationConfig,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForTDT,
    ParakeetProcessor,
    ParakeetTDTConfig,
    ParakeetTokenizer,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from qasr_train.models.qwen3_asr.layouts import save_native
from tests.helpers_model import bpe, tiny_model, tiny_processor

WHISPER_LANGUAGES = ("en", "de", "tl", "gl")


def save_tiny_whisper(folder: Path, *, is_multilingual: bool = True) -> None:
    """Two layers of width 32; the vocabulary ends in the special tokens, in Whisper's order."""
    vocab, merges = bpe()
    tokenizer = WhisperTokenizer(vocab=dict(vocab), merges=list(merges))
    languages = [f"<|{code}|>" for code in WHISPER_LANGUAGES] if is_multilingual else []
    tokenizer.add_tokens(
        ["<|endoftext|>", "<|startoftranscript|>", *languages, "<|translate|>", "<|transcribe|>", "<|notimestamps|>"],
        special_tokens=True,
    )
    ids = tokenizer.convert_tokens_to_ids
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=80,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_target_positions=64,
        init_std=0.3,
        pad_token_id=ids("<|endoftext|>"),
        bos_token_id=ids("<|endoftext|>"),
        eos_token_id=ids("<|endoftext|>"),
        decoder_start_token_id=ids("<|startoftranscript|>"),
    )
    model = seeded(lambda: WhisperForConditionalGeneration(config))
    values = {
        "decoder_start_token_id": ids("<|startoftranscript|>"),
        "eos_token_id": ids("<|endoftext|>"),
        "pad_token_id": ids("<|endoftext|>"),
        "no_timestamps_token_id": ids("<|notimestamps|>"),
        "suppress_tokens": [1, 2, 3, ids("<|startoftranscript|>")],
        "begin_suppress_tokens": [ids("<|endoftext|>")],
        "max_length": 64,
        "is_multilingual": is_multilingual,
    }
    if is_multilingual:
        values["lang_to_id"] = {token: ids(token) for token in languages}
        values["task_to_id"] = {task: ids(f"<|{task}|>") for task in ("transcribe", "translate")}
    model.generation_config = GenerationConfig(**values)
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer).save_pretrained(folder)


def tiny_parakeet_encoder(num_mel_bins: int = 80) -> ParakeetEncoderConfig:
    """Two layers of width 32."""
    return ParakeetEncoderConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_kernel_size=5,
        subsampling_conv_channels=8,
        num_mel_bins=num_mel_bins,
        scale_input=False,
        initializer_range=0.3,
    )


def save_tiny_parakeet(folder: Path) -> None:
    """Encoder of two layers, transducer of one; `<blank>` is the last token, as in the published models."""
    vocab, merges = bpe()
    backend = Tokenizer(models.BPE(dict(vocab), list(merges)))
    backend.decoder = decoders.ByteLevel()
    tokenizer = ParakeetTokenizer(tokenizer_object=backend, clean_up_tokenization_spaces=False)
    tokenizer.add_tokens(["<unk>", "<pad>", "<blank>"], special_tokens=True)
    tokenizer.add_special_tokens({"pad_token": "<pad>", "unk_token": "<unk>"})
    config = ParakeetTDTConfig(
        vocab_size=len(tokenizer),
        decoder_hidden_size=32,
        num_decoder_layers=1,
        encoder_config=tiny_parakeet_encoder().to_dict(),
        pad_token_id=tokenizer.convert_tokens_to_ids("<pad>"),
        blank_token_id=tokenizer.convert_tokens_to_ids("<blank>"),
    )
    model = seeded(lambda: ParakeetForTDT(config), seed=3)
    with torch.no_grad():  # a transducer hears nothing most of the time
        model.joint.head.bias[config.blank_token_id] += 3.0
    model.save_pretrained(folder)
    ParakeetProcessor(ParakeetFeatureExtractor(), tokenizer, decoder_type="tdt").save_pretrained(folder)


def seeded(build: Callable[[], Any], seed: int = 0) -> Any:
    """What `build` makes with this seed of torch; the caller's random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


# family -> writes a tiny checkpoint of random weights into a folder
TINY: dict[str, Callable[[Path], None]] = {
    "qwen3_asr": lambda folder: save_native(tiny_model(), tiny_processor(), folder),
    "parakeet_tdt": save_tiny_parakeet,
    "whisper": save_tiny_whisper,
}
