"""Owns what the original layout (qwen-asr, vLLM) looks like beside the native one: names, config.json, processor files; of the
recogniser and of the aligner, which differ in their head.

Input: the published files' contents or native objects. Output: the other layout's. No tensor is reshaped either way.
Sources: the published Qwen/Qwen3-ASR-0.6B files and transformers' `convert_qwen3_asr_to_hf.py`. The two chat templates
beside this file are those of the published models (Apache-2.0).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Qwen2Tokenizer,
    Qwen3ASRConfig,
    Qwen3ASRForConditionalGeneration,
    Qwen3ASRForTokenClassification,
    Qwen3ASRProcessor,
)

from qasr_train.errors import CheckpointError
from qasr_train.files import write_json
from qasr_train.models.lora_files import AdapterKind

# Original prefix -> native prefix; the first that matches counts, so the longer ones come first.
_PREFIXES = {
    "thinker.audio_tower.proj1.": "model.multi_modal_projector.linear_1.",
    "thinker.audio_tower.proj2.": "model.multi_modal_projector.linear_2.",
    "thinker.audio_tower.": "model.audio_tower.",
    "thinker.model.": "model.language_model.",
}
_HEAD = "thinker.lm_head."
# The published files spell the head and layer counts as Whisper does; these do not exist in the native encoder.
_AUDIO_ONLY_ORIGINAL = {"conv_chunksize": 500, "max_source_positions": 1500}
_AUDIO_KEYS = (
    "activation_dropout",
    "activation_function",
    "attention_dropout",
    "d_model",
    "downsample_hidden_size",
    "dropout",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "encoder_layers",
    "initializer_range",
    "n_window",
    "n_window_infer",
    "num_mel_bins",
    "output_dim",
    "scale_embedding",
)
_TEXT_KEYS = (
    "attention_bias",
    "attention_dropout",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "tie_word_embeddings",
    "use_cache",
    "vocab_size",
)
POSITIONS_PER_CHUNK = 13  # encoder positions of one 100-frame chunk; the published file says 1500, as Whisper's did
ALIGNER_TYPE = "qwen3_forced_aligner"
TIMESTAMP_ID = 151705  # the aligner's token, which the recogniser's own tokenizer does not list
# Keys the published preprocessor_config.json has; the native extractor adds min_length and n_window.
_PREPROCESSOR_KEYS = (
    "chunk_length",
    "dither",
    "feature_size",
    "hop_length",
    "n_fft",
    "n_samples",
    "nb_max_frames",
    "padding_side",
    "padding_value",
    "return_attention_mask",
)


TIED = frozenset({"lm_head.weight"})  # the same tensor as the token embeddings; native files leave it out


@dataclass(frozen=True)
class Kind:
    """What differs between recogniser and aligner.

    model_class: of transformers. family: that opens it. what: it is, in a message. head: its native name. tied: tensors that are
    the same as the token embeddings where the configuration ties them.
    """

    model_class: Any
    family: str
    what: str
    head: str
    tied: frozenset[str]

    @property
    def is_aligner(self) -> bool:
        """Whether it names times instead of words."""
        return self.model_class is Qwen3ASRForTokenClassification

    @property
    def adapter(self) -> AdapterKind:
        """What an adapter over it says."""
        return AdapterKind(self.model_class.__module__, self.model_class.__name__)

    def native_name(self, name: str) -> str:
        """See `native_name`."""
        return native_name(name, head=self.head)

    def original_name(self, name: str) -> str:
        """See `original_name`."""
        return original_name(name, head=self.head)


RECOGNISER = Kind(Qwen3ASRForConditionalGeneration, "qwen3_asr", "a Qwen3-ASR, which transcribes", "lm_head", TIED)
ALIGNER = Kind(
    Qwen3ASRForTokenClassification,
    "qwen3_aligner",
    "a Qwen3-ForcedAligner, which gives timestamps and no transcript",
    "score",
    frozenset(),
)


def native_chat_template(*, of_aligner: bool = False) -> str:
    """The chat template of the native layout: with assistant turns and generation marks, or the aligner's, words and slots."""
    return _template("aligner" if of_aligner else "native")


def native_name(original_name: str, *, head: str = "lm_head") -> str:
    """A tensor's name in the native layout; a name that is not of the original layout stays as it is.

    head: what the native model calls what is `thinker.lm_head` here; the aligner's is another.
    """
    for original, native in (_PREFIXES | {_HEAD: f"{head}."}).items():
        if original_name.startswith(original):
            return native + original_name.removeprefix(original)
    return original_name


def original_name(native_name: str, *, head: str = "lm_head") -> str:
    """A tensor's name in the original layout; the inverse of `native_name`."""
    for original, native in (_PREFIXES | {_HEAD: f"{head}."}).items():
        if native_name.startswith(native):
            return original + native_name.removeprefix(native)
    raise ValueError(f"{native_name}: no tensor of a native Qwen3-ASR model")


