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
from qasr_train.errors import CheckpointError, DataError
from qasr_train.models.base import UNKNOWN_ORIGIN, ModelOrigin, TargetStates
from qasr_train.models.blocks.compiled import compile_layers
from qasr_train.models.blocks.recompute import checkpoint_layers
from qasr_train.models.locations import origin_of, resolve_checkpoint
from qasr_train.models.lora_files import has_only_adapters, save_adapter
from qasr_train.models.pretrained import save_whole
from qasr_train.models.qwen3_aligner.collator import Qwen3AlignerCollator
from qasr_train.models.qwen3_aligner.config import PARTS, Qwen3AlignerConfig
from qasr_train.models.qwen3_aligner.slots import timed_words
from qasr_train.models.qwen3_aligner.words import Unit, split_units, spoken_letters
from qasr_train.models.qwen3_asr.encoder import ENCODER_VERSION, embed, encode
from qasr_train.models.qwen3_asr.flops import flop_counter
from qasr_train.models.qwen3_asr.layouts import (
    Layout,
    detect_layout,
    digest_of,
    load_checkpoint,
    load_checkpoint_with_adapter,
    open_description,
)
from qasr_train.models.qwen3_asr.original import ALIGNER
from qasr_train.models.qwen3_asr.packing import PackedBatch, decode, pack, use_packed_attention
from qasr_train.models.settings import Capability, Recompute
from qasr_train.timed.base import TimedWord


class Qwen3Aligner(nn.Module):
    """A loaded aligner. `module` is the transformers model, or the PEFT model around it once LoRA is on."""

    family = "qwen3_aligner"
    capabilities = frozenset({Capability.SLOTS})
    parts = PARTS
    encoder_version = str(ENCODER_VERSION)
    module: PreTrainedModel | PeftModel
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
        """origin: of the weights; written into adapters. The others: see `Qwen3AlignerConfig`."""
        super().__init__()
        self.module, self.processor, self.collator, self.origin = module, processor, collator, origin
        self.place_in_slot, self.weighs_neighbours, self.slot_s = place_in_slot, weighs_neighbours, collator.slot_s
        self.longest_s = min(max_duration_s, collator.num_slots * self.slot_s)
        self._recompute_convolutions = False
        use_packed_attention(self.core.config.audio_config, self.core.config.text_config)

    @property
    def core(self) -> Qwen3ASRForTokenClassification:
        """The transformers model itself; adapters, if any, sit inside its layers."""
        inner = self.module.get_base_model() if isinstance(self.module, PeftModel) else self.module
        return cast(Qwen3ASRForTokenClassification, inner)

    @property
    def languages(self) -> tuple[str, ...]:
        """The names of those it knows."""
        return self.collator.languages

    @property
    def audio_modules(self) -> nn.Module:
        """What stands between features and decoder: all that `encode` computes with."""
        core = self.core.model
        return nn.ModuleDict({"audio_tower": core.audio_tower, "multi_modal_projector": core.multi_modal_projector})

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
        save_whole(cast(Any, self.module), self.processor, folder, tied=ALIGNER.tied)
        if has_only_adapters(self.module):
            save_adapter(
                cast(PeftModel, self.module),
                None if folder is None else folder / "adapter",
                base=self.origin.path,
                revision=self.origin.revision,
                base_digest=self.origin.digest,
                kind=ALIGNER.adapter,
            )

    def set_gradient_checkpointing(self, recompute: Recompute) -> None:
        """Recompute these activations in the backward pass instead of keeping them."""
        core = self.core.model
        self._recompute_convolutions = recompute in (Recompute.conv, Recompute.encoder, Recompute.all)
        checkpoint_layers(core.audio_tower, recompute in (Recompute.encoder, Recompute.all))
        checkpoint_layers(core.language_model, recompute in (Recompute.decoder, Recompute.all))

    def compile_layers(self) -> None:
        """Compile the layers of encoder and decoder for training; see models/blocks/compiled.py."""
        core = self.core.model
        compile_layers([*core.audio_tower.layers, *core.language_model.layers])

    def flop_counter(self) -> Callable[[Batch], float]:
        """What counts the operations of a training batch."""
        config = self.core.config
        return flop_counter(cast(nn.Module, self.module), config, parts=PARTS, num_classes=config.num_labels)

    def num_encoded(self, batch: Batch) -> list[int]:
        """Positions of audio in each row of a batch on the host."""
        return batch.input_ids.eq(self.collator.audio_id).sum(1).tolist()

    def encode(self, batch: Batch) -> torch.Tensor:
        """float [A, D]: what the decoder is given for the audio positions of all rows, in row order."""
        return encode(self.core, batch, self.collator.sound, recompute_convolutions=self._recompute_convolutions)

    def _embed(self, batch: Batch, packed: PackedBatch) -> torch.Tensor:
        return embed(self.core, batch, packed, self.encode(batch))


def load(
    config: Qwen3AlignerConfig, *, device: torch.device | str, dtype: torch.dtype, makes_features: bool = True
) -> Qwen3Aligner:
    """Load a checkpoint of any layout onto a device; makes_features: see `load_trainable`.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or not there.
    """
    folder = resolve_checkpoint(config.path, config.revision)
    module: PreTrainedModel | PeftModel
    if detect_layout(folder) is Layout.ADAPTER:
        module, processor = load_checkpoint_with_adapter(folder, base=config.base, dtype=dtype, kind=ALIGNER)
    elif config.base is not None:
        raise CheckpointError(
            f"model.base={config.base}: only an adapter has a base, and {config.path} is a whole model"
        )
    else:
        module, processor = load_checkpoint(folder, dtype=dtype, kind=ALIGNER)
    path, revision = origin_of(config.path, folder)
    cast(nn.Module, module).to(device)  # transformers decorates `to` in a way that type checkers misread
    return Qwen3Aligner(
        module.eval(),
        processor,
        _collator(cast(Any, module).config, processor, config, makes_features=makes_features),
        origin=ModelOrigin(path, revision, digest_of(folder, config.base, kind=ALIGNER)),
        place_in_slot=config.place_in_slot,
        weighs_neighbours=config.weighs_neighbours,
        max_duration_s=config.max_duration_s,
    )


def load_collator(config: Qwen3AlignerConfig) -> Qwen3AlignerCollator:
    """The collator of a checkpoint of any layout, without its weights; raises as `load` does."""
    described, processor = open_description(resolve_checkpoint(config.path, config.revision), ALIGNER)
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
