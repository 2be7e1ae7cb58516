"""Random distortion of training audio: new timbres, rooms, microphones, telephone lines and noise.

In: a clean clip and a seeded generator.  Out: what a recording of it could sound like.  Filters, room and noise are
applied as products and sums of one Fourier transform, because this runs for every clip of every batch (about 2 ms).
"""

import numpy as np

from scripts.demo.synthesis import SAMPLE_RATE_HZ


def distort(samples: np.ndarray, babble: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[S] float32 -> [S'] float32 in -1..1.  `babble` is other speech, [any] float32, used as noise now and then."""
    if rng.random() < 0.5:
        samples = shift_timbre(samples, rng)
    samples = _surround_with_silence(samples, rng)
    num_samples = len(samples)
    num_padded = -(-num_samples // 4000) * 4000  # only small prime factors: the transform is several times faster
    frequencies_hz = np.fft.rfftfreq(num_padded, 1 / SAMPLE_RATE_HZ).astype(np.float32)
    spectrum = np.fft.rfft(samples, num_padded) * _colour(frequencies_hz, rng)
    if rng.random() < 0.15:
        spectrum = spectrum * np.fft.rfft(_room(rng), num_padded)
    if rng.random() < 0.5:
        noise = _noise_spectrum(frequencies_hz, babble, num_padded, rng)
        spectrum = spectrum + noise * _noise_scale(spectrum, noise, snr_db=rng.uniform(5, 30))
    spectrum = spectrum * _line(frequencies_hz, rng)
    distorted = np.fft.irfft(spectrum, num_padded)[:num_samples].astype(np.float32)
    return set_peak(distorted, peak_db=rng.uniform(-26, -0.5))


def shift_timbre(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[S] -> [S'] slower and lower, or faster and higher: moves the formants like a longer or shorter vocal tract."""
    return _stretch(samples, float(np.exp(rng.uniform(np.log(0.82), np.log(1.22)))))


def draw_non_speech(rng: np.random.Generator) -> np.ndarray:
    """[S] float32 of 0.4-2.5 s without speech: noise of some colour, hum, or nothing at all."""
    num_samples = int(rng.uniform(0.4, 2.5) * SAMPLE_RATE_HZ)
    if rng.random() < 0.1:
        return np.zeros(num_samples, np.float32)
    frequencies_hz = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ).astype(np.float32)
    spectrum = _noise_spectrum(frequencies_hz, np.zeros(0, np.float32), num_samples, rng) * _line(frequencies_hz, rng)
    samples = np.fft.irfft(spectrum, num_samples).astype(np.float32)
    if rng.random() < 0.3:
        seconds = np.arange(num_samples, dtype=np.float32) / SAMPLE_RATE_HZ
        tone = np.sin(2 * np.pi * rng.uniform(50, 1500) * seconds).astype(np.float32)
        samples = samples / (np.abs(samples).max() + 1e-9) + rng.uniform(0.1, 3) * tone
    return set_peak(samples, peak_db=rng.uniform(-70, -3))


def add_noise(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """[S] -> [S] float32 with noise of a random colour, `snr_db` below the speech and otherwise unchanged."""
    frequencies_hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ).astype(np.float32)
    noise = _noise_spectrum(frequencies_hz, np.zeros(0, np.float32), len(samples), rng)
    scale = _noise_scale(np.fft.rfft(samples), noise, snr_db)
    return (samples + scale * np.fft.irfft(noise, len(samples))).astype(np.float32)


def set_peak(samples: np.ndarray, peak_db: float) -> np.ndarray:
    """[S] -> [S] float32 with its largest magnitude at `peak_db` below full scale."""
    return (samples * (10 ** (peak_db / 20) / (np.abs(samples).max() + 1e-9))).astype(np.float32)


def _stretch(samples: np.ndarray, factor: float) -> np.ndarray:
    """Linear interpolation to `factor` times as many samples; its slight dulling is welcome here."""
    num_samples = max(1, int(len(samples) * factor))
    return np.interp(np.arange(num_samples) / factor, np.arange(len(samples)), samples).astype(np.float32)


def _surround_with_silence(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up to 0.4 s before and after; one clip in three is cut tightly, as isolated words often are."""
    longest_s = 0.02 if rng.random() < 0.33 else 0.4
    before, after = (int(rng.uniform(0, longest_s) * SAMPLE_RATE_HZ) for _ in range(2))
    return np.pad(samples, (before, after))


def _colour(frequencies_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain per frequency of a random microphone: a tilt in dB an octave and slow waves over log frequency."""
    octaves = np.log2(np.maximum(frequencies_hz, 60) / 1000)
    gain_db = np.zeros_like(octaves)
    if rng.random() < 0.6:
        gain_db += rng.uniform(-5, 4) * octaves
    if rng.random() < 0.6:
        for _ in range(3):
            waves_per_octave, depth_db, phase = rng.uniform(0.1, 0.7), rng.uniform(0, 5), rng.uniform(0, 2 * np.pi)
            gain_db += depth_db * np.sin(2 * np.pi * waves_per_octave * octaves + phase)
    return (10 ** (gain_db / 20)).astype(np.float32)


def _line(frequencies_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain per frequency of the channel: full band, a telephone (300-3400 Hz), or an 8 kHz recording."""
    draw = rng.random()
    if draw > 0.35:
        return np.ones_like(frequencies_hz)
    high_hz = rng.uniform(3200, 3950)
    gain = 1 / (1 + np.exp(np.clip((frequencies_hz - high_hz) / 40, -30, 30)))
    if draw < 0.22:
        low_hz = rng.uniform(200, 400)
        gain = gain / (1 + np.exp(np.clip((low_hz - frequencies_hz) / 25, -30, 30)))
    return gain.astype(np.float32)


def _room(rng: np.random.Generator) -> np.ndarray:
    """[R] float32 impulse response: the direct sound, then noise that decays by 60 dB in 0.1-0.5 s."""
    decay_s = rng.uniform(0.1, 0.5)
    num_samples = int(decay_s * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(num_samples, dtype=np.float32)
    tail *= np.exp(-6.9 * np.arange(num_samples, dtype=np.float32) / num_samples) * rng.uniform(0.01, 0.06)
    tail[0] = 1.0
    return tail


def _noise_spectrum(
    frequencies_hz: np.ndarray, babble: np.ndarray, num_samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Spectrum of noise that falls by 0 (white) to 9 dB an octave, or of `babble` where there is some."""
    if babble.size and rng.random() < 0.25:
        return np.fft.rfft(np.resize(babble, num_samples), num_samples)
    phases = rng.standard_normal((2, len(frequencies_hz)), dtype=np.float32)
    slope = rng.uniform(0, 1.5)
    return (phases[0] + 1j * phases[1]) * (np.maximum(frequencies_hz, 40) ** -slope)


def _noise_scale(spectrum: np.ndarray, noise: np.ndarray, snr_db: float) -> float:
    """Factor for `noise` that puts it `snr_db` below the speech, by energy over the whole clip."""
    ratio = (np.abs(spectrum) ** 2).sum() / ((np.abs(noise) ** 2).sum() + 1e-20)
    return float(np.sqrt(ratio) * 10 ** (-snr_db / 20))
