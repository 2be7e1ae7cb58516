"""Owns the GGUF form of Qwen3-ASR, which CrispASR computes: written with the package gguf, opened with CrispASR to transcribe.

Input: a directory of the native layout. Output: a directory with model.gguf; a `Recogniser` over it. Names and keys are
those that CrispASR's loader asks for (0.8.45; github.com/CrispStrobe/CrispASR, models/convert-qwen3-asr-to-gguf.py, MIT).
Needs the extra `crispasr`.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen3ASRProcessor

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Batch
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models.base import UNKNOWN_ORIGIN, Collator, Hypothesis
from qasr_train.models.locations import one_line
from qasr_train.models.qwen3_asr.collator import ASR_TEXT, Qwen3ASRCollator
from qasr_train.models.qwen3_asr.layouts import load_checkpoint
from qasr_train.models.qwen3_asr.model import forced_prefixes
from qasr_train.models.settings import Capability, ExportDtype
from qasr_train.text.languages import iso_code

FILE = "model.gguf"
_ARCHITECTURE = "qwen3asr"
# Native name -> GGUF's, the first that matches; what follows the match is looked up in the tables below.
_PLACES = (
    (re.compile(r"model\.audio_tower\.conv2d(\d)\."), r"audio.conv.\1."),
    (re.compile(r"model\.audio_tower\.layers\.(\d+)\."), r"audio.blk.\1."),
    (re.compile(r"model\.audio_tower\."), "audio."),
    (re.compile(r"model\.multi_modal_projector\.linear_(\d)\."), r"audio.proj\1."),
    (re.compile(r"model\.language_model\.layers\.(\d+)\."), r"blk.\1."),
    (re.compile(r"model\.language_model\.embed_tokens\."), "token_embd."),
    (re.compile(r"model\.language_model\.norm\."), "output_norm."),
    (re.compile(r"lm_head\."), "output."),
)
_ENCODER_LAYER = {
    "self_attn_layer_norm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "final_layer_norm": "ffn_norm",
    "fc1": "ffn_up",
    "fc2": "ffn_down",
}
_DECODER_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_BLOCK_WEIGHTS = 32  # that share a scale in Q8_0


def require_converter() -> None:
    """Refuse to convert where the libraries are not installed (ConfigError says how they are)."""
    _libraries()


def gguf_name(native_name: str) -> str:
    """What CrispASR calls a tensor of the native layout."""
    for place, wanted in _PLACES:
        found = place.match(native_name)
        if found is None:
            continue
        rest = native_name[found.end() :]
        table = {"audio.blk": _ENCODER_LAYER, "blk": _DECODER_LAYER}.get(wanted.partition(r".\1")[0], {})
        layer, _, kind = rest.rpartition(".")
        return found.expand(wanted) + (f"{table.get(layer, layer)}.{kind}" if layer else kind)
    raise ValueError(f"{native_name}: no tensor of a native Qwen3-ASR model")


def convert(native: Path, out: Path, dtype: ExportDtype) -> None:
    """Write what CrispASR loads.

    Args:
        native: a Qwen3-ASR of the native layout. out: not there yet.
        dtype: float16, or int8: Q8_0, whole numbers with a scale for every 32, in the linear weights of all layers. Embeddings,
            head and convolutions stay float16; norms and biases float32.

    Raises:
        ConfigError: gguf or crispasr is not installed. CheckpointError: as `load_checkpoint`.
    """
    gguf, _ = _libraries()
    model, processor = load_checkpoint(native)
    out.mkdir()
    writer = gguf.GGUFWriter(str(out / FILE), arch=_ARCHITECTURE, use_temp_file=True)
    config: Any = model.config
    for key, value in _settings(config, processor).items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{_ARCHITECTURE}.{key}", value)
    tokens, merges = _tokens(processor, config.text_config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    for name, values in _tensors(model.state_dict(), processor):
        kind = _kind(name, values, dtype)
        if kind == "Q8_0":
            quantized = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, values.astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def open_converted(folder: Path, collator: Collator, dtype: ExportDtype, device: torch.device) -> "ConvertedQwen3ASR":
    """Open a converted model to transcribe.

    Args:
        folder: as `convert` wrote it. collator: of the Qwen3-ASR it was made of. dtype: it was written in.
        device: nothing that is asked of CrispASR, which computes where its own build does.

    Raises:
        ConfigError, CheckpointError: as `convert`, or the folder cannot be opened.
    """
    _, crispasr = _libraries()
    assert isinstance(collator, Qwen3ASRCollator)
    try:
        session = crispasr.Session(str(folder / FILE), n_threads=torch.get_num_threads())
    except (RuntimeError, OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: CrispASR cannot open it ({one_line(error)})") from error
    return ConvertedQwen3ASR(session, folder, collator)


class ConvertedQwen3ASR(torch.nn.Module):
    """A converted Qwen3-ASR as a `Recogniser`: greedy, the language as a hint, no contexts."""

    family = "qwen3_asr"
    origin = UNKNOWN_ORIGIN
    capabilities = frozenset({Capability.LANGUAGE})

    def __init__(self, session: Any, folder: Path, collator: Qwen3ASRCollator) -> None:
        """session: CrispASR's. folder: it lies in. collator: of the model it was made of."""
        super().__init__()
        self.session, self.folder, self.collator = session, folder, collator
        collator.makes_prompt_features = False  # CrispASR makes its own, of samples

    @property
    def module(self) -> torch.nn.Module:
        """Its weights are CrispASR's, so none of torch's."""
        return self

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Transcripts in row order, one after the other; CrispASR tells no tokens, so words are counted in their place."""
        assert batch.waveforms is not None and batch.num_samples is not None
        self.session.set_max_new_tokens(max_new_tokens)
        heard = []
        prefixes = forced_prefixes(batch, self.collator)
        for id_, row, num_samples, prefix in zip(
            batch.ids, batch.waveforms, batch.num_samples.tolist(), prefixes, strict=True
        ):
            language = prefix.removeprefix("language ").partition(ASR_TEXT)[0] or None
            samples = np.ascontiguousarray(row[:num_samples].numpy())
            segments = self.session.transcribe(
                samples, sample_rate=SAMPLE_RATE_HZ, language=iso_code(language) if language else None
            )
            text = " ".join(segment.text for segment in segments).strip()
            heard.append(Hypothesis(id_, text, language, text, len(text.split()), False))
        return heard

    def save(self, folder: Path) -> None:
        """Copy the directory; raises OSError."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)


