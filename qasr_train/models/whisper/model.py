"""Owns Whisper as evaluation sees it: the prompt of language and task, log-mel of 30 s, greedy transcripts.

The encoder runs once a batch, and language detection reads its output; transformers' own `generate` runs it twice.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import GenerationConfig, GenerationMixin, WhisperForConditionalGeneration
from transformers.models.whisper.tokenization_whisper import LANGUAGES as WHISPER_LANGUAGES

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Batch, Recording
from qasr_train.errors import CheckpointError, ConfigError, DataError
from qasr_train.models.base import Collator, Hypothesis, Recogniser
from qasr_train.models.locations import read_json, resolve_checkpoint
from qasr_train.models.pretrained import load_auto_processor, load_pretrained, require_model_type, save_pretrained
from qasr_train.models.settings import Capability
from qasr_train.models.whisper.config import WhisperConfig
from qasr_train.text.languages import resolve_language

FAMILY = "whisper"


def language_name(token: str) -> str:
    """The name of Whisper's language token: ours where we have one ("<|tl|>" is Filipino), else Whisper's own."""
    code = token.strip("<|>")
    try:
        return resolve_language(code, where="whisper") or code
    except DataError:
        return WHISPER_LANGUAGES.get(code, code).title()


class WhisperCollator:
    """Log-mel padded to 30 s, and the prompt: start, then language and task where the language is forced."""

    def __init__(self, processor: Any, generation: Mapping[str, Any]) -> None:
        """generation: the checkpoint's generation_config.json; `lang_to_id` is missing in English-only checkpoints."""
        self.tokenizer = processor.tokenizer
        self.extractor = processor.feature_extractor
        self.start_id = int(generation["decoder_start_token_id"])
        self.no_timestamps_id = generation.get("no_timestamps_token_id")
        self.transcribe_id = (generation.get("task_to_id") or {}).get("transcribe")
        self.language_ids = {language_name(token): id_ for token, id_ in (generation.get("lang_to_id") or {}).items()}

    @property
    def is_multilingual(self) -> bool:
        """Whether the checkpoint knows languages besides English."""
        return bool(self.language_ids)

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        """input_ids [B, 1] where the model is to tell the language, else [B, T] the whole prompt; features [B, M, 3000].

        Raises:
            ConfigError: the checkpoint does not know the language.
            DataError: a recording is longer than the window of 30 s, of which the extractor would drop the rest.
        """
        for one in recordings:
            if len(one.waveform) > self.extractor.n_samples:
                raise DataError(
                    f"utterance {one.utterance.id!r} lasts {len(one.waveform) / SAMPLE_RATE_HZ:.1f} s, more than Whisper's "
                    f"window of {self.extractor.n_samples / SAMPLE_RATE_HZ:g} s; transcribe it through evaluation, which "
                    "cuts it at silences"
                )
        prompt = [self.start_id] if language is None and self.is_multilingual else self.prompt(language)
        features = self.extractor(
            [recording.waveform for recording in recordings],
            sampling_rate=SAMPLE_RATE_HZ,
            return_attention_mask=True,
            return_tensors="pt",
        )
        input_ids = torch.tensor([prompt] * len(recordings), dtype=torch.int64)
        return Batch(
            ids=[recording.utterance.id for recording in recordings],
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            input_features=features["input_features"].to(torch.float32),
            input_features_mask=features["attention_mask"].to(torch.int64),
            duration_s=torch.tensor([len(r.waveform) / SAMPLE_RATE_HZ for r in recordings], dtype=torch.float32),
        )

    def prompt(self, language: str | None) -> list[int]:
        """Start, language and task (multilingual checkpoints only), no timestamps."""
        return self.prompt_ids(self._language_id(language))

    def prompt_ids(self, language_id: int | None) -> list[int]:
        """The prompt with a language token, or without where the checkpoint has none."""
        spoken = [self.start_id] if language_id is None else [self.start_id, language_id, self.transcribe_id]
        return [id_ for id_ in (*spoken, self.no_timestamps_id) if id_ is not None]

    def _language_id(self, language: str | None) -> int | None:
        if not self.is_multilingual:
            if language in (None, "English"):
                return None
            raise ConfigError(f"decode.language={language}: this Whisper checkpoint knows English only; use auto")
        if language not in self.language_ids:
            raise ConfigError(
                f"decode.language={language}: this Whisper checkpoint does not know it; use auto, or one of "
                f"{', '.join(sorted(self.language_ids))}"
            )
        return self.language_ids[language]


