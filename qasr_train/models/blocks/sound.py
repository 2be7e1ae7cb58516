"""Owns what of a batch is sound: log-mel, padded to whole chunks, or waveforms of which the model makes it on its device.

Input: recordings. Output: the fields of a `Batch` that hold sound. One for recogniser and aligner. CPU only, picklable.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Batch, Recording
from qasr_train.models.blocks.log_mel import LogMel


class Sound:
    """The sound of a batch, by the settings of one feature extractor."""

    def __init__(self, extractor: Any) -> None:
        """extractor: transformers' Qwen3ASRFeatureExtractor."""
        self.log_mel = LogMel(
            n_fft=extractor.n_fft,
            hop_samples=extractor.hop_length,
            min_samples=extractor.min_length,
            filters=torch.from_numpy(extractor.mel_filters).to(torch.float32),
        )
        self.chunk_frames = 2 * extractor.n_window

    def num_audio_tokens(self, num_mel_frames: int) -> int:
        """Positions the encoder makes of so many mel frames: 13 a 100-frame chunk, three stride-2 convolutions of the rest."""
        chunks, rest = divmod(num_mel_frames, self.chunk_frames)
        for _ in range(3):
            rest = (rest + 1) // 2
        return 13 * chunks + rest

    def num_positions(self, recordings: Sequence[Recording]) -> list[int]:
        """Audio positions of each."""
        return [self.num_audio_tokens(self.log_mel.num_frames(one.num_samples)) for one in recordings]

    def fields(self, recordings: Sequence[Recording], *, makes_features: bool) -> dict[str, Any]:
        """The fields of a batch that hold sound, its mask and its seconds: features, or what stands for them."""
        num_frames = [self.log_mel.num_frames(one.num_samples) for one in recordings]
        return {
            "input_features_mask": self._pad_mask(num_frames),
            "duration_s": torch.tensor([one.num_samples / SAMPLE_RATE_HZ for one in recordings], dtype=torch.float32),
            **self._audio(recordings, num_frames, makes_features=makes_features),
        }

    def with_features(self, batch: Batch) -> Batch:
        """The batch with the log-mel of its `waveforms`, made where they are; any other batch as it is."""
        if batch.waveforms is None or batch.num_samples is None:
            return batch
        num_frames = batch.input_features_mask.shape[1]
        features = self.log_mel.of_batch(batch.waveforms, batch.num_samples, num_frames=num_frames)
        return replace(batch, input_features=features, waveforms=None, num_samples=None)

    def _pad_mask(self, num_frames: list[int]) -> torch.Tensor:
        """int64 [B, F]; F a multiple of one chunk."""
        width = -(-max(num_frames) // self.chunk_frames) * self.chunk_frames
        return (torch.arange(width) < torch.tensor(num_frames)[:, None]).to(torch.int64)

    def _audio(self, recordings: Sequence[Recording], num_frames: list[int], *, makes_features: bool) -> dict[str, Any]:
        num_rows, num_mels = len(recordings), self.log_mel.num_mels
        nothing = torch.zeros(num_rows, num_mels, 0)
        held = [r.precomputed for r in recordings]
        if all(one is not None and one.encoded is not None for one in held):
            return {"input_features": nothing, "encoded": torch.cat([one.encoded for one in held])}  # type: ignore[union-attr, misc]
        if not makes_features and not any(held):
            return {"input_features": nothing, **self._pad_waveforms(recordings)}
        width = -(-max(num_frames) // self.chunk_frames) * self.chunk_frames
        features = torch.empty(num_rows, num_mels, width)
        for row, (recording, one, frames) in enumerate(zip(recordings, held, num_frames, strict=True)):
            mel = one.mel if one is not None and one.mel is not None else self.log_mel(recording.waveform)
            features[row, :, :frames] = mel
            features[row, :, frames:] = 0.0
        return {"input_features": features}

    def _pad_waveforms(self, recordings: Sequence[Recording]) -> dict[str, torch.Tensor]:
        """float32 [B, S] waveforms, zero past each row's end, and their int64 [B] samples, 0.5 s at least."""
        num_samples = [max(r.num_samples, self.log_mel.min_samples) for r in recordings]
        waveforms = torch.zeros(len(recordings), max(num_samples))
        for row, recording in enumerate(recordings):
            waveforms[row, : recording.num_samples] = torch.from_numpy(recording.waveform)
        return {"waveforms": waveforms, "num_samples": torch.tensor(num_samples)}
