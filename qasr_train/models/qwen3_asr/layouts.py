"""Owns opening and saving Qwen3-ASR checkpoints in each layout they come in: native, original, LoRA adapter over either.

The recogniser's and the aligner's, which differ in their head; `Kind` says which is meant.

Input: a directory or hub id. Output: the transformers model and processor, or a CheckpointError that names what is missing.
Weights are loaded strictly: transformers alone opens an original directory as a randomly initialised model of default size.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import (
    GenerationConfig,
    Qwen3ASRConfig,
    Qwen3ASRForConditionalGeneration,
    Qwen3ASRProcessor,
)

from qasr_train.errors import CheckpointError
from qasr_train.files import write_json
from qasr_train.models.base import ModelOrigin
from qasr_train.models.digest import weights_digest
from qasr_train.models.locations import (
    no_progress_bar,
    one_line,
    origin_of,
    read_config,
    read_json,
    refuse_quantized,
    resolve_checkpoint,
)
from qasr_train.models.lora_files import (
    ADAPTER_CONFIG,
    attach_adapter,
    find_base,
    merge_adapter,
    require_base,
)
from qasr_train.models.pretrained import require_end_tokens, require_model_type, save_whole
from qasr_train.models.qwen3_asr import original
from qasr_train.models.qwen3_asr.original import ALIGNER, RECOGNISER, TIED, Kind
from qasr_train.models.qwen3_asr.processor import (
    build_processor,
    load_tokenizer,
    require_agreement,
)
from qasr_train.models.safetensors_files import (
    ADAPTER_FILE,
    StoredTensor,
    read_tensors,
    require_exactly,
    require_finite,
    stored_tensors,
    write_weights,
)
from qasr_train.text.languages import LANGUAGES

# Sizes of which a model has at least one.
_SIZES = {
    "audio_config": "d_model encoder_attention_heads encoder_ffn_dim encoder_layers n_window num_mel_bins output_dim "
    "downsample_hidden_size",
    "text_config": "hidden_size head_dim intermediate_size num_attention_heads num_hidden_layers num_key_value_heads "
    "vocab_size max_position_embeddings",
}
ADAPTER_KIND = RECOGNISER.adapter
MAX_NEW_TOKENS = 512  # the limit of the published native generation_config.json


class Layout(Enum):
    """How a checkpoint directory is laid out."""

    NATIVE = "native"  # transformers' own: config.json with audio_config and text_config
    ORIGINAL = "original"  # as published for qwen-asr and vLLM: config.json with thinker_config
    ADAPTER = "adapter"  # PEFT: adapter_config.json, weights that need a base model


def detect_layout(folder: Path) -> Layout:
    """Which layout a directory has, from its files alone.

    Raises:
        CheckpointError: it is no Qwen3-ASR checkpoint; names the folder and what it is or lacks.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        return Layout.ADAPTER
    require_model_type(folder, "qwen3_asr", {"qwen3_asr"})
    return Layout.ORIGINAL if "thinker_config" in read_config(folder) else Layout.NATIVE


def open_model(
    path: str, revision: str | None, base: str | None, *, device: torch.device | str, dtype: torch.dtype, kind: Kind
) -> tuple[Any, Qwen3ASRProcessor, ModelOrigin]:
    """A checkpoint of any layout on a device, in evaluation mode; path, revision, base: as a model's settings have them.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or not there.
    """
    folder = resolve_checkpoint(path, revision)
    if detect_layout(folder) is Layout.ADAPTER:
        module, processor = load_checkpoint_with_adapter(folder, base=base, dtype=dtype, kind=kind)
    elif base is not None:
        raise CheckpointError(f"model.base={base}: only an adapter has a base, and {path} is a whole model")
    else:
        module, processor = load_checkpoint(folder, dtype=dtype, kind=kind)
    origin = ModelOrigin(*origin_of(path, folder), digest_of(folder, base, kind=kind))
    return module.to(device).eval(), processor, origin