def is_aligner(original: dict[str, Any]) -> bool:
    """Whether an original config.json is of the forced aligner."""
    thinker = original.get("thinker_config", {})
    return "classify_num" in thinker or thinker.get("model_type") == ALIGNER_TYPE


def native_config(original: dict[str, Any], tokenizer: Qwen2Tokenizer, *, where: Path) -> Qwen3ASRConfig:
    """The native configuration of an original config.json, of the recogniser or of the aligner.

    Args:
        original: the parsed file, with `thinker_config`.
        tokenizer: gives the ids the original file does not state.
        where: the file, for errors.

    Raises:
        CheckpointError: a section or size is missing.
    """
    thinker = original["thinker_config"]
    for name in ("audio_config", "text_config", "audio_token_id"):
        if name not in thinker:
            raise CheckpointError(f"{where}: thinker_config has no {name}; copy config.json from the source again")
    text = thinker["text_config"]
    end_of_text, end_of_turn = _ids(tokenizer, "<|endoftext|>", "<|im_end|>")
    stated_id = original.get("timestamp_token_id")
    return Qwen3ASRConfig(
        audio_config=_chosen(thinker["audio_config"], _AUDIO_KEYS, where)
        | {"max_position_embeddings": POSITIONS_PER_CHUNK},
        text_config=_chosen(text, _TEXT_KEYS, where) | {"rope_parameters": _rope(text, where)},
        audio_token_id=thinker["audio_token_id"],
        timestamp_token_id=stated_id or tokenizer.get_vocab().get("<timestamp>", TIMESTAMP_ID),
        eos_token_id=[end_of_text, end_of_turn],
        pad_token_id=end_of_turn,
        initializer_range=thinker.get("initializer_range", 0.02),
        tie_word_embeddings=text.get("tie_word_embeddings", True),
        **_kind_keys(original, where),
    )


def _kind_keys(original: dict[str, Any], where: Path) -> dict[str, Any]:
    """What tells recogniser and aligner apart in a native configuration."""
    if not is_aligner(original):
        return {"architectures": ["Qwen3ASRForConditionalGeneration"]}
    num_slots = original["thinker_config"].get("classify_num")
    if not isinstance(num_slots, int) or num_slots < 1:
        raise CheckpointError(
            f"{where}: classify_num of thinker_config is {num_slots!r}; copy config.json from the source again"
        )
    languages = original.get("support_languages")
    return {
        "architectures": ["Qwen3ASRForTokenClassification"],
        "num_labels": num_slots,
        **({"support_languages": languages} if languages else {}),
    }


def original_config(
    config: Qwen3ASRConfig,
    tokenizer: Qwen2Tokenizer,
    *,
    dtype: torch.dtype,
    languages: Sequence[str],
    slot_ms: float | None = None,
) -> dict[str, Any]:
    """The original config.json of a native configuration: the keys of the published file that are not library defaults.

    Args:
        slot_ms: of an aligner, how long a slot is; None: of a recogniser.

    Raises:
        CheckpointError: the native model uses a rotary scaling the original layout has no word for.
    """
    audio: Any = config.audio_config
    text: Any = config.text_config
    start, end = _ids(tokenizer, "<|audio_start|>", "<|audio_end|>")
    slots = (
        {} if slot_ms is None else {"timestamp_token_id": config.timestamp_token_id, "timestamp_segment_time": slot_ms}
    )
    return {
        "architectures": ["Qwen3ASRForConditionalGeneration"],
        **slots,
        "model_type": "qwen3_asr",
        "support_languages": list(languages),
        "thinker_config": {
            "model_type": ALIGNER_TYPE if slots else "qwen3_asr",
            **({"classify_num": config.num_labels} if slots else {}),
            "architectures": ["Qwen3ASRForConditionalGeneration"],
            "audio_config": {
                **{key: getattr(audio, key) for key in _AUDIO_KEYS},
                **_AUDIO_ONLY_ORIGINAL,
                "num_hidden_layers": audio.encoder_layers,
                "model_type": "qwen3_asr_audio_encoder",
            },
            "audio_end_token_id": end,
            "audio_start_token_id": start,
            "audio_token_id": config.audio_token_id,
            "dtype": str(dtype).removeprefix("torch."),
            "initializer_range": config.initializer_range,
            "text_config": {
                **{key: getattr(text, key) for key in _TEXT_KEYS},
                "model_type": "qwen3",
                **_original_rope(text),
            },
        },
        "transformers_version": "4.57.6",  # the version qwen-asr pins, whose classes read this file
    }


