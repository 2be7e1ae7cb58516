"""Owns what a Whisper model is given and what it is taught: log-mel of a window, prompt, target, padding and labels.

Input: recordings (utterance + waveform). Output: a padded Batch. CPU only, picklable. Labels come from structure, as Qwen3-ASR's:
ids are assembled from known pieces (tokens.py), and exactly the target piece is supervised.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import torch
import torch.nn.functional as F

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Batch, Recording
from qasr_train.errors import ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.blocks.byte_level import token_bytes
from qasr_train.models.blocks.rows import TokenRow, pad_rows
from qasr_train.models.whisper.config import WhisperConfig, Window
from qasr_train.models.whisper.encoder import CONV_FRAMES
from qasr_train.models.whisper.log_mel import WhisperLogMel
from qasr_train.models.whisper.tokens import WhisperTokens, transcript_of

CLIP_FRAMES = 50  # a clip's own window is a multiple of half a second, so that batches have few shapes


class WhisperCollator:
    """Collates recordings for one checkpoint."""

    audio_id = None  # audio takes no positions of the decoder

    def __init__(
        self,
        extractor: Any,
        tokens: WhisperTokens,
        *,
        window: Window = Window.full,
        full_window_fraction: float = 0.0,
        makes_features: bool = True,
    ) -> None:
        """extractor: transformers' WhisperFeatureExtractor. window, full_window_fraction: see `WhisperConfig`.

        makes_features: False, training batches carry the padded waveforms, and `with_features` makes their log-mel.
        """
        self.tokens, self.window, self.full_window_fraction = tokens, window, full_window_fraction
        self.makes_features = makes_features
        self.log_mel = WhisperLogMel(
            n_fft=extractor.n_fft,
            hop_samples=extractor.hop_length,
            window_samples=extractor.n_samples,
            filters=torch.from_numpy(extractor.mel_filters).to(torch.float32),
        )

    @classmethod
    def of(
        cls,
        config: WhisperConfig,
        processor: Any,
        generation: Mapping[str, Any],
        model: Any,
        *,
        makes_features: bool = True,
    ) -> "WhisperCollator":
        """The collator of an opened checkpoint. model: its transformers configuration; raises as `WhisperTokens`."""
        tokens = WhisperTokens(
            processor.tokenizer,
            generation,
            num_positions=model.max_target_positions,
            supervise_language=config.supervise_language,
        )
        return cls(
            processor.feature_extractor,
            tokens,
            window=config.window,
            full_window_fraction=config.full_window_fraction,
            makes_features=makes_features,
        )

    @property
    def windows_s(self) -> tuple[tuple[float, float], ...]:
        """Shares of a batch's rows, and the seconds the encoder is given there of the shortest clip."""
        frame_s = self.log_mel.hop_samples / SAMPLE_RATE_HZ
        full_s, clip_s = self.log_mel.window_frames * frame_s, CLIP_FRAMES * frame_s
        if self.window is Window.full:
            return ((1.0, full_s),)
        share = self.full_window_fraction
        return ((1.0 - share, clip_s), (share, full_s)) if share else ((1.0, clip_s),)

    @property
    def max_target_tokens(self) -> int:
        """See `TrainingCollator`."""
        return self.tokens.max_target_tokens

    def require_languages(self, languages: Collection[str], where: str) -> None:
        """See `TrainingCollator`."""
        self.tokens.require_languages(languages, where)

    def for_training(self, recordings: Sequence[Recording]) -> Batch:
        """Prompt and target of every recording, padded on the right; labels on the target alone.

        Raises:
            DataError: an utterance has no transcript, one too long for the decoder's positions, or lasts longer than the window.
            ConfigError: the checkpoint does not know a language.
        """
        rows = [self._training_row(one.utterance) for one in recordings]
        input_ids, attention_mask, labels = pad_rows(rows, self.tokens.end_id)
        is_full = [self.window is Window.full] * len(rows)
        if self.full_window_fraction:
            is_full = _drawn(self.full_window_fraction, recordings)
        return self._batch(
            recordings, input_ids, attention_mask, labels, is_full=is_full, makes_features=self.makes_features
        )

    def for_transcription(
        self, recordings: Sequence[Recording], *, language: str | None = None, use_context: bool = True
    ) -> Batch:
        """Prompts alone, padded on the left; they end at the start token where the model is to tell the language.

        Raises:
            ConfigError: the checkpoint does not know the language.
            DataError: a recording is longer than the window.
        """
        start = [self.tokens.sot_id]
        if language is not None or not self.tokens.is_multilingual:
            try:
                start += self.tokens.after_start(language)
            except ConfigError as error:
                raise ConfigError(f"decode.language={language}: {error}; use auto, or one of those") from None
        contexts = [one.utterance.context if use_context else None for one in recordings]
        rows = [TokenRow([*self.tokens.context_ids(one, beside=len(start)), *start], []) for one in contexts]
        input_ids, attention_mask, _ = pad_rows(rows, self.tokens.end_id, on_left=True)
        is_full = [self.window is Window.full] * len(rows)
        return self._batch(recordings, input_ids, attention_mask, None, is_full=is_full, makes_features=True)

    def num_target_tokens(self, utterance: Utterance) -> int:
        """Supervised tokens of an utterance: transcript and end token, what is told of the language where that is taught."""
        return len(self._row(utterance).target)

    def token_bytes(self, token_id: int) -> bytes:
        """One token for reading, as UTF-8 of which it may hold a part of a letter; special ones by their names."""
        return token_bytes(self.tokens.tokenizer, token_id)

    def num_positions(self, frames_mask: torch.Tensor) -> list[int]:
        """Positions of the encoder that each row has. frames_mask: `Batch.input_features_mask`, on the host."""
        num_rows, width = frames_mask.shape
        if width == self.log_mel.window_frames:
            return [width // 2] * num_rows
        return [own_window(frames) // 2 for frames in frames_mask.sum(1).tolist()]

    def with_features(self, batch: Batch) -> Batch:
        """The batch with the log-mel of its `waveforms`, made where they are; any other batch as it is."""
        if batch.waveforms is None or batch.num_samples is None:
            return batch
        num_frames = batch.input_features_mask.shape[1]
        heard = min(num_frames, self.log_mel.window_frames)
        features = self.log_mel.of_batch(batch.waveforms, batch.num_samples, num_frames=heard)
        features = F.pad(features, (0, num_frames - heard))  # past the window, as `_audio` has it
        return replace(batch, input_features=features, waveforms=None, num_samples=None)

    def _row(self, utterance: Utterance) -> TokenRow:
        return self.tokens.training_row(utterance.language, transcript_of(utterance), utterance.context)

    def _training_row(self, utterance: Utterance) -> TokenRow:
        row = self._row(utterance)
        if (num_tokens := len(row.prompt) + len(row.target)) > self.tokens.num_positions:
            where = f"{utterance.origin}: " if utterance.origin else ""
            raise DataError(
                f"{where}utterance {utterance.id!r} takes {num_tokens} tokens, more than the "
                f"{self.tokens.num_positions} positions of Whisper's decoder; cut the clip, or set data.too_long=drop"
            )
        return row

    def _batch(
        self,
        recordings: Sequence[Recording],
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor | None,
        *,
        is_full: Sequence[bool],
        makes_features: bool,
    ) -> Batch:
        self._require_short(recordings)
        num_frames = [self.log_mel.num_frames(one.num_samples) for one in recordings]
        full = self.log_mel.window_frames
        if all(is_full):
            width, heard = full, num_frames
        else:  # the silence in the full window of a row is marked as heard, so that it is told from what fills a row up
            heard = [full if whole else own for whole, own in zip(is_full, num_frames, strict=True)]
            width = max(map(own_window, heard)) + CONV_FRAMES
        return Batch(
            ids=[one.utterance.id for one in recordings],
            input_ids=input_ids,
            attention_mask=attention_mask,
            labels=labels,
            input_features_mask=(torch.arange(width) < torch.tensor(heard)[:, None]).to(torch.int64),
            duration_s=torch.tensor([one.num_samples / SAMPLE_RATE_HZ for one in recordings], dtype=torch.float32),
            **self._audio(recordings, width, makes_features=makes_features),
        )

    def _audio(self, recordings: Sequence[Recording], width: int, *, makes_features: bool) -> dict[str, Any]:
        """The fields of a batch that hold sound: features, or what stands for them."""
        nothing = torch.zeros(len(recordings), self.log_mel.num_mels, 0)
        held = [one.precomputed for one in recordings]
        if all(one is not None and one.encoded is not None for one in held):
            return {"input_features": nothing, "encoded": torch.cat([one.encoded for one in held])}  # type: ignore[union-attr, misc]
        if not makes_features and not any(held):
            waveforms = torch.zeros(len(recordings), max(1, *(one.num_samples for one in recordings)))
            for row, one in enumerate(recordings):
                waveforms[row, : one.num_samples] = torch.from_numpy(one.waveform)
            num_samples = torch.tensor([one.num_samples for one in recordings])
            return {"input_features": nothing, "waveforms": waveforms, "num_samples": num_samples}
        features = torch.empty(len(recordings), self.log_mel.num_mels, width)
        for row, (recording, known) in enumerate(zip(recordings, held, strict=True)):
            mel = known.mel if known is not None and known.mel is not None else self.log_mel(recording.waveform)
            features[row, :, : mel.shape[1]] = mel
            features[row, :, mel.shape[1] :] = mel[:, -1:]  # of silence, as the extractor's
        features[..., self.log_mel.window_frames :] = 0.0  # past the window stands what convolutions are padded with
        return {"input_features": features}

    def _require_short(self, recordings: Sequence[Recording]) -> None:
        window_samples = self.log_mel.window_samples
        for one in recordings:
            if one.num_samples > window_samples:
                raise DataError(
                    f"utterance {one.utterance.id!r} lasts {one.num_samples / SAMPLE_RATE_HZ:.1f} s, more than Whisper's window "
                    f"of {window_samples / SAMPLE_RATE_HZ:g} s; evaluation cuts it at silences, for training cut it yourself"
                )


def own_window(num_frames: int) -> int:
    """Frames of a clip's own window: its own, up to the next half second."""
    return -(-num_frames // CLIP_FRAMES) * CLIP_FRAMES


def _drawn(fraction: float, recordings: Sequence[Recording]) -> list[bool]:
    """This share of the rows, up to one more or less by chance: batches are planned by the share.

    A draw by what is in the batch, so that resuming repeats it; batches hold other clips in every epoch.
    """
    ids = "\n".join(one.utterance.id for one in recordings)
    digest = int.from_bytes(blake2b(ids.encode(), digest_size=6).digest(), "little")
    rng = random.Random(digest)
    num_drawn = int(fraction * len(recordings) + rng.random())
    drawn = set(rng.sample(range(len(recordings)), num_drawn))
    return [row in drawn for row in range(len(recordings))]
