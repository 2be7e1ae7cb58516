"""Owns what a Qwen3-ASR model is given and what it is taught: log-mel, prompt, target, padding and labels.

Input: recordings (utterance + waveform). Output: a padded Batch. CPU only, picklable, one tokenizer call a batch.
Labels come from structure: ids are assembled from known pieces, and exactly the target piece is supervised, so that
no padding side, context or companion can move the mask (the faults of other collators: docs/training.md).
"""

from collections.abc import Collection, Sequence

from transformers import Qwen3ASRProcessor

from qasr_train.batch import Batch, Recording
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.models.blocks.byte_level import token_bytes
from qasr_train.models.blocks.log_mel import LogMel
from qasr_train.models.blocks.rows import TokenRow, after_prompts, pad_rows
from qasr_train.models.blocks.sound import Sound
from qasr_train.text.alternatives.notation import first_spelling

ASR_TEXT = "<asr_text>"
NO_LANGUAGE = "None"


class Qwen3ASRCollator:
    """Collates recordings for one processor (tokenizer + feature extractor settings).

    Raises:
        ValueError: the tokenizer lacks one of the model's special tokens.
    """

    windows_s = ((1.0, 0.0),)
    max_target_tokens = None

    def __init__(
        self, processor: Qwen3ASRProcessor, *, makes_features: bool = True, makes_prompt_features: bool = True
    ) -> None:
        """makes_features: False, training batches carry the padded waveforms, and `with_features` makes their log-mel.

        makes_prompt_features: the same of batches made for transcription.
        """
        self.tokenizer = processor.tokenizer
        self.makes_features, self.makes_prompt_features = makes_features, makes_prompt_features
        self.sound = Sound(processor.feature_extractor)
        self.audio_id = self._special("<|audio_pad|>")
        self.end_id = self._special("<|im_end|>")
        self.pad_id = self._special("<|endoftext|>")
        self.start_id = self._special("<|im_start|>")
        self.asr_text_id = self._special(ASR_TEXT)
        newline, user, assistant = self._encode(["\n", "user\n", "assistant\n"])
        self._after_system = [self.end_id, *newline]
        self._before_audio = [self.start_id, *user, self._special("<|audio_start|>")]
        self._after_audio = [self._special("<|audio_end|>"), self.end_id, *newline, self.start_id, *assistant]

    def for_training(self, recordings: Sequence[Recording]) -> Batch:
        """Prompt and target of every recording, padded on the right; labels on the target alone.

        Raises:
            DataError: an utterance has no transcript (names its id and origin).
        """
        targets = [target_text(r.utterance) for r in recordings]
        return self._collate(recordings, targets, supervised=True, systems=[system_turn(r) for r in recordings])

    def for_transcription(
        self, recordings: Sequence[Recording], *, language: str | None = None, use_context: bool = True
    ) -> Batch:
        """Prompts only, padded on the left so that generation goes on from the last column; no labels.

        Args:
            recordings: waveforms of the batch.
            language: the model's name of the language to force for all rows; None lets the model tell it.
            use_context: whether an utterance's context goes into the system turn.
        """
        forced = [(f"language {language}", "") if language else None for _ in recordings]
        systems = [system_turn(r, use_context=use_context) for r in recordings]
        return self._collate(recordings, forced, supervised=False, systems=systems)

    def num_target_tokens(self, utterance: Utterance) -> int:
        """Supervised tokens of an utterance: language tag, transcript and end token."""
        return len(self._sequences([0], [target_text(utterance)], [""], supervised=True)[0].target)

    def require_languages(self, languages: Collection[str], where: str) -> None:
        """Any can be taught: their names are words of the target."""

    def token_bytes(self, token_id: int) -> bytes:
        """One token for reading, as UTF-8 of which it may hold a part of a letter; special ones by their names."""
        return token_bytes(self.tokenizer, token_id)

    def num_audio_tokens(self, num_mel_frames: int) -> int:
        """Positions the encoder makes of so many mel frames."""
        return self.sound.num_audio_tokens(num_mel_frames)

    @property
    def log_mel(self) -> LogMel:
        """Makes the features of a clip."""
        return self.sound.log_mel

    def _collate(
        self,
        recordings: Sequence[Recording],
        targets: Sequence[tuple[str, str] | None],
        *,
        supervised: bool,
        systems: list[str | None],
    ) -> Batch:
        sequences = self._sequences(self.sound.num_positions(recordings), targets, systems, supervised=supervised)
        input_ids, attention_mask, labels = pad_rows(sequences, self.pad_id, on_left=not supervised)
        return Batch(
            ids=[r.utterance.id for r in recordings],
            input_ids=input_ids,
            attention_mask=attention_mask,
            labels=labels if supervised else None,
            **self.sound.fields(
                recordings, makes_features=self.makes_features if supervised else self.makes_prompt_features
            ),
        )

    def with_features(self, batch: Batch) -> Batch:
        """The batch with the log-mel of its `waveforms`, made where they are; any other batch as it is."""
        return self.sound.with_features(batch)

    def with_beginnings(self, batch: Batch, begun: Sequence[Sequence[int]]) -> Batch:
        """A transcription batch in which these ids of each answer stand after its prompt."""
        return after_prompts(batch, begun, self.pad_id)

    def _sequences(
        self,
        num_audio: list[int],
        targets: Sequence[tuple[str, str] | None],
        systems: list[str | None],
        *,
        supervised: bool,
    ) -> list[TokenRow]:
        texts = [f"system\n{system or ''}" for system in systems]
        texts += [piece for target in targets if target for piece in target]
        encoded = iter(self._encode(texts))
        turns = [next(encoded) for _ in systems]
        rows = []
        for audio, target, system, turn in zip(num_audio, targets, systems, turns, strict=True):
            before = [] if system is None else [self.start_id, *turn, *self._after_system]
            prompt = [*before, *self._before_audio, *[self.audio_id] * audio, *self._after_audio]
            spoken = [*next(encoded), self.asr_text_id, *next(encoded)] if target else []
            if supervised:
                rows.append(TokenRow(prompt, [*spoken, self.end_id]))
            else:
                rows.append(TokenRow(prompt + spoken, []))
        return rows

    def _special(self, token: str) -> int:
        token_id = self.tokenizer.backend_tokenizer.token_to_id(token)  # get_vocab() copies 150,000 entries for it
        if token_id is None:
            raise ValueError(f"the tokenizer has no token {token!r}; a Qwen3-ASR tokenizer has it")
        return int(token_id)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        # Text is data: "<|im_end|>" inside a transcript must not become the end token.
        return self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def system_turn(recording: Recording, *, use_context: bool = True) -> str | None:
    """What stands in the system turn, "" for an empty one; None: there is no such turn, as vLLM sends it without a prompt."""
    if not recording.has_system_turn:
        return None
    return (recording.utterance.context or "") if use_context else ""


def target_text(utterance: Utterance) -> tuple[str, str]:
    """The two text pieces of what the model is to say: before and after `<asr_text>`.

    Of several right spellings the first is taught.
    No speech (empty transcript) and unknown language are both `language None`: the model learns no language from the row.

    Raises:
        DataError: the transcript is not known, holds `<asr_text>` itself, or opens alternatives and does not close them.
    """
    where = f"{utterance.origin}: " if utterance.origin else ""
    if utterance.text is None:
        raise DataError(f"{where}utterance {utterance.id!r} has no transcript; training needs `text` in every row")
    if ASR_TEXT in utterance.text:
        raise DataError(f"{where}utterance {utterance.id!r} holds {ASR_TEXT} in its transcript; remove it")
    text = first_spelling(utterance.text).strip()
    language = utterance.language if text else None
    return f"language {language or NO_LANGUAGE}", text
