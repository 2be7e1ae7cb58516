"""Owns the batch contract between collators, models and objectives, and the shape legend used in every docstring.

Legend: B batch, S audio samples, F mel frames, M mel bins, T tokens, V vocabulary, D width. Of all rows of a batch, one row after
the other: P packed tokens, A audio positions, L supervised tokens. Of lists and tables: N utterances, K chosen of them.
Input: `Recording`s, which a family's collator puts together. Output: one padded `Batch`.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import torch

from qasr_train.manifest import Utterance

# Fields of a batch that belong to its audio.
_SOUND = ("input_features", "input_features_mask", "duration_s", "waveforms", "num_samples", "encoded")
IGNORED = -100  # the label of a position that is not supervised, as torch's cross entropy has it


@dataclass(frozen=True, slots=True)
class Precomputed:
    """What a cache holds of a recording of `num_samples` samples.

    mel: float16 [M, F]; its features. encoded: float16 [positions, D]; what a frozen encoder made of them. One of the two.
    """

    num_samples: int
    mel: torch.Tensor | None = None
    encoded: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """An utterance and its samples.

    waveform: float32 [S], mono, 16 kHz; empty where `precomputed` stands for it.
    precomputed: what a cache holds of it, None where nothing was looked up or found.
    has_system_turn: whether the prompt begins with a system turn, be it empty; vLLM leaves an empty one out.
    source: the name in data.train of where it comes from; "" where it comes from none.
    slotted: for training an aligner, which words get slots; None: all.
    """

    utterance: Utterance
    waveform: np.ndarray
    has_system_turn: bool = True
    precomputed: Precomputed | None = None
    source: str = ""
    slotted: tuple[bool, ...] | None = None

    @property
    def num_samples(self) -> int:
        """S, also where the waveform was not read."""
        return self.precomputed.num_samples if self.precomputed else len(self.waveform)


@dataclass(frozen=True, slots=True)
class Reference:
    """What is right of a row, as it is taught: its transcript ("": no speech) and language (None: not known).

    context: what its prompt offers; "": nothing.
    """

    text: str
    language: str | None
    context: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """What stands in the rows of a batch of hypotheses (`objective=mwer`, `gspo`); all on the host.

    clip: int64 [B]; of the batch the hypotheses were drawn for. reward: float64 [B]; the higher the better; 0 for a transcript.
    num_drawn: int64 [B]; how often the row was drawn.
    is_reference: bool [B]; whether the row is the clip's transcript instead. num_clips: how many there were, also those of which
    no row is left because it would teach nothing. log_probs: float32 [L]; of the supervised tokens when they were drawn; None
    where they are drawn from the model as it is.
    """

    clip: torch.Tensor
    reward: torch.Tensor
    num_drawn: torch.Tensor
    is_reference: torch.Tensor
    num_clips: int
    log_probs: torch.Tensor | None = None


@dataclass
class Batch:
    """Padded tensors of B utterances.

    ids: the utterances' ids, in row order.
    input_ids: int64 [B, T]; prompt, audio placeholders and, in training, the target.
    attention_mask: int64 [B, T]; 1 where a token stands, 0 where the row is padded.
    labels: int64 [B, T]; the token itself where it is supervised, IGNORED everywhere else. Aligned with
        `input_ids` (not shifted). None in a batch made for transcription. Of an aligner: at its slots, their numbers.
    input_features: float32 [B, M, F]; log-mel, past each row's own end zero or what the family has for silence. Of width 0 where
        `waveforms` or `encoded` stands for it.
    input_features_mask: int64 [B, F]; 1 on the row's own frames.
    duration_s: float32 [B]; seconds of audio of each row, before padding.
    waveforms, num_samples: float32 [B, S] and int64 [B]; the audio, where features are made on the device
        (`data.features_on`; prompts on a GPU); else None.
    encoded: float16 [A, D]; what the frozen encoder made of the rows, from a cache; else None.
    sources: in training, the source of each row (see `Recording`); else empty.
    references: in training, what is right of each row; else empty.
    audio_of: of rows that share audio, which of its clips each hears; everything of sound and `duration_s` then has a row a
        clip, not one of the B. None: each row has its own.
    rollout: what the rows are where they are hypotheses; else None.
    host: the batch on the CPU that `to` copied this one from, so that lengths are counted without waiting for the device;
        None in a batch that was not copied.
    """

    ids: list[str]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    input_features: torch.Tensor
    input_features_mask: torch.Tensor
    duration_s: torch.Tensor
    labels: torch.Tensor | None = None
    waveforms: torch.Tensor | None = None
    num_samples: torch.Tensor | None = None
    encoded: torch.Tensor | None = None
    sources: list[str] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    audio_of: list[int] | None = None
    rollout: Rollout | None = None
    host: "Batch | None" = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_targets(self) -> int:
        """What the summed loss is divided by: supervised tokens of the batch, of hypotheses the clips."""
        return self.num_supervised if self.rollout is None else self.rollout.num_clips

    @property
    def num_supervised(self) -> int:
        """Supervised tokens of the batch."""
        return 0 if self.labels is None else int((self.labels != IGNORED).sum())

    @property
    def audio_s(self) -> float:
        """Seconds of real audio."""
        return float(self.duration_s.sum())

    @property
    def padded_fraction(self) -> float:
        """Share of the token positions that are padding."""
        return 1.0 - float(self.attention_mask.sum()) / self.attention_mask.numel()

    def select(self, rows: Sequence[int], *, num_encoded: Sequence[int] | None = None) -> "Batch":
        """The batch of some of its rows, padded as they are.

        Args:
            rows: which, in the order wanted.
            num_encoded: positions of `encoded` that each row has; None where nothing is encoded.
        """
        index = torch.tensor(rows, dtype=torch.int64)
        places = None
        if self.encoded is not None and self.audio_of is None:
            assert num_encoded is not None, "which positions are a row's"
            ends = [0, *accumulate(num_encoded)]
            places = torch.cat([torch.arange(ends[row], ends[row + 1]) for row in rows])

        def chosen(name: str, value: object) -> object:
            if not isinstance(value, torch.Tensor) or (self.audio_of is not None and name in _SOUND):
                return value
            wanted = places if name == "encoded" and places is not None else index
            return value.index_select(0, wanted.to(value.device, non_blocking=True))

        values = {one.name: chosen(one.name, getattr(self, one.name)) for one in dataclasses.fields(self)}
        values["ids"] = [self.ids[row] for row in rows]
        for name in ("sources", "references", "audio_of"):
            values[name] = [values[name][row] for row in rows] if values[name] else values[name]  # type: ignore[index]
        values["rollout"] = None  # it tells of all rows
        values["host"] = None if self.host is None else self.host.select(rows, num_encoded=num_encoded)
        return Batch(**values)  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`."""
        copied = self._map(lambda tensor: tensor.to(device, non_blocking=True))
        if self.input_ids.device.type == "cpu" and copied.input_ids.device.type != "cpu":
            copied.host = self
        return copied

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory; called by torch's DataLoader."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change) -> "Batch":  # type: ignore[no-untyped-def]
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return Batch(**{k: change(v) if isinstance(v, torch.Tensor) else v for k, v in values.items()})


@dataclass(frozen=True, slots=True)
class FailedAudio:
    """An utterance whose recording could not be decoded in training."""

    id: str
    reason: str
