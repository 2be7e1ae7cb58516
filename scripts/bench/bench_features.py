"""How fast a clip's log-mel is made: ours, against the model's own extractor on the clip alone and on a padded batch.

    python scripts/bench/bench_features.py [--clips 32] [--repeats 7]

The ways are interleaved, medians are printed with their ratios; features are compared before anything is timed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import Qwen3ASRFeatureExtractor

from qasr_train.models.blocks.log_mel import LogMel


def main() -> None:
    """Parse the command line, measure, print one line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=32, help="clips of 2 to 15 s")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal(int(16_000 * s)).astype(np.float32) for s in rng.uniform(2, 15, arguments.clips)]
    extractor = Qwen3ASRFeatureExtractor()
    ours = LogMel(
        n_fft=extractor.n_fft,
        hop_samples=extractor.hop_length,
        min_samples=extractor.min_length,
        filters=torch.from_numpy(extractor.mel_filters).to(torch.float32),
    )

    def extract(batch: list[np.ndarray]) -> torch.Tensor:
        return extractor(batch, sampling_rate=16_000, padding=True, return_tensors="pt")["input_features"]

    ways: dict[str, Callable[[], object]] = {
        "ours, clip by clip": lambda: [ours(clip) for clip in clips],
        "extractor, clip by clip": lambda: [extract([clip]) for clip in clips],
        "extractor, padded batch": lambda: extract(clips),
    }
    worst = max(float((ours(clip) - extract([clip])[0][:, : len(clip) // 160]).abs().max()) for clip in clips)
    print(f"largest difference to the extractor on the clip alone: {worst:.1e}")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        for name, run in ways.items():
            began_s = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began_s)
    audio_s = sum(map(len, clips)) / 16_000
    fastest = statistics.median(seconds["ours, clip by clip"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:26}{1000 * median:8.1f} ms  {audio_s / median:8.0f} audio-s/s  {median / fastest:5.2f} x ours")


if __name__ == "__main__":
    main()
