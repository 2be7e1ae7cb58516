"""What each augmentation costs for a clip, against the log-mel of that clip.

    python scripts/bench/bench_augment.py [--clips 16] [--repeats 7] [--noise FOLDER] [--rooms FOLDER]

The ways are interleaved, medians are printed. Noises and rooms are read from their files each time, as in a loader worker;
without folders they are made (16 kHz WAV).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import Qwen3ASRFeatureExtractor

from qasr_train.augment.settings import Codec, SpecAugmentConfig
from qasr_train.augment.sounds import open_sounds
from qasr_train.augment.spectrum import cover, draw_masks
from qasr_train.augment.variants import change_speed
from qasr_train.augment.waveform import Background, Gain, Noise, Reverb, Telephone
from qasr_train.models.blocks.log_mel import LogMel


def main() -> None:
    """Parse the command line, measure, print one line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16, help="clips of 2 to 15 s")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--noise", help="folder of noises")
    parser.add_argument("--rooms", help="folder of room impulse responses")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    clips = [0.1 * rng.standard_normal(int(16_000 * s)).astype(np.float32) for s in rng.uniform(2, 15, arguments.clips)]
    with tempfile.TemporaryDirectory() as folder:
        ways = make_ways(clips, arguments.noise or make_noise(folder), arguments.rooms or make_room(folder))
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.repeats):
            for name, run in ways.items():
                began_s = time.perf_counter()
                for clip in clips:
                    run(clip)
                seconds[name].append(time.perf_counter() - began_s)
    audio_s = sum(map(len, clips)) / 16_000
    base = statistics.median(seconds["log-mel"])
    print(f"{arguments.clips} clips, {audio_s:.0f} s of audio, medians of {arguments.repeats}")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:24}{1000 * median / audio_s * 10:8.2f} ms for 10 s of audio {median / base:7.2f} x log-mel")


def make_ways(clips: list[np.ndarray], noise: str, rooms: str) -> dict[str, Callable[[np.ndarray], object]]:
    """Name -> what is done to one clip."""
    extractor = Qwen3ASRFeatureExtractor()
    filters = torch.from_numpy(extractor.mel_filters).to(torch.float32)
    log_mel = LogMel(
        n_fft=extractor.n_fft, hop_samples=extractor.hop_length, min_samples=extractor.min_length, filters=filters
    )
    mel = log_mel(clips[0])
    masks = SpecAugmentConfig(1.0)
    noises, impulse_responses = open_sounds(noise, "noise"), open_sounds(rooms, "rooms")
    draw = np.random.default_rng(1)

    def mask(clip: np.ndarray) -> None:
        cover(mel, draw_masks(masks, num_frames=mel.shape[1], num_bins=mel.shape[0], rng=draw))

    return {
        "log-mel": log_mel,
        "speed": lambda clip: change_speed(clip, 1.1),
        "gain": Gain(-3.0),
        "noise": lambda clip: Noise(noises[int(draw.integers(len(noises)))], 10.0, 1)(clip),
        "reverb": lambda clip: Reverb(impulse_responses[int(draw.integers(len(impulse_responses)))], 0)(clip),
        "silence, white noise": Background(None, -50.0, 1),
        "spec_augment": mask,
        **{f"telephone, {codec.value}": Telephone(codec) for codec in Codec},
    }


def make_noise(folder: str) -> str:
    """A minute of white noise; returns its path."""
    path = Path(folder) / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(2).standard_normal(60 * 16_000), 16_000)
    return str(path)


def make_room(folder: str) -> str:
    """An impulse response of one second; returns its path."""
    path = Path(folder) / "room.wav"
    decay = np.random.default_rng(3).standard_normal(16_000) * np.exp(-np.arange(16_000) / 2_000)
    soundfile.write(path, 0.1 * decay, 16_000)
    return str(path)


if __name__ == "__main__":
    main()