def load_checkpoint(
    folder: Path, *, dtype: torch.dtype = torch.float32, kind: Kind = RECOGNISER
) -> tuple[Any, Qwen3ASRProcessor]:
    """Open a complete native or original directory on the CPU, in evaluation mode.

    Args:
        folder: a directory, see `resolve_checkpoint`.
        dtype: of the weights in memory, whatever they are on disk. kind: of the model.

    Returns:
        The native transformers model, of the kind's class, and a processor with Qwen3-ASR's own feature extractor and native
        chat template.

    Raises:
        CheckpointError: a file or tensor is missing, unknown, damaged or of another shape; or the directory is an
            adapter, which `load_checkpoint_with_adapter` opens.
    """
    folder = Path(folder)
    layout, config, processor = _open(folder, kind)
    model = _load_model(folder, config, layout, dtype, kind)
    if kind.is_aligner:
        return model.eval(), processor
    model.generation_config = generation = _generation_config(folder, config, layout)
    ends = {"eos": generation.eos_token_id, "pad": generation.pad_token_id}
    require_end_tokens(folder / "generation_config.json", ends, processor.tokenizer)
    return model.eval(), processor


def load_checkpoint_with_adapter(
    folder: Path, *, base: str | None = None, dtype: torch.dtype = torch.float32, kind: Kind = RECOGNISER
) -> tuple[PeftModel, Qwen3ASRProcessor]:
    """Open a LoRA adapter over its base model, which may have any layout; adapters of adapters are merged on the way.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors.
        base: directory or hub id of the base model; None is the one the adapter names, where a relative path is
            looked for from here and from the adapter's folder.
        dtype: of the base weights; the adapter's stay float32. kind: of the model.

    Raises:
        CheckpointError: the adapter or its base is incomplete, or they do not belong together.
    """
    base_folder = find_base(folder, base)
    require_base(folder, base_folder, digest_of(base_folder, kind=kind))
    is_adapter = detect_layout(base_folder) is Layout.ADAPTER
    model, processor = (load_merged if is_adapter else load_checkpoint)(base_folder, dtype=dtype, kind=kind)
    return attach_adapter(model, folder), processor


def load_merged(
    folder: Path,
    *,
    base: str | None = None,
    dtype: torch.dtype = torch.float32,
    scale: float = 1.0,
    kind: Kind = RECOGNISER,
) -> tuple[Any, Qwen3ASRProcessor]:
    """An adapter folded into its base model at a strength of `scale`; otherwise as `load_checkpoint_with_adapter`.

    Raises:
        CheckpointError, ConfigError: as there, and as `merge_adapter`.
    """
    adapted, processor = load_checkpoint_with_adapter(folder, base=base, dtype=dtype, kind=kind)
    merged = merge_adapter(adapted, scale)
    assert isinstance(merged, kind.model_class)
    return merged, processor


def digest_of(folder: Path, base: str | None = None, *, kind: Kind = RECOGNISER) -> str:
    """The digest of a directory's weights, of any layout: equal for copies of one model in another layout or number format.

    Args:
        folder: a directory, see `resolve_checkpoint`. kind: of the model.
        base: of an adapter, as for `load_checkpoint_with_adapter`.

    Raises:
        CheckpointError: weights are missing or damaged.
    """
    if detect_layout(folder) is Layout.ADAPTER:
        adapter = read_tensors(stored_tensors(folder, ADAPTER_FILE))
        return f"{digest_of(find_base(folder, base), kind=kind)}+{weights_digest(adapter)}"
    return weights_digest(read_tensors(weights_of(folder, kind=kind)))


def weights_of(folder: Path, *, kind: Kind = RECOGNISER) -> dict[str, StoredTensor]:
    """Where the tensors of a whole model lie, by their native names, tied ones once; raises as `digest_of`."""
    stored = {kind.native_name(name): tensor for name, tensor in stored_tensors(folder).items()}
    return {name: tensor for name, tensor in stored.items() if name not in kind.tied}


def load_processor(folder: Path) -> Qwen3ASRProcessor:
    """The processor of a directory, weights unread; an adapter has its base's. Raises as `load_checkpoint` does."""
    return open_description(folder, RECOGNISER)[1]


def open_description(
    path: Path | str, kind: Kind, *, revision: str | None = None, base: str | None = None
) -> tuple[Qwen3ASRConfig, Qwen3ASRProcessor]:
    """Configuration and processor of a checkpoint, weights unread; an adapter has its base's. Raises as `open_model`."""
    folder = resolve_checkpoint(str(path), revision)
    if detect_layout(folder) is Layout.ADAPTER:
        return open_description(find_base(folder, base), kind)
    return _open(folder, kind)[1:]


