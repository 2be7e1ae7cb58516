"""Owns the log-mel of a clip by itself, as Qwen3ASRFeatureExtractor computes it for that clip alone (within 1e-5).

A family that pads otherwise says so in a subclass: `num_frames`, `_padded` for one clip, `_gathered` for rows of a batch.

Input: float32 samples at 16 kHz, one clip on a CPU core or a padded batch on any device. Output: float32 [M, F] or [B, M, F].
"""

import numpy as np
import torch

# Raise it with every change of what `LogMel` computes: it tells features in caches of another code apart.
FEATURES_VERSION = 1
_BLOCK_FRAMES = 512  # frames transformed at a time: the block and its spectrum stay in the cache of a core
_BAND_MELS = 32  # filters multiplied at a time: a band touches few of the frequencies, the rest of the matrix is zero
_DEVICE_FRAMES = 2**16  # frames of a batch transformed at a time: bounds the memory of the spectra to some 250 MB
_FLOOR = 1e-10


class LogMel:
    """Makes features clip by clip (`__call__`) or for a padded batch on its device (`of_batch`); holds no state of a clip.

    Speed: scripts/bench/bench_features.py, docs/benchmarks.md.
    """

    def __init__(self, *, n_fft: int, hop_samples: int, min_samples: int, filters: torch.Tensor) -> None:
        """filters: float32 [n_fft / 2 + 1, M]."""
        self.n_fft, self.hop_samples, self.min_samples = n_fft, hop_samples, min_samples
        self.filters = filters
        self.window = torch.hann_window(n_fft)
        self._bands = _split_bands(filters)

    @property
    def num_mels(self) -> int:
        """M."""
        return self.filters.shape[1]

    @property
    def fingerprint(self) -> bytes:
        """The version of this code and all settings that decide the values; for caches."""
        return (
            f"{FEATURES_VERSION} {self.n_fft} {self.hop_samples} {self.min_samples} ".encode()
            + self.filters.numpy().tobytes()
        )

    def num_frames(self, num_samples: int) -> int:
        """Frames of a clip of so many samples; a short one counts as 0.5 s, to which it is zero-padded."""
        return max(num_samples, self.min_samples) // self.hop_samples

    def __call__(self, waveform: np.ndarray) -> torch.Tensor:
        """float32 [S] at 16 kHz -> float32 [M, F], contiguous, F = num_frames(S)."""
        num_frames = self.num_frames(len(waveform))
        samples = self._padded(torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32)))
        frames = samples.unfold(0, self.n_fft, self.hop_samples)[:num_frames]
        mel = torch.empty(self.num_mels, num_frames)
        for first in range(0, num_frames, _BLOCK_FRAMES):
            power = self._power(frames[first : first + _BLOCK_FRAMES])
            for first_mel, last_mel, low, high, weights in self._bands:
                torch.mm(weights, power[:, low:high].T, out=mel[first_mel:last_mel, first : first + _BLOCK_FRAMES])
        values = mel.numpy()  # numpy's logarithm takes a fifth of the time of torch's on a CPU, and shares the memory
        np.log10(np.maximum(values, _FLOOR, out=values), out=values)
        np.maximum(values, values.max() - 8.0, out=values)
        values += 4.0
        values /= 4.0
        return mel

    @torch.no_grad()
    def of_batch(self, waveforms: torch.Tensor, num_samples: torch.Tensor, *, num_frames: int) -> torch.Tensor:
        """Features of every row as if it were alone, on the device of the waveforms and outside autocast.

        Args:
            waveforms: float32 [B, S], rows of at least `min_samples`; anything may stand past a row's own end.
            num_samples: int64 [B] on the same device, each row's samples.
            num_frames: F, the padded width of the result.

        Returns:
            float32 [B, M, F], zero past each row's own frames.
        """
        rows_at_a_time = max(1, _DEVICE_FRAMES // max(1, num_frames))
        with torch.autocast(waveforms.device.type, enabled=False):
            parts = [
                self._of_rows(rows, lengths, num_frames)
                for rows, lengths in zip(
                    waveforms.split(rows_at_a_time), num_samples.split(rows_at_a_time), strict=True
                )
            ]
        return torch.cat(parts)

    def _padded(self, samples: torch.Tensor) -> torch.Tensor:
        """float32 [S] with what stands before and after it for the first and last frames: half a window, reflected."""
        half = self.n_fft // 2
        samples = torch.nn.functional.pad(samples, (0, max(0, self.min_samples - len(samples))))
        return torch.cat([samples[1 : half + 1].flip(0), samples, samples[-half - 1 : -1].flip(0)])

    def _gathered(self, waveforms: torch.Tensor, num_samples: torch.Tensor, width: int) -> torch.Tensor:
        """float32 [B, width]: `_padded` of every row of [B, S], its start; past a row's last frame anything."""
        position = (torch.arange(width, device=waveforms.device) - self.n_fft // 2).abs()[None]
        last = num_samples[:, None] - 1
        position = torch.where(position > last, 2 * last - position, position).clamp(min=0)
        return waveforms.gather(1, position)

    def _of_rows(self, waveforms: torch.Tensor, num_samples: torch.Tensor, num_frames: int) -> torch.Tensor:
        width = (num_frames - 1) * self.hop_samples + self.n_fft
        log_mel = self._log_power(self._gathered(waveforms, num_samples, width))
        is_own = torch.arange(num_frames, device=waveforms.device) < (num_samples // self.hop_samples)[:, None]
        is_own = is_own[:, None]
        loudest = log_mel.masked_fill(~is_own, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return ((torch.maximum(log_mel, loudest - 8.0) + 4.0) / 4.0).masked_fill(~is_own, 0.0).contiguous()

    def _log_power(self, samples: torch.Tensor) -> torch.Tensor:
        """float32 [B, width] -> [B, M, F]: decadic logarithms of the power in each mel band."""
        frames = samples.unfold(1, self.n_fft, self.hop_samples)
        return (self._power(frames) @ self.filters.to(samples.device)).clamp(min=_FLOOR).log10().transpose(1, 2)

    def _power(self, frames: torch.Tensor) -> torch.Tensor:
        """float32 [..., n_fft] -> float32 [..., n_fft / 2 + 1]."""
        spectrum = torch.fft.rfft(frames * self.window.to(frames.device))
        return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)  # abs() would take a root first


def _split_bands(filters: torch.Tensor) -> list[tuple[int, int, int, int, torch.Tensor]]:
    """(first mel, last mel + 1, first frequency, last frequency + 1, their weights [mels, frequencies]) of each band."""
    bands = []
    for first in range(0, filters.shape[1], _BAND_MELS):
        band = filters[:, first : first + _BAND_MELS]
        used = band.any(dim=1).nonzero()[:, 0]
        low, high = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        bands.append((first, first + band.shape[1], low, high, band[low:high].T.contiguous()))
    return bands
