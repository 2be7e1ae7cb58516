"""Owns the CTranslate2 form of a Whisper, which faster-whisper computes: made by that library's converter, opened to transcribe.

Input: a directory of transformers' layout. Output: a directory with model.bin; a `Recogniser` over it, which hears what our own
code hears: the full window with silence after the clip. Needs the package ctranslate2 (the extra of that name).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qasr_train.batch import Batch
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models.base import UNKNOWN_ORIGIN, Collator, Hypothesis
from qasr_train.models.locations import no_progress_bar, one_line
from qasr_train.models.settings import Capability, ExportDtype
from qasr_train.models.whisper.checkpoints import FAMILY
from qasr_train.models.whisper.collator import WhisperCollator

_KEPT = ["tokenizer.json", "preprocessor_config.json"]  # faster-whisper reads both beside the converted weights
_PACKAGE = "ctranslate2"
# What is computed with on a CPU, where two-byte floats are no faster; a GPU computes in the format of the file.
_ON_CPU = {ExportDtype.int8: "int8"}


def require_converter() -> None:
    """Refuse to convert where the library is not installed (ConfigError says how it is)."""
    _library()


def convert(native: Path, out: Path, dtype: ExportDtype) -> None:
    """Write what faster-whisper loads.

    Args:
        native: a Whisper of transformers' layout. out: not there yet.
        dtype: int8 keeps every weight matrix in whole numbers with a scale for each row, and computes in them.

    Raises:
        ConfigError: ctranslate2 is not installed. CheckpointError: it cannot convert this model.
    """
    _library()
    from ctranslate2.converters import TransformersConverter

    try:
        with no_progress_bar():
            TransformersConverter(str(native), copy_files=_KEPT).convert(str(out), quantization=dtype.value)
    except Exception as error:  # the converter raises whatever transformers and its own checks do
        raise CheckpointError(f"{native}: {_PACKAGE} cannot convert it ({one_line(error)})") from error


def open_converted(folder: Path, collator: Collator, dtype: ExportDtype, device: torch.device) -> "ConvertedWhisper":
    """Open a converted model to transcribe.

    Args:
        folder: as `convert` wrote it. collator: of the Whisper it was made of. dtype: it was written in.
        device: on a CPU what is no int8 is computed in float32.

    Raises:
        ConfigError, CheckpointError: as `convert`, or the folder cannot be opened.
    """
    kind = _ON_CPU.get(dtype, "float32") if device.type == "cpu" else "default"
    try:
        model = _library().models.Whisper(str(folder), device=device.type, compute_type=kind)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{folder}: {_PACKAGE} cannot open it ({one_line(error)})") from error
    assert isinstance(collator, WhisperCollator)
    return ConvertedWhisper(model, folder, collator)


class ConvertedWhisper(torch.nn.Module):
    """A converted Whisper as a `Recogniser`: greedy, no timestamps, no temperatures to fall back to."""

    family = FAMILY
    origin = UNKNOWN_ORIGIN

    def __init__(self, model: Any, folder: Path, collator: WhisperCollator) -> None:
        """model: ctranslate2's. folder: it lies in. collator: with the full window, the only one that others know."""
        super().__init__()
        self.model, self.folder, self.collator, self.tokens = model, folder, collator, collator.tokens
        told = frozenset({Capability.CONTEXT, Capability.LANGUAGE})
        self.capabilities = told if self.tokens.is_multilingual else told - {Capability.LANGUAGE}
        self.language_names = {id_: name for name, id_ in self.tokens.language_ids.items()}

    @property
    def module(self) -> torch.nn.Module:
        """Its weights are ctranslate2's, so none of torch's."""
        return self

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts in row order; a row at a time, since prompts differ in length."""
        rows = zip(batch.ids, batch.input_features, batch.input_ids, batch.attention_mask.bool(), strict=True)
        return [self._hear(id_, mel, ids[is_token].tolist(), max_new_tokens) for id_, mel, ids, is_token in rows]

    def save(self, folder: Path) -> None:
        """Copy the directory; raises OSError."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def _hear(self, utterance_id: str, mel: torch.Tensor, prompt: list[int], max_new_tokens: int) -> Hypothesis:
        """mel: float [M, F] of the full window."""
        sound = _library().StorageView.from_array(np.ascontiguousarray(mel.float().numpy()[None]))
        sound = self.model.encode(sound)
        start = prompt.index(self.tokens.sot_id)
        if self.tokens.is_multilingual and start == len(prompt) - 1:  # the model tells the language
            token, _ = self.model.detect_language(sound)[0][0]
            prompt = [*prompt, *self.tokens.after_language(self.tokens.tokenizer.convert_tokens_to_ids(token))]
        heard = self._generate(sound, prompt)
        kept = heard[:max_new_tokens]
        room = self.tokens.num_positions - len(prompt)
        is_truncated = len(heard) >= min(max_new_tokens, room)
        raw_text = self.tokens.tokenizer.decode(kept, skip_special_tokens=True)
        return Hypothesis(
            id=utterance_id,
            text=raw_text.strip(),
            language=self.language_names.get(prompt[start + 1], None) if self.language_names else "English",
            raw_text=raw_text,
            num_tokens=len(kept) + (not is_truncated),
            is_truncated=is_truncated,
        )

    def _generate(self, sound: Any, prompt: Sequence[int]) -> list[int]:
        """Ids after the prompt, without the end token."""
        found = self.model.generate(sound, [list(prompt)], beam_size=1, max_length=self.tokens.num_positions)
        return [id_ for id_ in found[0].sequences_ids[0] if id_ != self.tokens.end_id]


def _library() -> Any:
    try:
        import ctranslate2
    except ImportError as error:
        raise ConfigError(
            f"layout=ctranslate2 needs the package {_PACKAGE}, which holds the converter ({error}): pip install "
            f"'qasr_train[{_PACKAGE}]', or export layout=native, which ct2-transformers-converter reads wherever it is installed"
        ) from error
    return ctranslate2
