"""Owns Parakeet TDT as evaluation sees it: log-mel, greedy transducer decoding by transformers, transcripts.

Three settings that the published generation_config.json may lack, and without which the texts are wrong: decoding begins
with the blank; the logits of durations are no tokens; a row that has read all of its audio says no more (`_settings`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig, ParakeetForTDT

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Batch, Recording
from qasr_train.errors import CheckpointError
from qasr_train.models.base import Collator, Hypothesis, Recogniser
from qasr_train.models.blocks.fastconformer import log_mel
from qasr_train.models.locations import read_config, resolve_checkpoint
from qasr_train.models.parakeet_tdt.config import ParakeetTDTConfig
from qasr_train.models.pretrained import load_auto_processor, load_pretrained, require_model_type, save_pretrained
from qasr_train.models.settings import Capability

FAMILY = "parakeet_tdt"


class ParakeetTDTCollator:
    """Log-mel of recordings; the only token of the prompt is the blank."""

    def __init__(self, processor: Any, blank_id: int) -> None:
        self.tokenizer = processor.tokenizer
        self.extractor = processor.feature_extractor
        self.blank_id = blank_id

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        """Features [B, M, F] and the blank as input_ids [B, 1]; the model takes neither language nor context."""
        features, mask = log_mel(self.extractor, recordings)
        input_ids = torch.full((len(recordings), 1), self.blank_id, dtype=torch.int64)
        return Batch(
            ids=[recording.utterance.id for recording in recordings],
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            input_features=features,
            input_features_mask=mask,
            duration_s=torch.tensor([len(r.waveform) / SAMPLE_RATE_HZ for r in recordings], dtype=torch.float32),
        )


class ParakeetTDT(nn.Module):
    """A loaded Parakeet TDT; transcribes, and cannot be trained here."""

    family = FAMILY
    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, module: ParakeetForTDT, processor: Any) -> None:
        super().__init__()
        self.module = module
        self.processor = processor
        self.collator = ParakeetTDTCollator(processor, module.config.blank_token_id)

    @torch.inference_mode()
    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts in row order; a row's blanks do not count as tokens."""
        mask = batch.input_features_mask
        num_frames = self.module._get_subsampling_output_length(mask.sum(-1))
        # Every blank moves on by a frame at least, so no row needs more steps than this for so many tokens.
        num_steps = max_new_tokens + int(num_frames.max())
        output = self.module.generate(
            input_features=batch.input_features.transpose(1, 2).to(self.module.dtype),
            attention_mask=mask.bool(),
            generation_config=self._settings(num_steps),
        )
        is_exhausted = output.durations.sum(-1) >= num_frames
        rows = zip(batch.ids, output.sequences[:, 1:].tolist(), is_exhausted.tolist(), strict=True)
        return [self._hypothesis(*row, max_new_tokens) for row in rows]

    def save(self, folder: Path) -> None:
        """Write a complete directory that plain `from_pretrained` loads."""
        save_pretrained(self.module, self.processor, folder)

    def _settings(self, num_steps: int) -> GenerationConfig:
        config = self.module.config
        blank_id, num_tokens = config.blank_token_id, config.vocab_size
        durations = list(range(num_tokens, num_tokens + len(config.durations)))
        return GenerationConfig(
            max_new_tokens=num_steps,
            do_sample=False,
            decoder_start_token_id=blank_id,
            suppress_tokens=durations,
            # transformers pads the rows that are done only where there is an end token, and goes on decoding their last
            # frame where there is none. A transducer has none: name one that is suppressed, so that it never comes.
            eos_token_id=durations[0],
            pad_token_id=blank_id,
        )

    def _hypothesis(self, utterance_id: str, ids: list[int], is_exhausted: bool, max_new_tokens: int) -> Hypothesis:
        tokens = [id_ for id_ in ids if id_ != self.collator.blank_id]
        kept = tokens[:max_new_tokens]
        is_truncated = not is_exhausted or len(kept) < len(tokens)
        raw_text = self.collator.tokenizer.decode(kept, skip_special_tokens=True, group_tokens=False)
        return Hypothesis(
            id=utterance_id,
            text=raw_text.strip(),
            language=None,
            raw_text=raw_text,
            num_tokens=min(len(kept) + (not is_truncated), max_new_tokens),
            is_truncated=is_truncated,
        )


def load(config: ParakeetTDTConfig, *, device: torch.device | str, dtype: torch.dtype) -> Recogniser:
    """Load a checkpoint onto a device.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or not there.
        ConfigError: transformers' feature extractor needs a package that is not installed.
    """
    folder = resolve_checkpoint(config.path, config.revision)
    processor, _ = _open(folder)
    module = load_pretrained(ParakeetForTDT, folder, dtype=dtype)
    return ParakeetTDT(module.to(device), processor)


def load_collator(config: ParakeetTDTConfig) -> Collator:
    """The collator of a checkpoint, without its weights; raises as `load` does."""
    return ParakeetTDTCollator(*_open(resolve_checkpoint(config.path, config.revision)))


def _open(folder: Path) -> tuple[Any, int]:
    require_model_type(folder, FAMILY, {"parakeet_tdt"})
    blank_id = read_config(folder).get("blank_token_id")
    if blank_id is None:
        raise CheckpointError(f"{folder}: config.json has no blank_token_id; copy it from the source again")
    return load_auto_processor(folder), int(blank_id)
