"""Owns the batch contract between collators, models and objectives, and the shape legend used in every docstring.

Legend: B batch, S audio samples, F mel frames, M mel bins, T tokens, V vocabulary, D width.
Input: `Example`s, one utterance each, made by a family's collator. Output: one padded `Batch`.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from qasr_train.manifest import Utterance

IGNORED = -100  # the label of a position that is not supervised, as torch's cross entropy has it


@dataclass(frozen=True, slots=True)
class Recording:
    """An utterance and its samples.

    waveform: float32 [S], mono, 16 kHz.
    has_system_turn: whether the prompt begins with a system turn, be it empty; vLLM leaves an empty one out.
    """

    utterance: Utterance
    waveform: np.ndarray
    has_system_turn: bool = True


@dataclass
class Batch:
    """Padded tensors of B utterances.

    ids: the utterances' ids, in row order.
    input_ids: int64 [B, T]; prompt, audio placeholders and, in training, the target.
    attention_mask: int64 [B, T]; 1 where a token stands, 0 where the row is padded.
    labels: int64 [B, T]; the token itself where it is supervised, IGNORED everywhere else. Aligned with
        `input_ids` (not shifted). None in a batch made for transcription.
    input_features: float32 [B, M, F]; log-mel, zero past each row's own end.
    input_features_mask: int64 [B, F]; 1 on the row's own frames.
    duration_s: float32 [B]; seconds of audio of each row, before padding.
    """

    ids: list[str]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    input_features: torch.Tensor
    input_features_mask: torch.Tensor
    duration_s: torch.Tensor
    labels: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_targets(self) -> int:
        """Supervised tokens of the batch: what the summed loss is divided by."""
        return 0 if self.labels is None else int((self.labels != IGNORED).sum())

    @property
    def audio_s(self) -> float:
        """Seconds of real audio."""
        return float(self.duration_s.sum())

    @property
    def padded_fraction(self) -> float:
        """Share of the token positions that are padding."""
        return 1.0 - float(self.attention_mask.sum()) / self.attention_mask.numel()

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory; called by torch's DataLoader."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change) -> "Batch":  # type: ignore[no-untyped-def]
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Batch(**{k: change(v) if isinstance(v, torch.Tensor) else v for k, v in values.items()})
