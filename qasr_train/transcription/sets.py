"""Owns what is transcribed under one name: utterances, how the sound of each is had, and what tells a changed set from the same.

Input: utterances, and what is done to their clips (a noise suite hands that in). Output: `UtteranceSet`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from qasr_train.audio.decode import load_audio
from qasr_train.manifest import Utterance
from qasr_train.sources.intake import Intake
from qasr_train.transcription.predictions import Prediction


class ClipChange(Protocol):
    """What is done to every clip of a set before it is transcribed, such as noise mixed in."""

    def apply(self, waveform: np.ndarray, utterance: Utterance) -> np.ndarray:
        """The changed clip, float32 [S], as long as before, the same on every machine; raises AudioError."""

    def digest(self) -> str:
        """Of what decides the change, so that resuming notices another."""


@dataclass(frozen=True, slots=True)
class UtteranceSet:
    """Utterances with ids of their own, transcribed and scored together.

    role: "target", "guard" or None, as predictions.jsonl has it. change: of every clip; None: as it was recorded.
    chunks: id -> (parent_id, chunk_index) where the utterances are chunks, each with its parent's whole text; None: they are not.
    intake: what became of the rows of its source; None: nobody counted.
    columns: what its rows state of other columns that were asked for, by id.
    """

    name: str
    utterances: Sequence[Utterance]
    role: str | None = None
    change: ClipChange | None = None
    chunks: dict[str, tuple[str, int]] | None = None
    intake: Intake | None = None
    columns: dict[str, dict[str, str]] = field(default_factory=dict)

    def load_clip(self, utterance: Utterance) -> np.ndarray:
        """The samples to be transcribed, float32 [S] at 16 kHz, changed where the set changes its clips.

        Raises:
            AudioError: the recording, or what changes it, cannot be decoded.
        """
        waveform = load_audio(
            utterance.audio,
            start_s=utterance.start_s,
            end_s=utterance.end_s,
            channel=utterance.channel,
            name=utterance.id,
        )
        return waveform if self.change is None else self.change.apply(waveform, utterance)

    def placed(self, prediction: Prediction) -> Prediction:
        """The prediction of one of its utterances as one of this set: its name, its role, which part of which recording."""
        parent_id, chunk_index = (None, None) if self.chunks is None else self.chunks[prediction.id]
        return replace(prediction, set=self.name, role=self.role, parent_id=parent_id, chunk_index=chunk_index)

    def digest(self) -> str:
        """Of what decides the set's transcripts and scores; another where manifest, change or chunks are others."""
        digest = fingerprint(self.utterances)
        if self.chunks is not None:
            digest += "-" + hashlib.sha256(repr(sorted(self.chunks.items())).encode()).hexdigest()[:16]
        return digest if self.change is None else f"{digest}-{self.change.digest()}"


def fingerprint(utterances: Sequence[Utterance]) -> str:
    """A digest of what decides the transcripts and scores of utterances, so that a changed manifest is noticed on resuming."""
    digest = hashlib.sha256()
    for utterance in utterances:
        audio = hashlib.sha256(utterance.audio).hexdigest() if isinstance(utterance.audio, bytes) else utterance.audio
        fields = [utterance.id, audio, utterance.start_s, utterance.end_s, utterance.duration_s]
        fields += [utterance.text, utterance.language, utterance.speaker, utterance.context]
        fields += (
            [] if utterance.channel is None else [utterance.channel]
        )  # runs begun before there were channels go on
        digest.update(json.dumps(fields).encode())
    return digest.hexdigest()[:16]