def _original_rope(text: Any) -> dict[str, Any]:
    """Rotary settings in the original words; all three sections of a head carry the same position in this model."""
    rope = text.rope_parameters
    if rope.get("rope_type", "default") != "default":
        raise CheckpointError(
            f"rope_type={rope['rope_type']}: the original layout knows only the default; export layout=native"
        )
    half = text.head_dim // 2
    side = half * 20 // 64  # the published model splits 64 into 24 + 20 + 20
    scaling = {
        "interleaved": True,
        "mrope_interleaved": True,
        "mrope_section": [half - 2 * side, side, side],
        "rope_type": "default",
        "type": "default",
    }
    return {"rope_scaling": scaling, "rope_theta": rope["rope_theta"]}


def write_original_processor(processor: Qwen3ASRProcessor, folder: Path) -> None:
    """Write vocab.json, merges.txt, tokenizer_config.json, preprocessor_config.json and chat_template.json."""
    tokenizer, extractor = processor.tokenizer, processor.feature_extractor
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab = dict(sorted(bpe["model"]["vocab"].items(), key=lambda item: item[1]))
    _write(folder / "vocab.json", json.dumps(vocab, ensure_ascii=False, separators=(",", ":")))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in bpe["model"]["merges"]]
    _write(folder / "merges.txt", "\n".join(["#version: 0.2", *merges]) + "\n")
    write_json(folder / "tokenizer_config.json", _original_tokenizer_config(tokenizer, bpe["added_tokens"]))
    preprocessor = {key: getattr(extractor, key) for key in _PREPROCESSOR_KEYS}
    # qwen-asr builds Whisper's extractor from this name and computes the same log-mel with it.
    names = {"feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "Qwen3ASRProcessor"}
    write_json(folder / "preprocessor_config.json", dict(sorted((preprocessor | names).items())))
    _write(folder / "chat_template.json", json.dumps({"chat_template": _template("original")}, ensure_ascii=False))


def write_original_generation_config(tokenizer: Qwen2Tokenizer, folder: Path) -> None:
    """Write generation_config.json as published: greedy, stops at either end token, padded with `<|endoftext|>`."""
    end_of_text, end_of_turn = _ids(tokenizer, "<|endoftext|>", "<|im_end|>")
    write_json(
        folder / "generation_config.json",
        {
            "_from_model_config": True,
            "eos_token_id": [end_of_text, end_of_turn],
            "pad_token_id": end_of_text,
            "do_sample": False,
            "temperature": 0.000001,
        },
    )


def _original_tokenizer_config(tokenizer: Qwen2Tokenizer, added_tokens: list[dict[str, Any]]) -> dict[str, Any]:
    """tokenizer_config.json as transformers 4.57 reads it, for its Qwen2 tokenizer."""
    roles = {
        role: token
        for role, token in tokenizer.special_tokens_map.items()
        if isinstance(token, str) and role not in ("bos_token", "unk_token")
    }
    special = [
        token["content"] for token in added_tokens if token["special"] and token["content"] != tokenizer.pad_token
    ]
    multimodal = {role: token for role, token in roles.items() if role not in ("eos_token", "pad_token")}
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in added_tokens
        },
        "additional_special_tokens": tokenizer.extra_special_tokens or special,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "extra_special_tokens": multimodal,
        "model_max_length": tokenizer.model_max_length,
        "processor_class": "Qwen3ASRProcessor",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
        **roles,
    }


def _rope(text: dict[str, Any], where: Path) -> dict[str, Any]:
    """The native rotary settings; the multimodal sections go, since every section carries the same position here."""
    scaling = text.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("default", "mrope") or "rope_theta" not in text:
        raise CheckpointError(
            f"{where}: rotary settings {scaling or 'without rope_theta'} are not Qwen3-ASR's; use its own config.json"
        )
    return {"rope_type": "default", "rope_theta": float(text["rope_theta"])}


def _chosen(section: dict[str, Any], keys: tuple[str, ...], where: Path) -> dict[str, Any]:
    """The named keys of a section. A key the file leaves out stays out unless it is a size, which has no safe default."""
    sizes = {
        "d_model",
        "encoder_layers",
        "encoder_ffn_dim",
        "output_dim",
        "hidden_size",
        "num_hidden_layers",
        "vocab_size",
    }
    missing = [key for key in keys if key in sizes and section.get(key) is None]
    if missing:
        raise CheckpointError(
            f"{where}: no {', '.join(missing)} in thinker_config; copy config.json from the source again"
        )
    return {key: section[key] for key in keys if section.get(key) is not None}


def _ids(tokenizer: Qwen2Tokenizer, *tokens: str) -> list[int]:
    vocab = tokenizer.get_vocab()
    return [vocab[token] for token in tokens]


def _template(layout: str) -> str:
    return Path(__file__).with_name(f"chat_template.{layout}.jinja").read_text(encoding="utf-8")


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
