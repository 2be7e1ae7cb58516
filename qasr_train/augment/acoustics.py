"""Owns what a room and a noise do to a waveform; shared by training's augmentation and the noise suites of evaluation.

Input: float32 [S] mono waveforms of one sample rate. Output: a new float32 [S] of the same length. Pure functions, no torch.
"""

import numpy as np

FRAME_SAMPLES = 320  # 20 ms at 16 kHz: shorter than a sound of speech, longer than a period of the voice
ACTIVE_MARGIN_DB = 15.9  # of ITU-T P.56
_BLOCK_SAMPLES = 2**15  # of the FFTs of a convolution
SILENT_POWER = 1e-9  # -90 dB of full scale: the rounding of 16 bits and below, never speech


def mix_noise(waveform: np.ndarray, noise: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """A clip with noise added at a signal-to-noise ratio (as in Ko et al. 2017; a corpus for it: MUSAN, Snyder et al. 2015).

    The ratio is the clip's active level (`active_power`, so that pauses do not count) to the mean power of exactly the
    stretch of noise that is added. Where the sum would pass full scale, clip and noise are turned down together until it
    does not: the ratio stays, nothing is clipped. A clip that passes full scale itself is brought no lower than its own peak.

    Args:
        waveform: float32 [S].
        noise: float32, one channel. Longer than the clip: a stretch from a random offset; shorter: repeated from a random offset.
        snr_db: decibels.
        rng: draws the offset, one number.

    Returns:
        float32 [S]; the clip as it was where clip or noise are silent, as no ratio is defined then.
    """
    added = noise_stretch(noise, len(waveform), rng)
    speech_power, noise_power = active_power(waveform), mean_power(added)
    if speech_power < SILENT_POWER or noise_power < SILENT_POWER:
        return np.array(waveform, dtype=np.float32)
    gain = np.sqrt(speech_power / noise_power / 10.0 ** (snr_db / 10.0))
    mixed = waveform + np.float32(gain) * added
    return _within_peak(mixed, max(1.0, _peak(waveform)))


def reverberate(waveform: np.ndarray, rir: np.ndarray) -> np.ndarray:
    """A clip as heard in a room (Ko et al. 2017, "A study on data augmentation of reverberant speech").

    The strongest sample of the impulse response is taken for the direct sound and moved to time 0, so that speech stays
    where it was and labels by time hold; what rings on past the clip's end is cut. Mean power stays the clip's own
    unless that would pass full scale.

    Args:
        waveform: float32 [S].
        rir: float32 [R], R samples of one channel at the clip's sample rate.

    Returns:
        float32 [S]; the clip as it was where it or the impulse response is all zero.
    """
    direct = int(np.argmax(np.abs(rir))) if len(rir) else 0
    wet = convolve(waveform, rir)[direct : direct + len(waveform)]
    power = mean_power(wet)
    if not power > 0.0:
        return np.array(waveform, dtype=np.float32)
    wet *= np.float32(np.sqrt(mean_power(waveform) / power))
    return _within_peak(wet, max(1.0, _peak(waveform)))


def noise_stretch(noise: np.ndarray, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [num_samples] of a noise, from a random offset; repeated where the noise is shorter."""
    if not len(noise):
        return np.zeros(num_samples, dtype=np.float32)
    spare = len(noise) - num_samples
    offset = int(rng.integers(spare + 1 if spare >= 0 else len(noise)))
    if spare >= 0:
        return np.asarray(noise[offset : offset + num_samples], dtype=np.float32)
    return np.resize(np.roll(noise, -offset), num_samples).astype(np.float32)


def active_power(waveform: np.ndarray) -> float:
    """Mean power of a clip where something is said: the active speech level of ITU-T P.56, on frames of 20 ms.

    Frames are taken from the loudest on, as long as each is less than 15.9 dB below the mean power of those taken (itself
    included). So pauses and a quiet background do not count, and in a clip that is equally loud throughout all of it counts.
    What is left of a clip after its last whole frame is not looked at.
    """
    num_frames = len(waveform) // FRAME_SAMPLES
    if num_frames < 2:
        return mean_power(waveform)
    frames = waveform[: num_frames * FRAME_SAMPLES].reshape(num_frames, FRAME_SAMPLES)
    power = np.sort(np.einsum("fs,fs->f", frames, frames).astype(np.float64) / FRAME_SAMPLES)[::-1]
    mean_of_loudest = np.cumsum(power) / np.arange(1, len(power) + 1)
    is_quiet = power * 10.0 ** (ACTIVE_MARGIN_DB / 10.0) < mean_of_loudest
    num_active = int(np.argmax(is_quiet)) if is_quiet.any() else len(power)
    return float(mean_of_loudest[num_active - 1])


def mean_power(waveform: np.ndarray) -> float:
    """Mean square of all samples; 0 for none."""
    return float(np.dot(waveform, waveform)) / len(waveform) if len(waveform) else 0.0


def convolve(waveform: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The full linear convolution, float32 [S + R - 1], by FFTs of blocks (overlap-add).

    Blocks stay in the cache of a core: one FFT of a ten-second clip took six times as long.
    """
    num_samples, num_taps = len(waveform), len(kernel)
    if not num_samples or not num_taps:
        return np.zeros(0, dtype=np.float32)
    size = min(max(_BLOCK_SAMPLES, _power_of_two(4 * num_taps)), _power_of_two(num_samples + num_taps - 1))
    step = size - num_taps + 1
    spectrum = np.fft.rfft(np.asarray(kernel, dtype=np.float32), size)
    wet = np.zeros(-(-num_samples // step) * step + num_taps - 1, dtype=np.float32)
    for begin in range(0, num_samples, step):
        block = np.fft.rfft(np.asarray(waveform[begin : begin + step], dtype=np.float32), size)
        wet[begin : begin + size] += np.fft.irfft(block * spectrum, size)
    return wet[: num_samples + num_taps - 1]


def _power_of_two(number: int) -> int:
    """The smallest one that is not less."""
    return 1 << (number - 1).bit_length()


def _peak(waveform: np.ndarray) -> float:
    return float(max(waveform.max(), -waveform.min())) if len(waveform) else 0.0


def _within_peak(waveform: np.ndarray, peak: float) -> np.ndarray:
    """Turned down so that no sample passes `peak`; never turned up."""
    found = _peak(waveform)
    return (waveform * np.float32(peak / found) if found > peak else waveform).astype(np.float32, copy=False)
