"""The tiny Qwen3-ASR: stock transformers classes at 2.5 M parameters, with a small tokenizer of its own.

In: a seed.  Out: processor and randomly initialised model, and their directory in the native layout.
"""

import copy
import json
import math
import random
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Qwen2Tokenizer,
    Qwen3ASRConfig,
    Qwen3ASRFeatureExtractor,
    Qwen3ASRForConditionalGeneration,
    Qwen3ASRProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from scripts.demo.corpus import all_words, draw_pseudo_words, draw_sentence
from scripts.demo.medical import medical_terms
from scripts.demo.vocabulary import DIGITS, LANGUAGES

NUM_BPE_ENTRIES = 1024
VOCABULARY_SIZE = 1040  # the BPE entries, eight added tokens, room to a multiple of 16
WIDTH = 160

# The real template's structure: always a system turn, one user turn with the audio, then the assistant's.
CHAT_TEMPLATE = (
    "{%- set ns = namespace(system='', audio='') -%}"
    "{%- for m in messages -%}"
    "{%- if m.role == 'system' -%}"
    "{%- if m.content is string -%}{%- set ns.system = ns.system + m.content -%}"
    "{%- else -%}{%- for c in m.content -%}{%- if c.text is defined -%}"
    "{%- set ns.system = ns.system + c.text -%}{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{%- endif -%}"
    "{%- if m.content is not string -%}{%- for c in m.content -%}"
    "{%- if c.type == 'audio' or ('audio' in c) or ('audio_url' in c) -%}"
    "{%- set ns.audio = ns.audio + '<|audio_start|><|audio_pad|><|audio_end|>' -%}"
    "{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{%- endfor -%}"
    "{{- '<|im_start|>system\n' + ns.system + '<|im_end|>\n' -}}"
    "{{- '<|im_start|>user\n' + ns.audio + '<|im_end|>\n' -}}"
    "{%- for m in messages -%}{%- if m.role == 'assistant' -%}"
    "{%- set answer = namespace(text='') -%}"
    "{%- if m.content is string -%}{%- set answer.text = m.content -%}"
    "{%- else -%}{%- for c in m.content -%}{%- if c.type == 'text' and (c.text is defined) -%}"
    "{%- set answer.text = answer.text + c.text -%}{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{{- '<|im_start|>assistant\n' -}}"
    "{% generation %}{{- answer.text + '<|im_end|>\n' -}}{% endgeneration %}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def build_processor(seed: int) -> Qwen3ASRProcessor:
    """Tokenizer trained on the synthetic corpus, the stock feature extractor, and the chat template."""
    vocabulary, merges = _train_bpe(_bpe_corpus(random.Random(seed)))
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={
            "im_start_token": "<|im_start|>",
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
            "audio_token": "<|audio_pad|>",
        },
        model_max_length=4096,
    )
    # Not special in the real tokenizer either: decoding that skips special tokens must keep the language marker.
    tokenizer.add_tokens(["<asr_text>", "<timestamp>"], special_tokens=False)
    assert len(tokenizer) <= VOCABULARY_SIZE, len(tokenizer)
    return Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(), tokenizer, chat_template=CHAT_TEMPLATE)


def build_model(processor: Qwen3ASRProcessor, seed: int) -> Qwen3ASRForConditionalGeneration:
    """A randomly initialised model that fits `processor`, in float32."""
    tokenizer = processor.tokenizer
    end_of_turn, end_of_text = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    spread = 0.05  # about 1 / sqrt(WIDTH); must be given three times, the sub-configurations do not inherit it
    config = Qwen3ASRConfig(
        audio_config={
            "d_model": WIDTH,
            "encoder_layers": 5,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 512,
            "output_dim": WIDTH,
            "downsample_hidden_size": 16,
            "n_window": 50,
            "n_window_infer": 800,
            "num_mel_bins": 128,
            "initializer_range": spread,
        },
        text_config={
            "vocab_size": VOCABULARY_SIZE,
            "hidden_size": WIDTH,
            "intermediate_size": 448,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 40,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
            "tie_word_embeddings": True,
            "initializer_range": spread,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
        },
        audio_token_id=processor.audio_token_id,
        timestamp_token_id=tokenizer.convert_tokens_to_ids("<timestamp>"),
        pad_token_id=end_of_turn,  # as in the real native configuration
        eos_token_id=[end_of_text, end_of_turn],
        initializer_range=spread,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen3ASRForConditionalGeneration(config)
    _scale_front_end(model)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=[end_of_text, end_of_turn], pad_token_id=end_of_text
    )
    return model


