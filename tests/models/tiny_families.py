"""Owns a tiny random-weight checkpoint of every family, written by transformers' own classes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models
from torch import nn
from transformers import (
    GenerationConfig,
    ParakeetEncoder,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForTDT,
    ParakeetProcessor,
    ParakeetTDTConfig,
    ParakeetTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from qasr_train.models.pretrained import save_whole
from qasr_train.models.qwen3_asr.layouts import save_native
from tests.helpers_model import bpe, tiny_aligner, tiny_aligner_processor, tiny_model, tiny_processor

# Modules of a layer of NeMo's ConformerEncoder, with what transformers calls each.
NEMO_LAYER_NAMES = {
    **{f"norm_{part}": f"norm_{part}" for part in ("feed_forward1", "self_att", "conv", "feed_forward2", "out")},
    **{f"feed_forward{i}.linear{j}": f"feed_forward{i}.linear{j}" for i in (1, 2) for j in (1, 2)},
    **{f"conv.{part}": f"conv.{part}" for part in ("pointwise_conv1", "depthwise_conv", "pointwise_conv2")},
    "conv.batch_norm": "conv.norm",
    "self_attn.linear_q": "self_attn.q_proj",
    "self_attn.linear_k": "self_attn.k_proj",
    "self_attn.linear_v": "self_attn.v_proj",
    "self_attn.linear_out": "self_attn.o_proj",
    "self_attn.linear_pos": "self_attn.relative_k_proj",
    "self_attn.pos_bias_u": "self_attn.bias_u",
    "self_attn.pos_bias_v": "self_attn.bias_v",
}
NEMO_SALM_CONFIG = {
    "pretrained_llm": "Qwen/Qwen3-1.7B",
    "audio_locator_tag": "<|audioplaceholder|>",
    "prompt_format": "qwen",
    "lora": {
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.01,
        "target_modules": ["q_proj", "v_proj"],
    },
    "perception": {
        "output_dim": 48,
        "encoder": {
            "feat_in": 128,
            "n_layers": 2,
            "d_model": 32,
            "n_heads": 4,
            "ff_expansion_factor": 2,
            "conv_kernel_size": 5,
            "subsampling_factor": 8,
            "subsampling_conv_channels": 8,
            "xscaling": False,
        },
    },
}
WHISPER_LANGUAGES = ("en", "de", "tl", "gl")


def save_tiny_whisper(folder: Path, *, is_multilingual: bool = True) -> None:
    """`tiny_whisper` as a checkpoint."""
    model, processor = tiny_whisper(is_multilingual=is_multilingual)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def tiny_whisper(*, is_multilingual: bool = True) -> tuple[WhisperForConditionalGeneration, WhisperProcessor]:
    """Two layers of width 32; the vocabulary ends in the special tokens, in Whisper's order."""
    vocab, merges = bpe()
    tokenizer = WhisperTokenizer(vocab=dict(vocab), merges=list(merges))
    languages = [f"<|{code}|>" for code in WHISPER_LANGUAGES] if is_multilingual else []
    tokenizer.add_tokens(
        [
            "<|endoftext|>",
            "<|startoftranscript|>",
            *languages,
            "<|translate|>",
            "<|transcribe|>",
            "<|startofprev|>",
            "<|nospeech|>",
            "<|notimestamps|>",
        ],
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
    return model, WhisperProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer)


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


def skip_without_parakeet_features() -> None:
    """Skip where transformers computes the features of Parakeet and Canary-Qwen with librosa, which nobody installed."""
    try:
        ParakeetFeatureExtractor()
    except ImportError:
        pytest.skip(
            f"transformers {transformers.__version__} needs librosa for the features of Parakeet, 5.23 does not"
        )


def save_tiny_parakeet(folder: Path) -> None:
    """Encoder of two layers, transducer of one; `<blank>` is the last token, as in the published models."""
    skip_without_parakeet_features()
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
        model.joint.head.bias[config.vocab_size :] += 9.0  # durations win over tokens where they are taken for such
    model.save_pretrained(folder)
    ParakeetProcessor(ParakeetFeatureExtractor(), tokenizer, decoder_type="tdt").save_pretrained(folder)


