"""Owns what a model family offers: a `Recogniser` transcribes, a `Trainable` learns as well, an `Aligner` times known words.

Each has a collator of its role. Input: batches. Output: a `Hypothesis` a row; in training what an objective makes of
`TargetStates`. A family is one folder here with a config, a collator and a model; `families.py` lists them with their roles.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from qasr_train.batch import Batch, Recording
from qasr_train.manifest import Utterance
from qasr_train.models.blocks.greedy import RowTokens
from qasr_train.models.blocks.text_pieces import Pieces
from qasr_train.models.settings import Capability, Engine, Parts, Recompute
from qasr_train.timed.base import TimedWord

if TYPE_CHECKING:  # some three seconds to import, and needed for the annotations alone
    from peft import PeftModel
    from transformers import PreTrainedModel

    from qasr_train.models.blocks.sampling import Drawing


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a model heard in one utterance.

    text: the transcript. language: the model's name of the language it heard or was told, None if it gave none.
    raw_text: the undecorated output of the decoder. num_tokens: tokens generated, the end token included.
    is_truncated: True when the token limit stopped it before its end token.
    log_probs: natural logarithm of the probability of each token of the transcript, of the end token too where it came, not of
        the language before it; None where the family or the engine does not tell.
    pieces: how probable each piece of `text` was; None likewise, and where the text is not what the tokens wrote.
    """

    id: str
    text: str
    language: str | None
    raw_text: str
    num_tokens: int
    is_truncated: bool
    log_probs: tuple[float, ...] | None = field(default=None, compare=False)  # their last digits depend on the batch
    pieces: Pieces | None = field(default=None, compare=False)


def confidence_of(hypotheses: Sequence[Hypothesis]) -> float | None:
    """The geometric mean of the probabilities of all their tokens together, 0 to 1; None where one of them does not tell."""
    if not hypotheses or not all(one.log_probs for one in hypotheses):
        return None
    mean = fmean(log_prob for one in hypotheses for log_prob in one.log_probs or ())
    return min(1.0, math.exp(mean))  # rounding may put the logarithm of a certain token just above 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of a clip after a beginning of it was given. tokens: the beginning and what came, without the end token.

    said: what all of them say; its `num_tokens` are those that were generated, the end token included.
    """

    tokens: RowTokens
    said: Hypothesis


@dataclass(frozen=True, slots=True)
class Draw:
    """One hypothesis that was drawn of a clip. ids: its tokens, the end token too where it came. said: what they say."""

    ids: tuple[int, ...]
    said: Hypothesis


@dataclass(frozen=True, slots=True)
class DrawnClip:
    """The hypotheses of a clip, first what a plain transcription gives, or the beam's best.

    prompt: the ids after which all of them were said.
    """

    prompt: Sequence[int]
    draws: Sequence[Draw]


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """Where loaded weights came from, for whoever has to name them later.

    path: directory or hub id. revision: commit of a hub id. digest: of the weights (`weights_digest`), equal for copies in
    another layout or number format; None where it is not known.
    """

    path: str = ""
    revision: str | None = None
    digest: str | None = None

    def record(self) -> dict[str, str | None]:
        """As run.json has it."""
        return {"path": self.path, "commit": self.revision, "weights": self.digest}


UNKNOWN_ORIGIN = ModelOrigin()


@dataclass(frozen=True, slots=True)
class TokenLogits:
    """Next-token logits of the supervised positions only.

    logits: float [L, V], in row-major order. targets: int64 [L]. row: int64 [L], the batch row of each.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    row: torch.Tensor


@dataclass(frozen=True, slots=True)
class TargetStates:
    """What stands before the head at the supervised positions, for losses that never hold all logits at once.

    hidden: float [L, D]. head: maps it to logits [L, V]. targets, row: as in `TokenLogits`.
    """

    hidden: torch.Tensor
    head: torch.nn.Module
    targets: torch.Tensor
    row: torch.Tensor

    def token_logits(self) -> TokenLogits:
        """All logits at once."""
        return TokenLogits(self.head(self.hidden), self.targets, self.row)


