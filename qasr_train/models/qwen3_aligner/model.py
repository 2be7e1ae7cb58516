"""Owns Qwen3-ForcedAligner as training and alignment see it: states at the slots, times of the words of a text, saving.

One forward pass, not autoregressive: sound, then words with two slots behind each, at which the head names a slot
of 80 ms. Encoder, packing and layouts are those of Qwen3-ASR.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, Qwen3ASRForTokenClassification, Qwen3ASRProcessor
from transformers.models.qwen3_asr.processing_qwen3_asr import FORCED_ALIGNER_LANGUAGES

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Batch
from qasr_train.errors import DataError
from qasr_train.models.base import UNKNOWN_ORIGIN, ModelOrigin, TargetStates
from qasr_train.models.qwen3_aligner.collator import Qwen3AlignerCollator
from qasr_train.models.qwen3_aligner.config import PARTS, Qwen3AlignerConfig
from qasr_train.models.qwen3_aligner.slots import timed_words
from qasr_train.models.qwen3_aligner.words import Unit, split_units, spoken_letters
from qasr_train.models.qwen3_asr.encoder import embed
from qasr_train.models.qwen3_asr.flops import flop_counter
from qasr_train.models.qwen3_asr.layouts import (
    open_description,
    open_model,
)
from qasr_train.models.qwen3_asr.model import Qwen3Model
from qasr_train.models.qwen3_asr.original import ALIGNER
from qasr_train.models.qwen3_asr.packing import PackedBatch, decode, pack
from qasr_train.models.settings import Capability
from qasr_train.timed.base import TimedWord


class Qwen3Aligner(Qwen3Model[Qwen3ASRForTokenClassification]):
    """A loaded aligner."""

    family = "qwen3_aligner"
    capabilities = frozenset({Capability.SLOTS})
    kind, parts = ALIGNER, PARTS
    collator: Qwen3AlignerCollator

    def __init__(
        self,
        module: PreTrainedModel | PeftModel,
        processor: Qwen3ASRProcessor,
        collator: Qwen3AlignerCollator,
        *,
        origin: ModelOrigin = UNKNOWN_ORIGIN,
        place_in_slot: float = 0.5,
        weighs_neighbours: bool = True,
        max_duration_s: float = 180.0,
    ) -> None:
        """origin: see `Qwen3Model`. The others: see `Qwen3AlignerConfig`."""
        super().__init__(module, processor, origin=origin)
        self.collator = collator
        self.place_in_slot, self.weighs_neighbours, self.slot_s = place_in_slot, weighs_neighbours, collator.slot_s
        self.longest_s = min(max_duration_s, collator.num_slots * self.slot_s)

    @property
    def languages(self) -> tuple[str, ...]:
        """The names of those it knows."""
        return self.collator.languages

    def forward(self, batch: Batch, reduce: Callable[[TargetStates], Any] = TargetStates.token_logits) -> Any:
        """What `reduce` makes of the states at the supervised slots; their targets are the slots' numbers."""
        core, packed = self.core, pack(batch, self.collator.audio_id, is_shifted=False)
        hidden = decode(core, batch, packed, self._embed(batch, packed), is_packed=True)
        states = hidden.index_select(0, packed.before_target)
        return reduce(TargetStates(states, core.score, targets=packed.targets, row=packed.row))

    def split(self, text: str, language: str | None) -> list[str]:
        """See `Aligner`."""
        return [unit.shown for unit in split_units(text, language)]

    def align(self, waveform: np.ndarray, words: Sequence[str], language: str | None) -> tuple[TimedWord, ...]:
        """See `Aligner`.

        Raises:
            DataError: the clip is longer, or the language is none of those the aligner knows.
        """
        duration_s = len(waveform) / SAMPLE_RATE_HZ
        if language is not None and language not in self.languages:
            raise DataError(
                f"{language} is not one of the aligner's languages ({', '.join(self.languages)}); name another aligner"
            )
        if duration_s > self.longest_s + 1e-6:
            raise DataError(f"a clip of {duration_s:.1f} s is longer than the {self.longest_s:g} s the aligner takes")
        if not words:
            return ()
        units = [Unit(word, spoken_letters(word)) for word in words]
        slots, sure = self._slots(self.collator.for_alignment(waveform, units).to(self.core.device))
        return timed_words(units, slots, sure, slot_s=self.slot_s, duration_s=duration_s)

    @torch.inference_mode()
    def _slots(self, batch: Batch) -> tuple[list[float], list[float]]:
        """(where the time of each slot of a batch of one row lies, in slots; its probability, with the neighbours')."""
        was_training = self.core.training
        self.core.eval()
        try:
            logits = self.forward(batch).logits.float()
        finally:
            self.core.train(was_training)
        probabilities = nn.functional.pad(logits.softmax(-1), (1, 1))
        best = logits.argmax(-1)
        around = torch.stack([probabilities.gather(1, best[:, None] + step)[:, 0] for step in range(3)])
        leaning = (around[2] - around[0]) / around.sum(0) if self.weighs_neighbours else 0.0
        return (best + leaning + self.place_in_slot).tolist(), around.sum(0).clamp(max=1).tolist()

    def save(self, folder: Path | None) -> None:
        """Write a complete native directory, LoRA merged into what is written, `adapter/` beside; see `Qwen3ASR.save`.

        Raises:
            CheckpointError: the adapter holds numbers that are not finite. OSError: as the disk gives it.
        """
        self.core.config.support_languages = list(self.languages)
        super().save(folder)

    def flop_counter(self) -> Callable[[Batch], float]:
        """What counts the operations of a training batch."""
        config = self.core.config
        return flop_counter(cast(nn.Module, self.module), config, parts=PARTS, num_classes=config.num_labels)

    def _embed(self, batch: Batch, packed: PackedBatch) -> torch.Tensor:
        return embed(self.core, batch, packed, self.encode(batch))


def load(
    config: Qwen3AlignerConfig, *, device: torch.device | str, dtype: torch.dtype, makes_features: bool = True
) -> Qwen3Aligner:
    """Load a checkpoint of any layout onto a device; makes_features: see `load_trainable`.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or not there.
    """
    module, processor, origin = open_model(
        config.path, config.revision, config.base, device=device, dtype=dtype, kind=ALIGNER
    )
    return Qwen3Aligner(
        module,
        processor,
        _collator(module.config, processor, config, makes_features=makes_features),
        origin=origin,
        place_in_slot=config.place_in_slot,
        weighs_neighbours=config.weighs_neighbours,
        max_duration_s=config.max_duration_s,
    )


def load_collator(config: Qwen3AlignerConfig) -> Qwen3AlignerCollator:
    """The collator of a checkpoint of any layout, without its weights; raises as `load` does."""
    described, processor = open_description(config.path, ALIGNER, revision=config.revision, base=config.base)
    return _collator(described, processor, config)


def _collator(
    described: Any, processor: Qwen3ASRProcessor, config: Qwen3AlignerConfig, *, makes_features: bool = True
) -> Qwen3AlignerCollator:
    # The published native files state no languages.
    stated = described.to_dict().get("support_languages") or sorted(FORCED_ALIGNER_LANGUAGES)
    languages = [*stated, *(name for name in config.new_languages if name not in stated)]
    return Qwen3AlignerCollator(
        processor, num_slots=described.num_labels, languages=languages, makes_features=makes_features
    )
