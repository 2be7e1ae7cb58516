"""Owns the log-mel of a clip as Whisper hears it: silence of zeros to the end of its window, as WhisperFeatureExtractor pads it.

Input: as `LogMel`. Output: the frames that hold sound and one of the silence after it, which all others are equal to.
"""

import torch
import torch.nn.functional as F

from qasr_train.models.blocks.log_mel import LogMel


class WhisperLogMel(LogMel):
    """`LogMel` of a clip at the beginning of a window; within 1e-5 of transformers' extractor."""

    def __init__(self, *, n_fft: int, hop_samples: int, window_samples: int, filters: torch.Tensor) -> None:
        """window_samples: S of the whole window, 30 s in all published models; filters: float32 [n_fft / 2 + 1, M]."""
        super().__init__(n_fft=n_fft, hop_samples=hop_samples, min_samples=0, filters=filters)
        self.window_samples = window_samples

    @property
    def fingerprint(self) -> bytes:
        """As `LogMel` has it."""
        return f"whisper {self.window_samples} ".encode() + super().fingerprint

    @property
    def window_frames(self) -> int:
        """F of the whole window."""
        return self.window_samples // self.hop_samples

    def num_frames(self, num_samples: int) -> int:
        """Frames that touch the sound of a clip of so many samples, and one of silence; the window's at most."""
        num_touching = (num_samples + self.n_fft // 2 - 1) // self.hop_samples + 1
        return min(num_touching + 1, self.window_frames)

    @torch.no_grad()
    def of_batch(self, waveforms: torch.Tensor, num_samples: torch.Tensor, *, num_frames: int) -> torch.Tensor:
        """As `LogMel.of_batch`, the frames past a row's own being those of silence."""
        return super().of_batch(waveforms, num_samples, num_frames=num_frames)

    def _padded(self, samples: torch.Tensor) -> torch.Tensor:
        half = self.n_fft // 2
        is_whole = self.num_frames(len(samples)) == self.window_frames
        end = self.window_samples if is_whole else (self.num_frames(len(samples)) - 1) * self.hop_samples + half
        samples = F.pad(samples, (0, max(0, end - len(samples))))
        after = (
            samples[-half - 1 : -1].flip(0) if is_whole else samples[:0]
        )  # only there sound may lie in what is reflected
        return torch.cat([samples[1 : half + 1].flip(0), samples, after])

    def _gathered(self, waveforms: torch.Tensor, num_samples: torch.Tensor, width: int) -> torch.Tensor:
        position = (torch.arange(width, device=waveforms.device) - self.n_fft // 2).abs()[None]
        last = self.window_samples - 1
        position = torch.where(position > last, 2 * last - position, position).expand(len(waveforms), -1)
        sound = waveforms.gather(1, position.clamp(max=waveforms.shape[1] - 1))
        return sound.masked_fill(position >= num_samples[:, None], 0.0)

    def _of_rows(self, waveforms: torch.Tensor, num_samples: torch.Tensor, num_frames: int) -> torch.Tensor:
        width = (num_frames - 1) * self.hop_samples + self.n_fft
        log_mel = self._log_power(self._gathered(waveforms, num_samples, width))
        loudest = log_mel.amax(dim=(1, 2), keepdim=True)
        return ((torch.maximum(log_mel, loudest - 8.0) + 4.0) / 4.0).contiguous()
