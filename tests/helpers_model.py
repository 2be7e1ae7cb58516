"""Owns a random-weight Qwen3-ASR of two layers and its processor, for tests that need the real classes and no knowledge.

The tokenizer is a byte-level BPE with the model's real special tokens; `<asr_text>` is not special, as in the real one.
"""

import json
from copy import deepcopy
from functools import cache

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Qwen2Tokenizer,
    Qwen3ASRConfig,
    Qwen3ASRFeatureExtractor,
    Qwen3ASRForConditionalGeneration,
    Qwen3ASRForTokenClassification,
    Qwen3ASRProcessor,
)

from qasr_train.models.qwen3_asr.original import native_chat_template

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"]
PLAIN_TOKENS = ["<asr_text>", "<timestamp>"]
CORPUS = ["system user assistant language English French None", "the quick brown fox takes two small pills a day"] * 8
VOCAB_SIZE = 384


@cache
def bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a small byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=320, initial_alphabet=sorted(alphabet), show_progress=False)
    )
    vocab = tokenizer.get_vocab()
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return dict(sorted(vocab.items(), key=lambda item: item[1])), [tuple(pair) for pair in merges]


def tiny_processor() -> Qwen3ASRProcessor:
    """A processor with the real feature extractor and chat template and a tokenizer of some 330 entries."""
    vocab, merges = bpe()
    tokenizer = Qwen2Tokenizer(
        vocab=dict(vocab),
        merges=list(merges),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        model_max_length=4096,
        extra_special_tokens={
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
            "audio_token": "<|audio_pad|>",
        },
    )
    tokenizer.add_tokens(SPECIAL_TOKENS, special_tokens=True)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in PLAIN_TOKENS])
    return Qwen3ASRProcessor(
        feature_extractor=Qwen3ASRFeatureExtractor(), tokenizer=tokenizer, chat_template=native_chat_template()
    )


def tiny_model(seed: int = 0) -> Qwen3ASRForConditionalGeneration:
    """The real classes at width 32 with random float32 weights, the same for the same seed; ids fit `tiny_processor`."""
    return deepcopy(_tiny_model(seed))  # a quarter of the time that drawing the weights takes


@cache
def _tiny_model(seed: int) -> Qwen3ASRForConditionalGeneration:
    ids = tiny_processor().tokenizer.convert_tokens_to_ids
    config = Qwen3ASRConfig(
        audio_config={
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "output_dim": 48,
            "downsample_hidden_size": 8,
            "initializer_range": 0.1,
        },
        text_config={
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "vocab_size": VOCAB_SIZE,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
            "initializer_range": 0.1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
        },
        audio_token_id=ids("<|audio_pad|>"),
        timestamp_token_id=ids("<timestamp>"),
        eos_token_id=[ids("<|endoftext|>"), ids("<|im_end|>")],
        pad_token_id=ids("<|im_end|>"),
        initializer_range=0.1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3ASRForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id, do_sample=False, max_new_tokens=512
    )
    return model.eval()


def tiny_aligner(seed: int = 0, num_slots: int = 60) -> Qwen3ASRForTokenClassification:
    """The same sizes with a head of slots; ids fit `tiny_aligner_processor`."""
    config = Qwen3ASRConfig.from_dict(_tiny_model(0).config.to_dict())
    config.num_labels = num_slots
    config.tie_word_embeddings = False
    config.support_languages = ["English", "French"]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen3ASRForTokenClassification(config).eval()


def tiny_aligner_processor() -> Qwen3ASRProcessor:
    """That of `tiny_processor` with the aligner's chat template."""
    processor = tiny_processor()
    processor.chat_template = native_chat_template(of_aligner=True)
    return processor