def save_tiny_canary_qwen(folder: Path) -> None:
    """As NeMo publishes it, under NeMo's names; the language model's sizes and tokenizer in llm/."""
    skip_without_parakeet_features()
    vocab, merges = bpe()
    tokenizer = Qwen2Tokenizer(vocab=dict(vocab), merges=list(merges), eos_token="<|im_end|>", unk_token=None)
    tokenizer.add_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], special_tokens=True)
    tokenizer.save_pretrained(folder / "llm")
    llm = Qwen3Config(
        vocab_size=384,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    llm.save_pretrained(folder / "llm")
    (folder / "config.json").write_text(json.dumps(NEMO_SALM_CONFIG), encoding="utf-8")
    tensors = seeded(
        lambda: {
            **nemo_encoder_state(ParakeetEncoder(tiny_parakeet_encoder(num_mel_bins=128)), "perception.encoder."),
            **{f"perception.proj.{name}": t for name, t in nn.Linear(32, 48).state_dict().items()},
            **salm_llm_state(Qwen3ForCausalLM(llm), rank=4),
        }
    )
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def nemo_encoder_state(encoder: ParakeetEncoder, prefix: str) -> dict[str, torch.Tensor]:
    """An encoder's tensors under the names NeMo's ConformerEncoder gives them, `prefix` before each."""
    names = {f"subsampling.layers.{i}": f"pre_encode.conv.{i}" for i in (0, 2, 3, 5, 6)}
    names["subsampling.linear"] = "pre_encode.out"
    for layer in range(encoder.config.num_hidden_layers):
        names |= {f"layers.{layer}.{ours}": f"layers.{layer}.{theirs}" for theirs, ours in NEMO_LAYER_NAMES.items()}
    state = {}
    for name, tensor in encoder.state_dict().items():
        module, _, leaf = name.rpartition(".")
        state[prefix + (names[name] if name in names else f"{names[module]}.{leaf}")] = tensor
    return state


def salm_llm_state(llm: Qwen3ForCausalLM, *, rank: int) -> dict[str, torch.Tensor]:
    """A language model with LoRA on q_proj and v_proj as a SALM stores it: embeddings apart, the tied head left out."""
    state = {}
    for name, tensor in llm.state_dict().items():
        if name == "model.embed_tokens.weight":
            state["embed_tokens.weight"] = tensor
            continue
        module, _, leaf = name.rpartition(".")
        whole = f"llm.base_model.model.{module}"
        if module.endswith(("q_proj", "v_proj")):
            state[f"{whole}.base_layer.{leaf}"] = tensor
            state[f"{whole}.lora_A.default.weight"] = torch.randn(rank, tensor.shape[1], device=tensor.device) * 0.1
            state[f"{whole}.lora_B.default.weight"] = torch.randn(tensor.shape[0], rank, device=tensor.device) * 0.1
        elif name != "lm_head.weight":
            state[f"{whole}.{leaf}"] = tensor
    return state


def save_tiny_wav2vec2(folder: Path) -> None:
    """Two layers of width 32 over convolutions like the published ones; letters, `|` between words, `<pad>` the blank."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"]
    file = folder / "vocab.json"
    file.write_text(json.dumps({token: id_ for id_, token in enumerate(tokens)}), encoding="utf-8")
    config = Wav2Vec2Config(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=(16, 16),
        conv_kernel=(10, 8),
        conv_stride=(20, 16),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        initializer_range=0.3,
        pad_token_id=0,
    )
    model = seeded(lambda: Wav2Vec2ForCTC(config))
    with torch.no_grad():  # no trained model says `<s>`, `</s>` or `<unk>`
        model.lm_head.bias[1:4] = -100.0
    model.save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=False)
    Wav2Vec2Processor(extractor, Wav2Vec2CTCTokenizer(str(file))).save_pretrained(folder)


def seeded(build: Callable[[], Any], seed: int = 0) -> Any:
    """What `build` makes with this seed of torch; the caller's random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


# family -> writes a tiny checkpoint of random weights into a folder
TINY: dict[str, Callable[[Path], None]] = {
    "qwen3_asr": lambda folder: save_native(tiny_model(), tiny_processor(), folder),
    "qwen3_aligner": lambda folder: save_whole(tiny_aligner(), tiny_aligner_processor(), folder),
    "canary_qwen": save_tiny_canary_qwen,
    "parakeet_tdt": save_tiny_parakeet,
    "transformers_auto": save_tiny_wav2vec2,
    "whisper": save_tiny_whisper,
}
