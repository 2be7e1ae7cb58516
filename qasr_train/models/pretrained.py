"""Owns opening a model that transformers knows by itself: strict about its weights, its mistakes in one sentence.

Input: a checkpoint folder. Output: the model or its processor, or a CheckpointError naming the folder.
"""

import copy
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel
from transformers import AutoProcessor, PreTrainedModel

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models.base import ModelOrigin
from qasr_train.models.locations import no_progress_bar, one_line, read_config, read_json, refuse_quantized
from qasr_train.models.lora_files import AdapterKind, has_only_adapters, merged_state, save_adapter
from qasr_train.models.safetensors_files import require_finite, write_tensors, write_weights

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def require_model_type(folder: Path, family: str, model_types: Collection[str]) -> str:
    """The model_type of a folder's config.json, refused unless it is one of those the family opens.

    Raises:
        CheckpointError: names what it is and what the family opens.
    """
    found = read_config(folder).get("model_type")
    if found not in model_types:
        raise CheckpointError(
            f"{folder}: config.json says model_type {found!r}, and model.family={family} opens {' or '.join(sorted(model_types))}"
            f"{_advice(found, folder)}"
        )
    return str(found)


def _advice(model_type: object, folder: Path) -> str:
    """What opens a checkpoint of a family that trains; "" for any other."""
    config = {"whisper": "whisper_small", "qwen3_asr": "qwen3_asr_0.6b"}.get(str(model_type))
    return f"; for this checkpoint give model={config} model.path={folder}" if config else ""


def load_pretrained(
    model_class: Any,
    folder: Path,
    *,
    dtype: torch.dtype,
    may_miss: tuple[str, ...] = (),
    attention: str | None = None,
) -> Any:
    """`model_class.from_pretrained`, where a missing or misshapen tensor is an error instead of a warning.

    Args:
        model_class: of transformers. folder: holds config and weights. dtype: of the weights in memory.
        may_miss: ends of the names of tensors that transcription does without.
        attention: which of transformers' attentions, whatever config.json says; None leaves it to that.

    Raises:
        CheckpointError: the files cannot be opened, or do not hold all of the model.
    """
    refuse_quantized(folder, read_config(folder))
    try:
        with no_progress_bar():
            model, report = model_class.from_pretrained(
                folder, dtype=dtype, local_files_only=True, output_loading_info=True, attn_implementation=attention
            )
    except Exception as error:  # each model class raises its own kinds
        raise CheckpointError(
            f"{folder}: the model cannot be opened ({one_line(error)}); copy the checkpoint again"
        ) from error
    wrong = [str(name) for kind in ("missing_keys", "mismatched_keys") for name in report[kind]]
    wrong = [name for name in wrong if not name.endswith(may_miss)]
    if wrong:  # transformers would go on with random values
        raise CheckpointError(
            f"{folder}: {len(wrong)} tensors are missing or of another shape, the first {wrong[0]}; use a complete copy"
        )
    require_finite(folder, dict(model.named_parameters()))
    return model.eval()


def load_auto_processor(folder: Path) -> Any:
    """The processor of a folder: feature extractor and tokenizer, no weights.

    Raises:
        CheckpointError: one of their files is missing or damaged.
        ConfigError: one of their classes needs a package that is not installed.
    """
    require_stated_rate(folder)
    try:
        with naming_missing_packages(folder):
            processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except ConfigError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception on a damaged file
        raise CheckpointError(
            f"{folder}: tokenizer or feature extractor cannot be opened ({one_line(error)}); copy its files again"
        ) from error
    extractor = processor.feature_extractor if hasattr(processor, "feature_extractor") else processor
    # That of its class, where no file states one.
    _require_rate(folder, getattr(extractor, "sampling_rate", SAMPLE_RATE_HZ))
    return processor


def require_stated_rate(folder: Path) -> None:
    """Refuse a processor for sound of another rate than the one everything here is read at, by what its files say.

    Before it is opened: for 8 kHz transformers would warn of filters first.

    Raises:
        CheckpointError: another rate, or one of the files is damaged.
    """
    for file in (folder / name for name in PROCESSOR_FILES if (folder / name).is_file()):
        content = read_json(file)
        section = content.get("feature_extractor")
        stated = section if isinstance(section, dict) else content
        _require_rate(folder, stated.get("sampling_rate", SAMPLE_RATE_HZ))


def _require_rate(folder: Path, rate_hz: object) -> None:
    if rate_hz != SAMPLE_RATE_HZ:
        raise CheckpointError(
            f"{folder}: the processor's sampling_rate is {rate_hz}, and audio is read at {SAMPLE_RATE_HZ} Hz here; copy the "
            "processor files from the model these weights are of"
        )