class Collator(Protocol):
    """Turns recordings into a Batch on the CPU; picklable, so that it runs in loader workers."""

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        """Prompt only; `language` forces the language, None lets the model tell it."""


class Features(Protocol):
    """Makes the features of one clip; picklable."""

    hop_samples: int

    @property
    def fingerprint(self) -> bytes:
        """All that decides the values of a clip: the version of the code, and its settings; for caches."""

    def num_frames(self, num_samples: int) -> int:
        """F, of a clip of so many samples."""

    def __call__(self, waveform: np.ndarray) -> torch.Tensor:
        """float32 [S] at 16 kHz -> float32 [M, F]."""


class TrainingCollator(Collator, Protocol):
    """A collator that makes batches to train on as well.

    Whether those carry features, or waveforms of which the model makes them on its device, is said when it is built.
    """

    @property
    def log_mel(self) -> Features | None:
        """Makes what `Recording.precomputed.mel` may stand for; None where features do not belong to one clip alone."""

    @property
    def audio_id(self) -> int | None:
        """The token that stands for audio in `input_ids`; None where audio takes no positions there."""

    @property
    def windows_s(self) -> tuple[tuple[float, float], ...]:
        """Shares of a batch's rows, 1 in all, and the seconds that the encoder is given there of every clip, however short.

        ((1, 0),) where it is given no more than the clip.
        """

    @property
    def max_target_tokens(self) -> int | None:
        """The most supervised tokens that the decoder has positions for; None: more than any transcript has."""

    def require_languages(self, languages: Collection[str], where: str) -> None:
        """Refuse languages that the model cannot be taught (ConfigError naming `where`, a key such as data.train.main)."""

    def for_training(self, recordings: Sequence[Recording]) -> Batch:
        """Prompt and target, with labels on the target alone."""

    def num_target_tokens(self, utterance: Utterance) -> int:
        """Supervised tokens of an utterance, without opening its audio."""

    def token_bytes(self, token_id: int) -> bytes:
        """One token for reading, as UTF-8 of which it may hold a part of a letter; special ones by their names."""