def _settings(config: Any, processor: Qwen3ASRProcessor) -> dict[str, int | float]:
    """The numbers CrispASR reads before the tensors."""
    audio, text, extractor = config.audio_config, config.text_config, processor.feature_extractor
    vocab = processor.tokenizer.get_vocab()
    return {
        "sample_rate": SAMPLE_RATE_HZ,
        "n_mels": audio.num_mel_bins,
        "n_fft": extractor.n_fft,
        "win_length": extractor.n_fft,
        "hop_length": extractor.hop_length,
        "audio.n_layers": audio.encoder_layers,
        "audio.d_model": audio.d_model,
        "audio.n_heads": audio.encoder_attention_heads,
        "audio.head_dim": audio.d_model // audio.encoder_attention_heads,
        "audio.ff_dim": audio.encoder_ffn_dim,
        "audio.conv_channels": audio.downsample_hidden_size,
        "audio.proj_dim": audio.output_dim,
        "audio.max_source_pos": 1500,  # as the published file says; only the first 13 of a chunk are used
        "llm.n_layers": text.num_hidden_layers,
        "llm.d_model": text.hidden_size,
        "llm.n_heads": text.num_attention_heads,
        "llm.n_kv_heads": text.num_key_value_heads,
        "llm.head_dim": text.head_dim,
        "llm.ff_dim": text.intermediate_size,
        "llm.rope_theta": float(text.rope_parameters["rope_theta"]),
        "llm.rms_norm_eps": float(text.rms_norm_eps),
        "llm.vocab_size": text.vocab_size,
        "llm.max_pos": text.max_position_embeddings,
        "audio_start_token_id": vocab["<|audio_start|>"],
        "audio_end_token_id": vocab["<|audio_end|>"],
        "audio_pad_token_id": vocab["<|audio_pad|>"],
        "eos_token_id": vocab["<|im_end|>"],
        "pad_token_id": vocab["<|endoftext|>"],
    }


def _tokens(processor: Qwen3ASRProcessor, vocab_size: int) -> tuple[list[str], list[str]]:
    """Every id's token, special ones and those the tokenizer lacks included; the merges."""
    by_id = {id_: token for token, id_ in processor.tokenizer.get_vocab().items()}
    tokens = [by_id.get(id_, f"[PAD{id_}]") for id_ in range(vocab_size)]
    merges = json.loads(processor.tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return tokens, [pair if isinstance(pair, str) else " ".join(pair) for pair in merges]


def _tensors(state: dict[str, torch.Tensor], processor: Qwen3ASRProcessor) -> Iterator[tuple[str, np.ndarray]]:
    """float32, by CrispASR's names; the filters and the window of the log-mel first."""
    extractor = processor.feature_extractor
    yield "audio.mel_filters", np.ascontiguousarray(extractor.mel_filters, dtype=np.float32)
    yield "audio.mel_window", torch.hann_window(extractor.n_fft).numpy()
    for name, tensor in state.items():  # the head too, where it is tied
        yield gguf_name(name), np.ascontiguousarray(tensor.float().numpy())


def _kind(name: str, values: np.ndarray, dtype: ExportDtype) -> str:
    """The number format of a tensor: "float32", "float16" or "Q8_0"."""
    if values.ndim <= 1 or name.endswith(".bias") or "norm" in name or "mel_" in name:
        return "float32"
    is_layer = name.startswith(("blk.", "audio.blk."))
    if dtype is ExportDtype.int8 and is_layer and values.shape[-1] % _BLOCK_WEIGHTS == 0:
        return "Q8_0"
    return "float16"


def _libraries() -> tuple[Any, Any]:
    """(gguf, crispasr)."""
    try:
        import crispasr
        import gguf
        import gguf.quants
    except ImportError as error:
        raise ConfigError(
            f"layout=gguf needs the packages gguf, which writes it, and crispasr, which computes it ({error}): pip install "
            "'qasr_train[crispasr]'"
        ) from error
    return gguf, crispasr