def widen_heads(model: Qwen3ASRForConditionalGeneration, head_dim: int) -> Qwen3ASRForConditionalGeneration:
    """The same function with wider attention heads in the decoder, filled up with zeros; float32.

    vLLM's attention on a CPU knows heads of 32, 64, 80, ... and not of 40.  What keeps the function: pair i of a head turns
    by theta^(-2i / head_dim), so theta is raised to the ratio of the widths; the norms divide by the mean over the wider
    head, and the scores by the root of its width, which the key norm's weight makes good.
    """
    config = copy.deepcopy(model.config)
    text = config.text_config
    text.dtype = config.audio_config.dtype = None  # of the whole alone, as published
    old, text.head_dim = text.head_dim, head_dim
    rope = text.rope_parameters
    text.rope_parameters = {**rope, "rope_theta": rope["rope_theta"] ** (head_dim / old)}
    halves = torch.arange(old // 2)
    places = torch.cat([halves, head_dim // 2 + halves])  # dimension i turns with dimension i + half

    def fill_up(rows: torch.Tensor) -> torch.Tensor:  # [heads * old, ...] -> [heads * head_dim, ...]
        heads = rows.unflatten(0, (-1, old))
        wide = heads.new_zeros(heads.shape[0], head_dim, *heads.shape[2:])
        wide[:, places] = heads
        return wide.flatten(0, 1)

    state = model.state_dict()
    for name in state:
        if ".language_model.layers." not in name:
            continue
        if any(part in name for part in (".q_proj.", ".k_proj.", ".v_proj.", ".q_norm.", ".k_norm.")):
            state[name] = fill_up(state[name].float()) * (math.sqrt(old / head_dim) if ".k_norm." in name else 1)
        elif ".o_proj." in name:
            state[name] = fill_up(state[name].float().T).T.contiguous()
    wide = Qwen3ASRForConditionalGeneration(config)
    wide.load_state_dict(state)
    wide.generation_config = model.generation_config
    return wide


def _scale_front_end(model: Qwen3ASRForConditionalGeneration) -> None:
    """Start the convolutions at a gain of about one: at the default spread three of them leave 1/300 of the signal, and the
    position embedding added behind them drowns it for thousands of steps."""
    encoder = model.model.audio_tower
    for convolution in (encoder.conv2d1, encoder.conv2d2, encoder.conv2d3):
        torch.nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    torch.nn.init.normal_(encoder.conv_out.weight, std=1.5 * encoder.conv_out.in_features**-0.5)


def save_checkpoint(model: Qwen3ASRForConditionalGeneration, processor: Qwen3ASRProcessor, directory: Path) -> None:
    """Writes a complete native checkpoint with weights rounded to bfloat16; `model` itself stays as it is."""
    rounded = Qwen3ASRForConditionalGeneration(model.config)
    rounded.load_state_dict(model.state_dict())
    rounded.generation_config = model.generation_config
    rounded.to(torch.bfloat16).save_pretrained(directory)
    processor.save_pretrained(directory)


def _bpe_corpus(rng: random.Random) -> list[str]:
    """Lines whose pieces should become short: words, sentences, the prompt's own words, medical words (once each)."""
    lines = ["system", "user", "assistant", "language None"] * 50
    for language in LANGUAGES:
        lines += [f"language {language}"] * 50
        lines += [f"{digit} {digit}" for digit in DIGITS[language]] * 30  # one token each, wherever they stand
        lines += [f"{word} {word}" for word in all_words(language)] * 2  # first word of a text, and after a space
        lines += [draw_sentence(language, rng, held_out=False) for _ in range(1000)]
        lines += [draw_pseudo_words(language, 3, rng) for _ in range(400)]
    return lines + [f"{term} {term}" for term in medical_terms()]


def _train_bpe(lines: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-level BPE, so that any Unicode text can be encoded; returns vocabulary and merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_BPE_ENTRIES, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    return trained["vocab"], [tuple(pair) for pair in trained["merges"]]
