"""Owns opening and saving Whisper checkpoints: transformers' layout, or a LoRA adapter over one; and what one was trained for.

Input: a directory. Output: the transformers model, its processor and generation_config.json, or one sentence naming the folder.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, WhisperConfig, WhisperForConditionalGeneration

from qasr_train.models.digest import weights_digest
from qasr_train.models.locations import read_config, read_json, require_files
from qasr_train.models.lora_files import (
    AdapterKind,
    attach_adapter,
    find_base,
    is_adapter,
    merge_adapter,
    require_base,
    save_adapter,
)
from qasr_train.models.pretrained import (
    load_auto_processor,
    load_pretrained,
    require_end_tokens,
    require_ids_fit,
    require_model_type,
    save_whole,
)
from qasr_train.models.safetensors_files import (
    ADAPTER_FILE,
    StoredTensor,
    read_notes,
    read_tensors,
    require_exactly,
    stored_tensors,
)
from qasr_train.models.whisper.config import Window
from qasr_train.models.whisper.tokens import require_generation

FAMILY = "whisper"
TIED = frozenset({"proj_out.weight"})  # the same tensor as the token embeddings; files leave it out
ADAPTER_KIND = AdapterKind(WhisperForConditionalGeneration.__module__, "WhisperForConditionalGeneration")
TRAINED_WINDOWS = "trained_windows"  # in config.json a list; in the header of an adapter's weights joined by commas
_log = logging.getLogger(__name__)


def open_whisper(
    folder: Path, *, base: str | None = None, dtype: torch.dtype = torch.float32
) -> tuple[WhisperForConditionalGeneration | PeftModel, Any, dict[str, Any]]:
    """(model in evaluation mode on the CPU, processor, generation_config.json) of a checkpoint, or of an adapter over its base.

    Args:
        folder: a directory, see `resolve_checkpoint`. base: of an adapter; None is the one it names.
        dtype: of the weights in memory, whatever they are on disk; an adapter's stay float32.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or an adapter that does not belong to its base.
    """
    if is_adapter(folder):
        base_folder = find_base(folder, base)
        require_base(folder, base_folder, digest_of(base_folder))
        model, processor, generation = open_whisper(base_folder, dtype=dtype)
        whole = merge_adapter(model) if isinstance(model, PeftModel) else model
        if windows := read_notes(folder, ADAPTER_FILE).get(TRAINED_WINDOWS):
            whole.config.trained_windows = windows.split(",")
        return attach_adapter(whole, folder), processor, generation
    processor, generation, config = open_tokens(folder)
    _require_whole(folder, config)
    # Layers are called without a causal mask, which torch's attention alone takes as causal; a config.json may say eager.
    model = load_pretrained(WhisperForConditionalGeneration, folder, dtype=dtype, attention="sdpa")
    model.generation_config = GenerationConfig.from_pretrained(folder)
    return model, processor, generation


def open_tokens(folder: Path, *, base: str | None = None) -> tuple[Any, dict[str, Any], WhisperConfig]:
    """(processor, generation_config.json, configuration) of a checkpoint or of an adapter's base; no weights. Raises as above."""
    if is_adapter(folder):
        return open_tokens(find_base(folder, base))
    require_model_type(folder, FAMILY, {"whisper"})
    file = folder / "generation_config.json"
    generation = read_json(file) if file.is_file() else {}
    config = WhisperConfig.from_dict(read_config(folder))
    require_generation(file, generation, vocab_size=config.vocab_size)
    _require_files(folder)
    processor = load_auto_processor(folder)
    ends = {kind: generation[f"{kind}_token_id"] for kind in ("eos", "pad") if f"{kind}_token_id" in generation}
    require_end_tokens(file, ends, processor.tokenizer)
    require_ids_fit(folder, processor.tokenizer, config.vocab_size)
    return processor, generation, config


def _require_files(folder: Path) -> None:
    has_tokenizer = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    has_extractor = any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json"))
    require_files(
        folder,
        [*([] if has_tokenizer else ["tokenizer.json"]), *([] if has_extractor else ["preprocessor_config.json"])],
    )


def _require_whole(folder: Path, config: WhisperConfig) -> None:
    """Refuse tensors that are missing, unknown, of another shape or quantized before transformers opens them: by itself it
    draws what is missing and rounds what is no number."""
    with torch.device("meta"):
        needed = {name: tensor.shape for name, tensor in WhisperForConditionalGeneration(config).state_dict().items()}
    require_exactly(folder, stored_tensors(folder), needed, optional=TIED)


def digest_of(folder: Path, base: str | None = None) -> str:
    """The digest of a directory's weights: equal for copies in another number format. base: of an adapter, as for `open_whisper`.

    Raises:
        CheckpointError: weights are missing or damaged.
    """
    if is_adapter(folder):
        adapter = read_tensors(stored_tensors(folder, ADAPTER_FILE))
        return f"{digest_of(find_base(folder, base))}+{weights_digest(adapter)}"
    return weights_digest(read_tensors(weights_of(folder)))


def weights_of(folder: Path) -> dict[str, StoredTensor]:
    """Where the tensors of a directory lie, by their names, tied ones once; raises as `digest_of`."""
    return {name: tensor for name, tensor in stored_tensors(folder).items() if name not in TIED}


def save_whisper(
    model: PreTrainedModel | PeftModel,
    processor: Any,
    folder: Path | None,
    *,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int | None = None,
) -> None:
    """Write a directory for transformers, see `save_whole`, which raises as well; with the feature extractor's own file too.

    preprocessor_config.json repeats what processor_config.json says: faster-whisper and older transformers read that one alone.
    """
    save_whole(model, processor, folder, dtype=dtype, max_shard_bytes=max_shard_bytes, tied=TIED)
    if folder is not None:
        processor.feature_extractor.save_pretrained(folder)


def save_whisper_adapter(
    model: PeftModel, folder: Path | None, *, base: str, revision: str | None, base_digest: str | None
) -> None:
    """Write the adapter alone, see `save_adapter`, which raises as well; the windows it was trained with are noted in it."""
    windows = getattr(model.get_base_model().config, TRAINED_WINDOWS, None)
    save_adapter(
        model,
        folder,
        base=base,
        revision=revision,
        base_digest=base_digest,
        kind=ADAPTER_KIND,
        notes={TRAINED_WINDOWS: ",".join(windows)} if windows else None,
    )


def say_other_window(path: str, window: Window, trained: Sequence[str] | None) -> None:
    """Warn where a checkpoint transcribes through another window than it was trained with. trained: None for a published one.

    The figures are whisper-base's on the Arabic commands of docs/real_weights.md.
    """
    seen = list(trained or [Window.full.value])
    if window.value in seen:
        return
    if window is Window.clip:
        _log.warning(
            "%s: was never trained with model.window=clip, and an untrained Whisper repeats itself there (whisper-base on "
            "commands of a second: 272 %% of the words wrong, 62 %% with the full one); set model.window=full, or train it so",
            path,
        )
        return
    _log.warning(
        "%s: was trained with model.window=%s, and is given the full 30 s now; it hears best what it was trained with: "
        "model.window=%s, or train with model.full_window_fraction=0.1",
        path,
        seen[0],
        seen[0],
    )
