"""Owns models of transformers' auto classes as evaluation sees them: CTC, or an encoder-decoder that wants audio alone.

A clip goes through processor and model by itself: many of these models hear a clip differently beside a longer one
(wav2vec2-base normalises over the padding too), and a figure must not depend on the company. It costs speed.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Batch, Recording
from qasr_train.models.base import Collator, Hypothesis, Recogniser
from qasr_train.models.locations import resolve_checkpoint
from qasr_train.models.pretrained import load_auto_processor, load_pretrained, require_model_type, save_pretrained
from qasr_train.models.settings import Capability
from qasr_train.models.transformers_auto.config import TransformersAutoConfig

FAMILY = "transformers_auto"
MIN_SAMPLES = 1_600  # convolutions and normalisation want more than a few
# Encoder-decoders that transcribe with nothing but audio; the others want a prompt, a language or their own processor.
SEQ2SEQ_TYPES = ("moonshine", "speech-encoder-decoder", "speech_to_text")
CTC_TYPES = tuple(MODEL_FOR_CTC_MAPPING_NAMES)
TRAINING_ONLY = ("masked_spec_embed",)  # published wav2vec2 checkpoints leave it out


class WaveformCollator:
    """The samples themselves; features are the processor's business, clip by clip."""

    def __init__(self, processor: Any) -> None:
        self.tokenizer = processor.tokenizer

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        """input_features [B, 1, S] are samples, zero past each row's end; input_ids [B, 0], for there is no prompt."""
        lengths = [max(len(recording.waveform), MIN_SAMPLES) for recording in recordings]
        samples = np.zeros((len(recordings), 1, max(lengths)), dtype=np.float32)
        mask = torch.zeros(len(recordings), max(lengths), dtype=torch.int64)
        for row, (recording, length) in enumerate(zip(recordings, lengths, strict=True)):
            samples[row, 0, : len(recording.waveform)] = recording.waveform
            mask[row, :length] = 1
        no_prompt = torch.zeros(len(recordings), 0, dtype=torch.int64)
        return Batch(
            ids=[recording.utterance.id for recording in recordings],
            input_ids=no_prompt,
            attention_mask=no_prompt.clone(),
            input_features=torch.from_numpy(samples),
            input_features_mask=mask,
            duration_s=torch.tensor([len(r.waveform) / SAMPLE_RATE_HZ for r in recordings], dtype=torch.float32),
        )


class TransformersAuto(nn.Module):
    """A model of the auto classes; transcribes, and cannot be trained here."""

    family = FAMILY
    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, module: PreTrainedModel, processor: Any, *, is_ctc: bool) -> None:
        super().__init__()
        self.module = module
        self.processor = processor
        self.is_ctc = is_ctc
        self.collator = WaveformCollator(processor)

    @torch.inference_mode()
    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts in row order, one clip after another.

        `max_new_tokens` bounds encoder-decoders alone: CTC says no more than it has frames, and letters are many.
        """
        lengths = batch.input_features_mask.sum(dim=1).tolist()
        hypotheses = []
        for utterance_id, samples, length in zip(batch.ids, batch.input_features, lengths, strict=True):
            inputs = self._inputs(samples[0, :length].cpu().numpy())
            ids, is_ended = (self._align(inputs), True) if self.is_ctc else self._generate(inputs, max_new_tokens)
            hypotheses.append(self._hypothesis(utterance_id, ids, is_ended))
        return hypotheses

    def save(self, folder: Path) -> None:
        """Write a complete directory that plain `from_pretrained` loads."""
        save_pretrained(self.module, self.processor, folder)

    def _inputs(self, waveform: np.ndarray) -> dict[str, torch.Tensor]:
        inputs = self.processor(waveform, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        to = {"device": self.module.device}
        return {
            name: tensor.to(**to, dtype=self.module.dtype) if tensor.is_floating_point() else tensor.to(**to)
            for name, tensor in inputs.items()
        }

    def _align(self, inputs: dict[str, torch.Tensor]) -> list[int]:
        """The likeliest token of each frame, repeats and blanks left out (Graves et al. 2006)."""
        frames = self.module(**inputs).logits[0].argmax(dim=-1).tolist()
        blank_id = self.module.config.pad_token_id
        return [token for token, _ in groupby(frames) if token != blank_id]

    def _generate(self, inputs: dict[str, torch.Tensor], max_new_tokens: int) -> tuple[list[int], bool]:
        generate = cast(Any, self.module).generate
        generated = generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1)
        ids = generated[0, 1:].tolist()  # without the token it starts from
        eos_id = cast(Any, self.module.generation_config).eos_token_id
        ends = [i for i, token in enumerate(ids) if token in (eos_id if isinstance(eos_id, list) else [eos_id])]
        return (ids[: ends[0]], True) if ends else (ids, False)

    def _hypothesis(self, utterance_id: str, ids: list[int], is_ended: bool) -> Hypothesis:
        settings = {"group_tokens": False} if self.is_ctc else {}  # they are grouped already
        raw_text = self.collator.tokenizer.decode(ids, skip_special_tokens=True, **settings)
        return Hypothesis(
            id=utterance_id,
            text=raw_text.strip(),
            language=None,
            raw_text=raw_text,
            num_tokens=len(ids) + is_ended,
            is_truncated=not is_ended,
        )


def load(config: TransformersAutoConfig, *, device: torch.device | str, dtype: torch.dtype) -> Recogniser:
    """Load a checkpoint onto a device.

    Raises:
        CheckpointError: the directory is incomplete, damaged, not there, or of a kind that wants more than audio.
    """
    folder = resolve_checkpoint(config.path, config.revision)
    is_ctc = require_model_type(folder, FAMILY, (*CTC_TYPES, *SEQ2SEQ_TYPES)) in CTC_TYPES
    processor = load_auto_processor(folder)
    auto_class = AutoModelForCTC if is_ctc else AutoModelForSpeechSeq2Seq
    module = load_pretrained(auto_class, folder, dtype=dtype, may_miss=TRAINING_ONLY)
    return TransformersAuto(module.to(device), processor, is_ctc=is_ctc)


def load_collator(config: TransformersAutoConfig) -> Collator:
    """The collator of a checkpoint, without its weights; raises as `load` does."""
    folder = resolve_checkpoint(config.path, config.revision)
    require_model_type(folder, FAMILY, (*CTC_TYPES, *SEQ2SEQ_TYPES))
    return WaveformCollator(load_auto_processor(folder))
