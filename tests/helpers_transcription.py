"""Owns how tests transcribe without a run: the settings a `Decoding` has by default, and all utterances by one process."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qasr_train.manifest import Utterance
from qasr_train.models.base import Recogniser
from qasr_train.run.processes import ALONE, Processes
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.settings import DecodeConfig, Decoding
from qasr_train.transcription.transcribe import transcribe_utterances


def decoding(**changed: Any) -> Decoding:
    """That of a model which takes 1200 s, with these fields of `Decoding` changed."""
    return replace(DecodeConfig().decoding(1200.0), **changed)


def transcribe_all(
    model: Recogniser,
    utterances: Sequence[Utterance],
    *,
    processes: Processes = ALONE,
    set_name: str = "",
    **changed: Any,
) -> list[Prediction]:
    """Predictions of the utterances; changed: fields of `Decoding`."""
    return transcribe_utterances(model, utterances, decoding(**changed), processes, set_name)