def require_end_tokens(file: Path, ids: dict[str, Any], tokenizer: Any) -> None:
    """Refuse end and padding tokens that the tokenizer does not have: a transcript would run on to its limit.

    Args:
        file: states them, for the error. ids: "eos" and "pad", each an id or a list of ids.

    Raises:
        CheckpointError: names the file and the id.
    """
    known = set(tokenizer.get_vocab().values())
    for kind, stated in ids.items():
        for token in stated if isinstance(stated, list | tuple) else [stated]:
            if not isinstance(token, int) or token not in known:
                raise CheckpointError(
                    f"{file}: {kind}_token_id is {token!r}, which the tokenizer does not have; they are of two models, copy all "
                    "files from one"
                )


def require_ids_fit(folder: Path, tokenizer: Any, vocab_size: int) -> None:
    """Refuse a tokenizer with ids that the model has no entry for (CheckpointError)."""
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {largest}, the model {vocab_size} entries; they are of two models"
        )


@contextmanager
def naming_missing_packages(opened: Path | str) -> Iterator[None]:
    """Around classes of transformers that need a package it does not bring: Parakeet's features need librosa before 5.23.

    Raises:
        ConfigError: names `opened`, the class and the package.
    """
    try:
        yield
    except ImportError as error:
        found = re.match(r"\s*(\w+) requires the (\S+) library", str(error))
        package = found[2] if found else "the package it names"
        problem = f"{found[1]} needs {package}, which is not installed" if found else one_line(error)
        raise ConfigError(
            f"{opened}: in transformers {transformers.__version__} {problem}; pip install {package}, or a newer transformers"
        ) from error


def save_pretrained(module: PreTrainedModel, processor: Any, folder: Path) -> None:
    """Write model and processor as `from_pretrained` of transformers takes them; OSError as the disk gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    module.save_pretrained(folder)
    processor.save_pretrained(folder)


def save_trained(
    model: PreTrainedModel | PeftModel,
    processor: Any,
    folder: Path | None,
    *,
    origin: ModelOrigin,
    tied: Collection[str],
    kind: AdapterKind,
) -> None:
    """`save_whole` and, where LoRA is all that was trained, `adapter/` beside it, as PEFT and vLLM load it over its base.

    Args:
        model, processor, folder, tied: see `save_whole`, which raises as well. origin: of the base. kind: of the adapter.
    """
    save_whole(model, processor, folder, tied=tied)
    if isinstance(model, PeftModel) and has_only_adapters(model):
        save_adapter(
            model,
            None if folder is None else folder / "adapter",
            base=origin.path,
            revision=origin.revision,
            base_digest=origin.digest,
            kind=kind,
        )


def save_whole(
    model: PreTrainedModel | PeftModel,
    processor: Any,
    folder: Path | None,
    *,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int | None = None,
    tied: Collection[str] = (),
) -> None:
    """Write a directory that plain `from_pretrained` of transformers loads, processor and tokenizer included.

    Args:
        model: an adapter around it is merged into what is written, layer by layer; the model is untouched.
        processor: with its tokenizer.
        folder: made where missing; files of the same names are replaced. Not atomic by itself. None takes part in
            gathering sharded weights and writes nothing.
        dtype: of the weights on disk; None is the model's own. max_shard_bytes: of a file, see `write_weights`.
        tied: names of weights that stand under another name too.

    Raises:
        CheckpointError: the adapter holds numbers that are not finite. OSError: disk full or no permission.
    """
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    tensors = merged_state(model) if isinstance(model, PeftModel) else base.state_dict()
    if base.config.tie_word_embeddings:
        tensors = {name: tensor for name, tensor in tensors.items() if name not in tied}
    if folder is None:
        write_tensors(tensors, None)
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(base.config)
    config.architectures = [type(base).__name__]
    config.dtype = str(dtype or base.dtype).removeprefix("torch.")
    for name in config.sub_configs:
        getattr(config, name).dtype = None  # one statement of it, as in the published files
    write_weights(tensors, folder, dtype=dtype, max_shard_bytes=max_shard_bytes)
    config.save_pretrained(folder)
    if base.can_generate():
        base.generation_config.save_pretrained(folder)
    for name in ("is_local", "local_files_only"):  # how this process opened it; transformers would write them down
        processor.tokenizer.init_kwargs.pop(name, None)
    processor.save_pretrained(folder)
