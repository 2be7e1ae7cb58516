"""Owns what each change does to a clip's sound, in the order it happens to speech: room, noise, gain, telephone.

Input: what `augmenter.py` has drawn. Output: a `Change`, which says so and applies it to a waveform; in loader workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qasr_train.audio.decode import load_audio
from qasr_train.augment.acoustics import mean_power, mix_noise, noise_stretch, reverberate
from qasr_train.augment.settings import Codec
from qasr_train.augment.sounds import Sound, read_stretch
from qasr_train.augment.telephone import telephone


class Change(Protocol):
    """One thing done to a waveform; `str()` says what was drawn."""

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """float32 [S] -> float32 [S].

        Raises:
            AudioError: a noise or impulse response that was there at the start cannot be decoded.
        """


@dataclass(frozen=True)
class Reverb:
    """See `ReverbConfig`. channel: which one of the impulse response is used."""

    sound: Sound
    channel: int

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """See `Change`."""
        return reverberate(waveform, load_audio(self.sound.path, channel=self.channel, name="augment.reverb"))

    def __str__(self) -> str:
        channel = f" channel {self.channel}" if self.sound.num_channels > 1 else ""
        return f"reverb {self.sound.name}{channel}"


@dataclass(frozen=True)
class Noise:
    """See `NoiseConfig`. seed: of the offset."""

    sound: Sound
    snr_db: float
    seed: int

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """See `Change`."""
        rng = np.random.default_rng(self.seed)
        return mix_noise(waveform, read_stretch(self.sound, len(waveform), rng), self.snr_db, rng)

    def __str__(self) -> str:
        return f"noise {self.sound.name} at {self.snr_db:.1f} dB"


@dataclass(frozen=True)
class Background:
    """What is heard in a clip without speech: white noise, or a recorded one, at a level in dB of full scale."""

    sound: Sound | None
    level_db: float
    seed: int

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """See `Change`."""
        rng, num_samples = np.random.default_rng(self.seed), len(waveform)
        if self.sound is None:
            noise = rng.standard_normal(num_samples, dtype=np.float32)
        else:
            noise = noise_stretch(read_stretch(self.sound, num_samples, rng), num_samples, rng)
        power = mean_power(noise)
        gain = np.sqrt(10.0 ** (self.level_db / 10.0) / power) if power > 0.0 else 0.0
        return (waveform + np.float32(gain) * noise).astype(np.float32)

    def __str__(self) -> str:
        return f"no speech, {self.sound.name if self.sound else 'white noise'} at {self.level_db:.1f} dB of full scale"


@dataclass(frozen=True)
class Gain:
    """See `GainConfig`."""

    gain_db: float

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """See `Change`."""
        return waveform * np.float32(10.0 ** (self.gain_db / 20.0))

    def __str__(self) -> str:
        return f"gain {self.gain_db:+.1f} dB"


@dataclass(frozen=True)
class Telephone:
    """See `TelephoneConfig`."""

    codec: Codec

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """See `Change`."""
        return telephone(waveform, self.codec)

    def __str__(self) -> str:
        return f"telephone {self.codec.value}"


def draw_sound(sounds: Sequence[Sound], rng: np.random.Generator) -> Sound:
    """One of the recordings, each as likely as any other."""
    return sounds[int(rng.integers(len(sounds)))]