class Whisper(nn.Module):
    """A loaded Whisper; transcribes, and cannot be trained here."""

    family = FAMILY

    def __init__(self, module: WhisperForConditionalGeneration, processor: Any, generation: Mapping[str, Any]) -> None:
        super().__init__()
        self.module = module
        self.processor = processor
        self.collator = WhisperCollator(processor, generation)
        can_tell = self.collator.is_multilingual
        self.capabilities = frozenset({Capability.LANGUAGE}) if can_tell else frozenset[Capability]()
        self.generation = generation
        self.language_names = {id_: name for name, id_ in self.collator.language_ids.items()}

    @torch.inference_mode()
    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        """Greedy transcripts without timestamps, in row order; at most as many tokens as the decoder has positions."""
        encoded = self.module.model.encoder(batch.input_features.to(self.module.dtype))
        prompt = batch.input_ids
        if self.collator.is_multilingual and prompt.shape[1] == 1:
            prompt = self._detected_prompt(encoded)
        eos_id, num_positions = int(self.collator.tokenizer.eos_token_id), self.module.config.max_target_positions
        settings = GenerationConfig(
            max_new_tokens=min(max_new_tokens, num_positions - prompt.shape[1]),
            do_sample=False,
            num_beams=1,
            decoder_start_token_id=self.collator.start_id,
            eos_token_id=eos_id,
            pad_token_id=eos_id,
            suppress_tokens=self.generation.get("suppress_tokens"),
            begin_suppress_tokens=self.generation.get("begin_suppress_tokens"),
        )
        # Whisper's own generate() would detect, encode and pad again; the general one is all that a 30 s window needs.
        generate = cast(Any, GenerationMixin).generate
        generated = generate(self.module, encoder_outputs=encoded, decoder_input_ids=prompt, generation_config=settings)
        rows = generated[:, prompt.shape[1] :].tolist()
        return [
            self._hypothesis(utterance_id, ids, told, eos_id)
            for utterance_id, ids, told in zip(batch.ids, rows, prompt.tolist(), strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write a complete directory that plain `from_pretrained` loads."""
        save_pretrained(self.module, self.processor, folder)

    def _detected_prompt(self, encoded: Any) -> torch.Tensor:
        """int64 [B, T]: each row's prompt with the likeliest language token after the start token."""
        states = encoded.last_hidden_state
        start = torch.full((len(states), 1), self.collator.start_id, device=states.device)
        logits = self.module(encoder_outputs=encoded, decoder_input_ids=start, use_cache=False).logits[:, -1]
        candidates = torch.tensor(sorted(self.language_names), device=logits.device)
        heard = candidates[logits[:, candidates].argmax(dim=-1)].tolist()
        return torch.tensor([self.collator.prompt_ids(id_) for id_ in heard], device=states.device)

    def _hypothesis(self, utterance_id: str, ids: list[int], prompt: list[int], eos_id: int) -> Hypothesis:
        is_ended = eos_id in ids
        kept = ids[: ids.index(eos_id)] if is_ended else ids
        raw_text = self.collator.tokenizer.decode(kept, skip_special_tokens=True)
        language = self.language_names.get(prompt[1]) if self.language_names and len(prompt) > 1 else "English"
        return Hypothesis(
            id=utterance_id,
            text=raw_text.strip(),
            language=language,
            raw_text=raw_text,
            num_tokens=len(kept) + is_ended,
            is_truncated=not is_ended,
        )


def load(config: WhisperConfig, *, device: torch.device | str, dtype: torch.dtype) -> Recogniser:
    """Load a checkpoint onto a device.

    Raises:
        CheckpointError: the directory is incomplete, damaged, of another family, or not there.
    """
    folder = resolve_checkpoint(config.path, config.revision)
    processor, generation = _open(folder)
    module = load_pretrained(WhisperForConditionalGeneration, folder, dtype=dtype)
    return Whisper(module.to(device), processor, generation)


def load_collator(config: WhisperConfig) -> Collator:
    """The collator of a checkpoint, without its weights; raises as `load` does."""
    return WhisperCollator(*_open(resolve_checkpoint(config.path, config.revision)))


def _open(folder: Path) -> tuple[Any, dict[str, Any]]:
    require_model_type(folder, FAMILY, {"whisper"})
    file = folder / "generation_config.json"
    generation = read_json(file) if file.is_file() else {}
    if "decoder_start_token_id" not in generation:
        raise CheckpointError(
            f"{file}: missing, or without decoder_start_token_id, so the prompt is not known; copy it from the source"
        )
    return load_auto_processor(folder), generation
