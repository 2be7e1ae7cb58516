"""Owns a recogniser that hears words laid out in seconds, byte by byte, and goes on with what it is given.

A second of `speech` holds a word for 0.8 s and then silence. A word that is cut short is misheard as "um", as real models do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from qasr_train.batch import Batch, Recording
from qasr_train.models.base import Answer, Hypothesis
from qasr_train.models.blocks.greedy import NOTHING_SAID, RowTokens
from qasr_train.models.settings import Capability, Engine
from tests.helpers_fake_model import FakeCollator

RATE = 16_000
SPOKEN_S = 0.8
STEP = 100  # of so many samples one is looked at
MISHEARD = "um"


def speech(num_words: int, first: int = 0) -> np.ndarray:
    """Words of numbers from `first` on, one a second, each at a level that tells which it is; float32 [S]."""
    seconds = np.zeros((num_words, RATE), dtype=np.float32)
    seconds[:, : round(SPOKEN_S * RATE)] = (0.1 + 0.0001 * np.arange(first, first + num_words))[:, None]
    return seconds.reshape(-1)


@dataclass
class HearingCollator(FakeCollator):
    """Batches that carry their one waveform."""

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        batch = super().for_transcription(recordings, language=language, use_context=use_context)
        return replace(batch, waveforms=torch.from_numpy(recordings[0].waveform)[None])


@dataclass
class HearingModel:
    """words: what is said in each second. A token is a byte. looping_s: what hears up to these seconds says "la" to its limit.

    begun: the beginnings it was given, as text. heard_s: seconds of audio of each answer. languages: see `FakeCollator`.
    """

    words: Sequence[str]
    heard_language: str | None = "English"
    looping_s: float | None = None
    family: str = "hearing"
    capabilities: frozenset[Capability] = frozenset(Capability)
    module: torch.nn.Module = field(default_factory=lambda: torch.nn.Linear(1, 1))
    collator: HearingCollator = field(default_factory=HearingCollator)
    begun: list[str] = field(default_factory=list)
    heard_s: list[float] = field(default_factory=list)

    def continue_rows(
        self, batch: Batch, begun: Sequence[RowTokens], *, max_new_tokens: Sequence[int], engine: Engine = Engine.auto
    ) -> list[Answer]:
        assert batch.waveforms is not None
        waveform = batch.waveforms[0].numpy()
        before = bytes(begun[0].ids).decode()
        self.begun.append(before)
        self.heard_s.append(len(waveform) / RATE)
        rest = self._rest(before, self._heard(waveform))
        is_looping = self.looping_s == len(waveform) / RATE
        new = list(((" la" * 1000) if is_looping else rest).encode())[: max_new_tokens[0]]
        ids = [*begun[0].ids, *new]
        text = bytes(ids).decode("utf-8", "replace").strip()
        is_cut = len(new) == max_new_tokens[0]
        said = Hypothesis("stream", text, self.heard_language, text, len(new) + (not is_cut), is_cut)
        return [Answer(RowTokens(ids, []), said)]

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        begun = [NOTHING_SAID] * len(batch)
        return [one.said for one in self.continue_rows(batch, begun, max_new_tokens=[max_new_tokens] * len(batch))]

    def save(self, folder: Path) -> None:
        raise NotImplementedError("streaming does not save")

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id])

    def _heard(self, waveform: np.ndarray) -> list[str]:
        """The words of a clip, however it is cut."""
        levels_there = waveform[::STEP]
        edges = np.flatnonzero(np.diff(levels_there, prepend=0.0, append=0.0))
        levels = [(start, end, levels_there[start]) for start, end in pairwise(edges) if levels_there[start]]
        return [
            self.words[round((float(level) - 0.1) * 10_000)] if end - start >= SPOKEN_S * RATE / STEP - 1 else MISHEARD
            for start, end, level in levels
        ]

    def _rest(self, before: str, words: list[str]) -> str:
        """What comes after a beginning: the words after as many as it has, the last of which may still be open."""
        num_begun = len(before.split())
        if not num_begun:
            return " ".join(words)
        last = before.split()[-1]
        whole = words[num_begun - 1] if num_begun <= len(words) else ""
        ending = whole[len(last) :] if whole.startswith(last) and not before.endswith(" ") else ""
        more = "".join(f" {word}" for word in words[num_begun:])
        return ending + (more.lstrip() if before.endswith(" ") else more)
