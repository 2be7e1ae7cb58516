"""Owns what a recogniser hears in short clips, for sharing a text out over them. Input: where it lies. Output: a `Hear`."""

from collections.abc import Sequence

import numpy as np
import torch

from qasr_train.alignment.text import Hear
from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Recording
from qasr_train.manifest import Utterance
from qasr_train.models.base import Recogniser
from qasr_train.models.families import load_model
from qasr_train.models.found import model_as_found
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.settings import Capability, ModelConfig

_AT_ONCE = 8
_TOKENS_PER_S, _SOME_TOKENS = 12, 16  # more than is said; a loop ends there


def recogniser_at(path: str) -> ModelConfig:
    """The config of the recogniser that lies at a path, a run's folder too.

    Raises:
        CheckpointError: nothing lies there.
    """
    return model_as_found(Qwen3ASRConfig(path=path))


def open_recogniser(path: str | None, *, device: torch.device, dtype: torch.dtype) -> Hear | None:
    """What hears with the model that lies at a path, a run's folder too; None for None.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    if path is None:
        return None
    model = load_model(recogniser_at(path), device=device, dtype=dtype)

    def hear(clips: Sequence[np.ndarray], language: str | None) -> list[str]:
        told = language if Capability.LANGUAGE in model.capabilities else None
        batches = [clips[first : first + _AT_ONCE] for first in range(0, len(clips), _AT_ONCE)]
        return [text for batch in batches for text in _texts(model, batch, told, device)]

    return hear


def _texts(model: Recogniser, clips: Sequence[np.ndarray], language: str | None, device: torch.device) -> list[str]:
    recordings = [Recording(Utterance(id=str(n), audio="clip"), clip) for n, clip in enumerate(clips)]
    batch = model.collator.for_transcription(recordings, language=language, use_context=False).to(device)
    longest_s = max(len(clip) for clip in clips) / SAMPLE_RATE_HZ
    return [one.text for one in model.transcribe(batch, max_new_tokens=_SOME_TOKENS + int(_TOKENS_PER_S * longest_s))]