class Recogniser(Protocol):
    """A loaded speech recogniser: what evaluation needs of it. An nn.Module."""

    family: str
    capabilities: frozenset[Capability]

    @property
    def module(self) -> torch.nn.Module:
        """All of its weights."""

    @property
    def collator(self) -> Collator:
        """What prepares batches for this model."""

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts of a transcription batch, in row order."""

    def save(self, folder: Path) -> None:
        """Write a complete directory that plain `from_pretrained` loads."""


class Trainable(Recogniser, Protocol):
    """A recogniser that learns: what training needs of it. An nn.Module, as Accelerate wraps it.

    module: the transformers model, or the PEFT model around it; training puts adapters on it. parts: where its parts lie.
    """

    parts: Parts
    module: "PreTrainedModel | PeftModel"

    @property
    def collator(self) -> TrainingCollator:
        """What prepares batches for this model, made for where its features are made (see `load_trainable`)."""

    def __call__(self, batch: Batch, reduce: Callable[[TargetStates], Any] = TargetStates.token_logits) -> Any:
        """What `reduce` makes of the states before the head of a training batch; by default the `TokenLogits`.

        `reduce` is called inside the forward pass, where autocast is on and sharded weights are whole.
        """

    def set_gradient_checkpointing(self, recompute: Recompute) -> None:
        """Recompute these activations in the backward pass, and keep the others; ConfigError where a family cannot."""

    def compile_layers(self) -> None:
        """Compile the layers that repeat, for training, after everything that is trained has been put on them."""

    def flop_counter(self) -> Callable[[Batch], float] | None:
        """What counts the operations of a training batch, forward and backward, for what is trained now; None: not worked out."""

    def save(self, folder: Path | None) -> None:
        """As `Recogniser.save`; None takes part in gathering weights sharded over processes, and writes nothing."""


@runtime_checkable
class Aligner(Protocol):
    """Says when each word of a text was said in a clip. An nn.Module where the words are heard by a model.

    longest_s: seconds of the longest clip it takes; `alignment/text.py` cuts longer ones. languages: the names of
    those it knows, () where it takes any.
    """

    family: str
    longest_s: float

    @property
    def languages(self) -> tuple[str, ...]:
        """See above."""

    def split(self, text: str, language: str | None) -> list[str]:
        """The words that are given times, as the text shows them, punctuation with them.

        Raises:
            ConfigError: a package that cuts this language is not installed.
        """

    def align(self, waveform: np.ndarray, words: Sequence[str], language: str | None) -> tuple[TimedWord, ...]:
        """The words in order with their times; unplaced where they cannot be told. See `alignment/text.py` for any length.

        Args:
            waveform: float32 [S] at 16 kHz, at most `longest_s`. words: of `split`. language: its name, None: not known.

        Raises:
            DataError: the clip is longer, or the language is none of `languages`.
        """


@runtime_checkable
class NamesSlots(Protocol):
    """A trainable family that names slots of time instead of tokens. slot_s: seconds of one."""

    slot_s: float


@runtime_checkable
class KnowsOrigin(Protocol):
    """A family whose models tell where their weights came from."""

    @property
    def origin(self) -> ModelOrigin:
        """Of the weights as they were loaded; training does not change it."""


@runtime_checkable
class AudioEncoder(Protocol):
    """A trainable family that encodes apart from decoding, so that a cache may stand for an encoder that is not trained."""

    @property
    def encoder_version(self) -> str:
        """What tells encodings of the same sound and weights apart: a number raised with every change of what `encode`
        computes, and the settings that decide it."""

    @property
    def audio_modules(self) -> torch.nn.Module:
        """All that `encode` computes with."""

    def encode(self, batch: Batch) -> torch.Tensor:
        """float [A, D]: what the decoder is given for the audio positions of all rows, in row order."""

    def num_encoded(self, batch: Batch) -> list[int]:
        """How many of those positions each row has; the batch is on the host."""


@runtime_checkable
class Sampler(Trainable, Protocol):
    """A family that draws several hypotheses of a clip, for which it hears the clip and reads the prompt once."""

    def draw(self, batch: Batch, drawing: "Drawing", *, limits: Sequence[int]) -> list[DrawnClip]:
        """The hypotheses of each clip after one prompt, as `drawing` finds them.

        Args:
            batch: a training batch on the host; its targets are not looked at, but for the language that a row is told.
            limits: most new tokens of each clip.
        """

    def encode(self, batch: Batch) -> torch.Tensor:
        """As `AudioEncoder` has it: float [A, D], what `Batch.encoded` may hold for the passes that follow."""

    @property
    def pad_id(self) -> int:
        """The token that stands where a row of a batch is padded."""


@runtime_checkable
class Continuer(Recogniser, Protocol):
    """A family that goes on with a beginning of an answer, as streaming asks it to."""

    def continue_rows(
        self, batch: Batch, begun: Sequence[RowTokens], *, max_new_tokens: Sequence[int], engine: Engine = Engine.auto
    ) -> list[Answer]:
        """Greedy answers of a transcription batch, each after its own beginning, which may be empty.

        Raises:
            ConfigError: the engine cannot go on with a beginning.
        """

    def token_bytes(self, token_id: int) -> bytes:
        """What a token writes into an answer, UTF-8 of which it may hold a part of a letter; b"" of a special one."""


@runtime_checkable
class RowDecoder(Protocol):
    """A family with a decoding loop of its own beside `generate`, and a limit of new tokens for each row."""

    def transcribe_rows(self, batch: Batch, *, max_new_tokens: Sequence[int], engine: Engine) -> list[Hypothesis]:
        """`Recogniser.transcribe`, with as many limits as rows; the transcripts depend on the engine by rounding at most."""
