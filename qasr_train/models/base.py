"""Owns what every model family offers: the ASRModel protocol, its Collator, the Hypothesis, and the capabilities by name.

A family is one folder here with a config, a collator and a model; `families.py` lists them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

import torch

from qasr_train.batch import Batch, Recording
from qasr_train.errors import ConfigError
from qasr_train.manifest import Utterance
from qasr_train.models.settings import Capability, Engine, Recompute

if TYPE_CHECKING:  # some three seconds to import, and needed for the annotations alone
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a model heard in one utterance.

    text: the transcript. language: the model's name of the language it heard or was told, None if it gave none.
    raw_text: the undecorated output of the decoder. num_tokens: tokens generated, the end token included.
    is_truncated: True when the token limit stopped it before its end token.
    log_probs: natural logarithm of the probability of each token of the transcript, of the end token too where it came, not of
        the language before it; None where the family or the engine does not tell.
    """

    id: str
    text: str
    language: str | None
    raw_text: str
    num_tokens: int
    is_truncated: bool
    log_probs: tuple[float, ...] | None = field(default=None, compare=False)  # their last digits depend on the batch


def confidence_of(hypotheses: Sequence[Hypothesis]) -> float | None:
    """The geometric mean of the probabilities of all their tokens together, 0 to 1; None where one of them does not tell."""
    if not hypotheses or not all(one.log_probs for one in hypotheses):
        return None
    mean = fmean(log_prob for one in hypotheses for log_prob in one.log_probs or ())
    return min(1.0, math.exp(mean))  # rounding may put the logarithm of a certain token just above 0


@dataclass(frozen=True, slots=True)
class TokenLogits:
    """Next-token logits of the supervised positions only.

    logits: float [N, V], N supervised tokens in row-major order. targets: int64 [N]. row: int64 [N], the batch row of each.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    row: torch.Tensor


@dataclass(frozen=True, slots=True)
class TargetStates:
    """What stands before the head at the supervised positions, for losses that never hold all logits at once.

    hidden: float [N, D]. head: maps it to logits [N, V]. targets, row: as in `TokenLogits`.
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

    @property
    def audio_id(self) -> int | None:
        """The token that stands for audio in `input_ids`; None where audio takes no positions there."""

    def for_training(self, recordings: Sequence[Recording]) -> Batch:
        """Prompt and target, with labels on the target alone."""

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        """Prompt only; `language` forces the language, None lets the model tell it."""

    def num_target_tokens(self, utterance: Utterance) -> int:
        """Supervised tokens of an utterance, without opening its audio."""

    def token_text(self, token_id: int) -> str:
        """One token for reading, special ones by their names."""


class ASRModel(Protocol):
    """A loaded speech recogniser: what training, evaluation and export need of it. An nn.Module, as Accelerate wraps it.

    module: the transformers model, or the PEFT model around it; training puts adapters on it.
    """

    family: str
    capabilities: frozenset[Capability]
    module: "PreTrainedModel | PeftModel"

    @property
    def collator(self) -> Collator:
        """What prepares batches for this model."""

    def __call__(self, batch: Batch, reduce: Callable[[TargetStates], Any] = TargetStates.token_logits) -> Any:
        """What `reduce` makes of the states before the head of a training batch; by default the `TokenLogits`.

        `reduce` is called inside the forward pass, where autocast is on and sharded weights are whole.
        """

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts of a transcription batch, in row order."""

    def set_gradient_checkpointing(self, recompute: Recompute) -> None:
        """Recompute these activations in the backward pass, and keep the others."""

    def compile_layers(self) -> None:
        """Compile the layers that repeat, for training, after everything that is trained has been put on them."""

    def save(self, folder: Path | None) -> None:
        """Write a complete directory that plain `from_pretrained` loads.

        None takes part in gathering weights sharded over processes and writes nothing; families that are not trained
        are never given it.
        """


@runtime_checkable
class RowDecoder(Protocol):
    """A family with a decoding loop of its own beside `generate`, and a limit of new tokens for each row."""

    def transcribe_rows(self, batch: Batch, *, max_new_tokens: Sequence[int], engine: Engine) -> list[Hypothesis]:
        """`ASRModel.transcribe`, with as many limits as rows; the transcripts depend on the engine by rounding at most."""


def refuse_training(family: str) -> NoReturn:
    """For families that transcribe only.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"model.family={family}: models of this family can be evaluated but not trained; train model=qwen3_asr_0.6b or "
        "another Qwen3-ASR"
    )