def _open(folder: Path, kind: Kind) -> tuple[Layout, Qwen3ASRConfig, Qwen3ASRProcessor]:
    """Layout, native configuration and processor of a whole model's directory, checked against each other."""
    layout = detect_layout(folder)
    if layout is Layout.ADAPTER:
        raise CheckpointError(f"{folder}: this is a LoRA adapter, not a whole model; open it together with its base")
    raw = read_config(folder)
    whole_config = raw["thinker_config"] if layout is Layout.ORIGINAL else raw
    for sections in (raw, whole_config):
        if not isinstance(sections, dict):
            raise CheckpointError(
                f"{folder}: thinker_config in config.json is no object; copy it from the source again"
            )
        refuse_quantized(folder, sections)
    _require_sizes(folder, whole_config)
    if layout is Layout.ORIGINAL:
        _require_kind(folder, kind, is_aligner=original.is_aligner(raw))
    tokenizer = load_tokenizer(folder, is_original=layout is Layout.ORIGINAL)
    if layout is Layout.ORIGINAL:
        config = original.native_config(raw, tokenizer, where=folder / "config.json")
    else:
        config = _native_config(folder, raw, kind)
    processor = build_processor(
        folder, tokenizer, config, is_original=layout is Layout.ORIGINAL, of_aligner=kind.is_aligner
    )
    require_agreement(folder, config, processor)
    return layout, config, processor


def _require_kind(folder: Path, kind: Kind, *, is_aligner: bool) -> None:
    """Refuse an aligner where a recogniser is wanted, and the other way about."""
    if is_aligner == kind.is_aligner:
        return
    found = ALIGNER if is_aligner else RECOGNISER
    raise CheckpointError(
        f"{folder / 'config.json'}: this is {found.what}; use {'a Qwen3-ASR' if is_aligner else 'a Qwen3-ForcedAligner'} "
        f"checkpoint, or model.family={found.family}"
    )


def _require_sizes(folder: Path, config: dict[str, Any]) -> None:
    """Refuse sizes of no model (zero heads), which transformers would divide by; other mistakes it names itself."""
    for name, sizes in _SIZES.items():
        section = config.get(name)
        stated = section if isinstance(section, dict) else {}
        for size in sizes.split():
            value = stated.get(size, 1)
            if isinstance(value, int) and value < 1:
                raise CheckpointError(
                    f"{folder}: {name}.{size} in config.json is {value}; expected at least 1, copy it from the source again"
                )


def save_native(
    model: Qwen3ASRForConditionalGeneration | PeftModel,
    processor: Qwen3ASRProcessor,
    folder: Path | None,
    *,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int | None = None,
) -> None:
    """Write a native directory; see `save_whole`, which raises as well."""
    save_whole(model, processor, folder, dtype=dtype, max_shard_bytes=max_shard_bytes, tied=TIED)


def save_original(
    model: Qwen3ASRForConditionalGeneration,
    processor: Qwen3ASRProcessor,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int | None = None,
    languages: Sequence[str] = LANGUAGES,
) -> None:
    """Write a directory as qwen-asr and vLLM read it: `thinker.*` names, the head stored, Whisper-style processor files.

    Args:
        model, processor, folder, dtype, max_shard_bytes: as for `save_native`.
        languages: names the model can be told to transcribe, for `support_languages`.

    Raises:
        CheckpointError: the configuration cannot be said in the original layout.
        OSError: disk full or no permission.
    """
    described = partial(original.original_config, languages=languages)
    write_original(model, processor, folder, RECOGNISER, described, dtype=dtype, max_shard_bytes=max_shard_bytes)


def write_original(
    model: Any,
    processor: Qwen3ASRProcessor,
    folder: Path,
    kind: Kind,
    described: Callable[..., dict[str, Any]],
    *,
    dtype: torch.dtype | None,
    max_shard_bytes: int | None = None,
) -> None:
    """Weights, configuration (as `described` makes it) and processor files in the original layout."""
    assert isinstance(model, kind.model_class), "merge the adapter before saving the whole model"
    folder.mkdir(parents=True, exist_ok=True)
    config = described(model.config, processor.tokenizer, dtype=dtype or model.dtype)
    tensors = {kind.original_name(name): tensor for name, tensor in model.state_dict().items()}
    write_weights(tensors, folder, dtype=dtype, max_shard_bytes=max_shard_bytes)
    write_json(folder / "config.json", config)
    original.write_original_generation_config(processor.tokenizer, folder)
    original.write_original_processor(processor, folder)


