"""Owns Canary-Qwen as evaluation sees it: the prompt around the audio's frames, log-mel, greedy transcripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoTokenizer, GenerationConfig, ParakeetFeatureExtractor

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Batch, Recording
from qasr_train.errors import CheckpointError
from qasr_train.files import write_json
from qasr_train.models.base import Collator, Hypothesis, Recogniser
from qasr_train.models.blocks.fastconformer import log_mel
from qasr_train.models.canary_qwen.config import CanaryQwenConfig
from qasr_train.models.canary_qwen.published import Sizes, SpeechLanguageModel, load_module, read_sizes
from qasr_train.models.locations import SMALL_FILES, one_line, read_config, resolve_checkpoint
from qasr_train.models.pretrained import naming_missing_packages
from qasr_train.models.safetensors_files import MODEL_FILE, write_tensors
from qasr_train.models.settings import Capability

FAMILY = "canary_qwen"
# NeMo's "qwen" prompt format: one user turn; the audio's frames go between the two.
BEFORE_AUDIO = "<|im_start|>user\nTranscribe the following: "
AFTER_AUDIO = "<|im_end|>\n<|im_start|>assistant\n"
LLM_FOLDER = "llm"  # beside the weights: the tokenizer and config.json of the language model


class CanaryQwenCollator:
    """The prompt with a placeholder for every frame of audio, padded on the left, and the log-mel."""

    def __init__(self, tokenizer: Any, sizes: Sizes) -> None:
        self.tokenizer = tokenizer
        tokenizer.add_special_tokens({"additional_special_tokens": [sizes.audio_token]})
        self.audio_id = int(tokenizer.convert_tokens_to_ids(sizes.audio_token))
        self.end_ids = [int(tokenizer.convert_tokens_to_ids(token)) for token in ("<|im_end|>", "<|endoftext|>")]
        with naming_missing_packages(FAMILY):
            self.extractor = ParakeetFeatureExtractor(feature_size=sizes.encoder.num_mel_bins)
        self.num_halvings = sizes.encoder.subsampling_factor.bit_length() - 1
        encoded = tokenizer([BEFORE_AUDIO, AFTER_AUDIO], add_special_tokens=False)["input_ids"]
        self._before, self._after = encoded

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        """input_ids [B, T] with `audio_id` where frames go; the model takes neither language nor context."""
        features, mask = log_mel(self.extractor, recordings)
        rows = [
            [*self._before, *[self.audio_id] * self.num_audio_tokens(int(frames)), *self._after]
            for frames in mask.sum(dim=1)
        ]
        num_columns = max(len(row) for row in rows)
        padded = [[self.end_ids[1]] * (num_columns - len(row)) + row for row in rows]
        is_token = [[0] * (num_columns - len(row)) + [1] * len(row) for row in rows]
        return Batch(
            ids=[recording.utterance.id for recording in recordings],
            input_ids=torch.tensor(padded, dtype=torch.int64),
            attention_mask=torch.tensor(is_token, dtype=torch.int64),
            input_features=features,
            input_features_mask=mask,
            duration_s=torch.tensor([len(r.waveform) / SAMPLE_RATE_HZ for r in recordings], dtype=torch.float32),
        )

    def num_audio_tokens(self, num_mel_frames: int) -> int:
        """Frames the encoder makes of so many: convolutions of stride 2, kernel 3, padding 1."""
        for _ in range(self.num_halvings):
            num_mel_frames = (num_mel_frames - 1) // 2 + 1
        return num_mel_frames


class CanaryQwen(nn.Module):
    """A loaded Canary-Qwen; transcribes, and cannot be trained here."""

    family = FAMILY
    capabilities: frozenset[Capability] = frozenset()

    def __init__(
        self,
        module: SpeechLanguageModel,
        collator: CanaryQwenCollator,
        *,
        names: dict[str, str],
        config: dict[str, Any],
    ) -> None:
        """names: the published name of each tensor. config: config.json as it was read."""
        super().__init__()
        self.module = module
        self.collator = collator
        self.names = names
        self.config = config

    @torch.inference_mode()
    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts in row order."""
        llm = cast(Any, self.module.llm.get_base_model())
        is_audio = batch.input_ids == self.collator.audio_id
        embeds = llm.get_input_embeddings()(batch.input_ids.masked_fill(is_audio, 0))
        audio = self.module.encode(batch.input_features, batch.input_features_mask)
        embeds = embeds.masked_scatter(is_audio[..., None].expand_as(embeds), audio.to(embeds.dtype))
        generated = llm.generate(
            inputs_embeds=embeds,
            attention_mask=batch.attention_mask,
            generation_config=GenerationConfig(
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=self.collator.end_ids,
                pad_token_id=self.collator.end_ids[1],
            ),
        ).tolist()
        return [self._hypothesis(*row) for row in zip(batch.ids, generated, strict=True)]

    def save(self, folder: Path) -> None:
        """Write the published layout again, with the tokenizer and the language model's sizes beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self.module.state_dict()
        write_tensors({theirs: state[ours] for ours, theirs in self.names.items()}, folder / MODEL_FILE)
        write_json(folder / "config.json", self.config)
        cast(Any, self.module.llm.get_base_model()).config.save_pretrained(folder / LLM_FOLDER)
        self.collator.tokenizer.save_pretrained(folder / LLM_FOLDER)

    def _hypothesis(self, utterance_id: str, ids: list[int]) -> Hypothesis:
        ends = [i for i, token in enumerate(ids) if token in self.collator.end_ids]
        kept = ids[: ends[0]] if ends else ids
        raw_text = self.collator.tokenizer.decode(kept, skip_special_tokens=True)
        return Hypothesis(
            id=utterance_id,
            text=raw_text.strip(),
            language=None,
            raw_text=raw_text,
            num_tokens=len(kept) + bool(ends),
            is_truncated=not ends,
        )


def load(config: CanaryQwenConfig, *, device: torch.device | str, dtype: torch.dtype) -> Recogniser:
    """Load a checkpoint onto a device.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or not there.
        ConfigError: transformers' feature extractor needs a package that is not installed.
    """
    folder, collator, sizes = _open(config)
    module, names = load_module(folder, sizes, dtype=dtype)
    return CanaryQwen(module.to(device), collator, names=names, config=read_config(folder))


def load_collator(config: CanaryQwenConfig) -> Collator:
    """The collator of a checkpoint, without its weights; raises as `load` does."""
    return _open(config)[1]


def _open(config: CanaryQwenConfig) -> tuple[Path, CanaryQwenCollator, Sizes]:
    folder = resolve_checkpoint(config.path, config.revision)
    named = read_config(folder).get("pretrained_llm")
    if config.llm is None and not (folder / LLM_FOLDER).is_dir() and not named:
        raise CheckpointError(
            f"{folder}: config.json names no pretrained_llm; say whose tokenizer it is with model.llm=PATH"
        )
    beside = str(folder / LLM_FOLDER) if (folder / LLM_FOLDER).is_dir() else str(named)
    llm_folder = resolve_checkpoint(config.llm or beside, files=SMALL_FILES)
    sizes = read_sizes(folder, llm_folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(llm_folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception on a damaged file
        raise CheckpointError(
            f"{llm_folder}: the tokenizer cannot be opened ({one_line(error)}); copy its files again"
        ) from error
    return folder, CanaryQwenCollator(tokenizer, sizes), sizes
