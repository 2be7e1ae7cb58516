"""Owns a recogniser that looks transcripts up instead of listening, and remembers the batches it was given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from qasr_train.batch import Batch, Recording
from qasr_train.models.base import Hypothesis
from qasr_train.models.settings import Capability

SAMPLE_RATE_HZ = 16_000


@dataclass
class FakeCollator:
    """Batches without features; remembers the languages and contexts it was given, and which rows had a system turn."""

    languages: list[str | None] = field(default_factory=list)
    contexts: list[list[str | None]] = field(default_factory=list)
    has_turn: list[list[bool]] = field(default_factory=list)

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        self.languages.append(language)
        self.contexts.append([r.utterance.context if use_context else None for r in recordings])
        self.has_turn.append([r.has_system_turn for r in recordings])
        rows = len(recordings)
        return Batch(
            ids=[r.utterance.id for r in recordings],
            input_ids=torch.zeros(rows, 1, dtype=torch.int64),
            attention_mask=torch.ones(rows, 1, dtype=torch.int64),
            input_features=torch.zeros(rows, 1, 1),
            input_features_mask=torch.ones(rows, 1, dtype=torch.int64),
            duration_s=torch.tensor([len(r.waveform) / SAMPLE_RATE_HZ for r in recordings]),
        )


@dataclass
class FakeModel:
    """texts: id -> transcript; an id that is missing gives its own name. One token a word, and one for the end.

    batches: the ids of every batch, in order. before_batch: called with the ids first; may raise.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    heard_language: str | None = "English"
    before_batch: Callable[[list[str]], None] = lambda ids: None
    family: str = "fake"
    capabilities: frozenset[Capability] = frozenset(Capability)
    module: torch.nn.Module = field(default_factory=lambda: torch.nn.Linear(1, 1))
    collator: FakeCollator = field(default_factory=FakeCollator)
    batches: list[list[str]] = field(default_factory=list)
    durations_s: list[list[float]] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        self.before_batch(batch.ids)
        self.batches.append(batch.ids)
        self.durations_s.append([round(float(seconds), 3) for seconds in batch.duration_s])
        self.limits.append(max_new_tokens)
        return [self._hypothesis(utterance_id, max_new_tokens) for utterance_id in batch.ids]

    def save(self, folder: Path) -> None:
        raise NotImplementedError("evaluation does not save")

    def _hypothesis(self, utterance_id: str, max_new_tokens: int) -> Hypothesis:
        words = self.texts.get(utterance_id, utterance_id).split()
        num_tokens = min(len(words) + 1, max_new_tokens)
        text = " ".join(words[:max_new_tokens])
        return Hypothesis(
            id=utterance_id,
            text=text,
            language=self.heard_language,
            raw_text=text,
            num_tokens=num_tokens,
            is_truncated=len(words) + 1 > max_new_tokens,
        )