def _native_config(folder: Path, raw: dict[str, Any], kind: Kind) -> Qwen3ASRConfig:
    architectures = raw.get("architectures") or [RECOGNISER.model_class.__name__]
    if architectures in ([RECOGNISER.model_class.__name__], [ALIGNER.model_class.__name__]):
        _require_kind(folder, kind, is_aligner=architectures == [ALIGNER.model_class.__name__])
    else:
        raise CheckpointError(
            f"{folder}: config.json is of {architectures[0]}, which does not transcribe; use a Qwen3-ASR checkpoint"
        )
    missing = [name for name in ("audio_config", "text_config") if not isinstance(raw.get(name), dict)]
    if missing:  # transformers would fill in its default sizes
        raise CheckpointError(f"{folder}: config.json has no {' and no '.join(missing)}; copy it from the source again")
    try:
        return Qwen3ASRConfig.from_pretrained(folder)
    except Exception as error:  # strict dataclasses of huggingface_hub raise their own kinds
        raise CheckpointError(
            f"{folder}: config.json is not valid ({one_line(error)}); copy it from the source again"
        ) from error


def _load_model(folder: Path, config: Qwen3ASRConfig, layout: Layout, dtype: torch.dtype, kind: Kind) -> Any:
    # Compared under the names of the files, which are what a message about them has to say.
    own_name, native_name = (kind.original_name, kind.native_name) if layout is Layout.ORIGINAL else (str, str)
    stored = stored_tensors(folder)
    try:
        with torch.device("meta"):
            whole = kind.model_class(config).state_dict()
    except Exception as error:  # whatever a size that fits no other leads to
        raise CheckpointError(
            f"{folder}: config.json describes no model that can be built ({one_line(error)}); copy it from the source again"
        ) from error
    needed = {own_name(name): tensor.shape for name, tensor in whole.items()}
    optional = frozenset(map(own_name, kind.tied)) if config.tie_word_embeddings else frozenset()
    require_exactly(folder, stored, needed, optional=optional)
    own = read_tensors(stored)
    require_finite(folder, own)
    tensors = _without_tied_head(folder, config, {native_name(name): tensor for name, tensor in own.items()})
    with no_progress_bar():
        loaded: Any = kind.model_class.from_pretrained(
            None, config=config, state_dict=tensors, dtype=dtype, output_loading_info=True
        )
    model, report = loaded
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    return model


def _without_tied_head(
    folder: Path, config: Qwen3ASRConfig, tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Leave out a stored head that repeats the embeddings; one that differs would be dropped silently, so refuse it."""
    head, embeddings = tensors.get("lm_head.weight"), tensors["model.language_model.embed_tokens.weight"]
    if not config.tie_word_embeddings or head is None:
        return tensors
    if not torch.equal(head, embeddings):
        raise CheckpointError(
            f"{folder}: lm_head differs from the token embeddings although config.json ties them; set tie_word_embeddings "
            "to what the weights were trained with"
        )
    return {name: tensor for name, tensor in tensors.items() if name not in TIED}


def _generation_config(folder: Path, config: Qwen3ASRConfig, layout: Layout) -> GenerationConfig:
    """Greedy, the end tokens of the model; other values of a native generation_config.json are kept."""
    values: dict[str, Any] = {"max_new_tokens": MAX_NEW_TOKENS}
    if layout is Layout.NATIVE and (folder / "generation_config.json").is_file():
        values |= read_json(folder / "generation_config.json")
    sampling = ("temperature", "top_p", "top_k", "transformers_version", "_from_model_config")  # refused when greedy
    values = {key: value for key, value in values.items() if key not in sampling}
    ids = {"eos_token_id": config.eos_token_id, "pad_token_id": config.pad_token_id}
    return GenerationConfig(**(ids | values | {"do_sample": False}))
