"""Owns the processor of a checkpoint: tokenizer, feature extractor, chat template, and whether they fit the model.

Input: a checkpoint folder and its configuration. Output: a Qwen3ASRProcessor, or a CheckpointError naming what is missing.
"""

from pathlib import Path
from typing import Any

from transformers import Qwen2Tokenizer, Qwen3ASRConfig, Qwen3ASRFeatureExtractor, Qwen3ASRProcessor

from qasr_train.errors import CheckpointError
from qasr_train.models.locations import one_line, read_json, require_files
from qasr_train.models.pretrained import (
    require_end_tokens,
    require_ids_fit,
    require_stated_rate,
)
from qasr_train.models.qwen3_asr.original import native_chat_template

SPECIAL_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>")


def load_tokenizer(folder: Path, *, is_original: bool) -> Qwen2Tokenizer:
    """The tokenizer of a folder, from tokenizer.json or from the vocab.json and merges.txt of the original layout.

    Raises:
        CheckpointError: a file that text or audio is prepared with is missing or damaged.
    """
    needed = ["tokenizer_config.json"]
    if not (folder / "tokenizer.json").is_file():
        needed += ["vocab.json", "merges.txt"] if is_original else ["tokenizer.json"]
    if not (folder / "preprocessor_config.json").is_file():
        needed.append("preprocessor_config.json" if is_original else "processor_config.json")
    require_files(folder, needed)
    try:
        tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    except Exception as error:  # the tokenizers library raises bare Exception on a damaged file
        raise CheckpointError(
            f"{folder}: the tokenizer cannot be opened ({one_line(error)}); copy its files again"
        ) from error
    vocab = tokenizer.get_vocab()
    unknown = [token for token in (*SPECIAL_TOKENS, "<asr_text>") if token not in vocab]
    if unknown:
        raise CheckpointError(
            f"{folder}: the tokenizer does not know {', '.join(unknown)}; use the tokenizer of this model"
        )
    return tokenizer


def build_processor(
    folder: Path, tokenizer: Qwen2Tokenizer, config: Qwen3ASRConfig, *, is_original: bool, of_aligner: bool = False
) -> Qwen3ASRProcessor:
    """A processor with Qwen3-ASR's extractor: the one AutoProcessor picks for an original directory is Whisper's.

    of_aligner: with its chat template, and how long its slots are.

    Raises:
        CheckpointError: processor_config.json or preprocessor_config.json is damaged.
    """
    require_stated_rate(folder)
    audio: Any = config.audio_config
    if is_original:
        stated = read_json(folder / "preprocessor_config.json")  # qwen-asr goes by it
        extractor = Qwen3ASRFeatureExtractor(
            feature_size=stated.get("feature_size", audio.num_mel_bins),
            n_window=audio.n_window,
        )
        processor = Qwen3ASRProcessor(extractor, tokenizer, chat_template=native_chat_template(of_aligner=of_aligner))
        if of_aligner:
            processor.timestamp_segment_time = read_json(folder / "config.json").get("timestamp_segment_time", 80)
        return processor
    try:
        processor = Qwen3ASRProcessor.from_pretrained(folder)
    except Exception as error:  # as for the tokenizer
        raise CheckpointError(
            f"{folder}: the processor cannot be opened ({one_line(error)}); copy its files again"
        ) from error
    if processor.chat_template is None:
        processor.chat_template = native_chat_template(of_aligner=of_aligner)
    return processor


def require_agreement(folder: Path, config: Qwen3ASRConfig, processor: Qwen3ASRProcessor) -> None:
    """Refuse a processor that belongs to another model: it would give other ids or features than the weights know.

    Raises:
        CheckpointError: names what differs, and both values.
    """
    tokenizer, extractor = processor.tokenizer, processor.feature_extractor
    audio: Any = config.audio_config
    text: Any = config.text_config
    vocab = tokenizer.get_vocab()
    pairs = [
        ("feature extractor", type(extractor).__name__, Qwen3ASRFeatureExtractor.__name__),
        ("feature_size", extractor.feature_size, audio.num_mel_bins),
        ("n_window", getattr(extractor, "n_window", audio.n_window), audio.n_window),
        ("id of <|audio_pad|>", vocab["<|audio_pad|>"], config.audio_token_id),
    ]
    for what, found, wanted in pairs:
        if found != wanted:
            raise CheckpointError(
                f"{folder}: {what} is {found} in the processor files and {wanted} in config.json; they are of two models, "
                "copy all files from one"
            )
    require_end_tokens(folder / "config.json", {"eos": config.eos_token_id, "pad": config.pad_token_id}, tokenizer)
    require_ids_fit(folder, tokenizer, text.vocab_size)
