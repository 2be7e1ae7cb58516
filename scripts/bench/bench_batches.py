"""How much padding batches hold, on three mixes of durations as performance figures are given for. No audio, seconds of CPU.

    python scripts/bench/bench_batches.py [--clips 20000]

Padded seconds are what the budget `data.batch_seconds` counts; padded decoder positions matter only with
`model.packing=padded`, as packed rows hold none. Random batches have as many rows as ours have on average.
"""

import argparse

import numpy as np

from qasr_train.data.buckets import BatchBudget, padded_fraction, plan_batches

BUDGETS_S = [60, 120, 240, 480, 1000]


def mixes(num_clips: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Seconds of each clip: read speech cut near 15 s (mean 12.4), short sentences (5.4), long-tailed up to 30 s (7.7)."""
    rng = np.random.default_rng(seed)
    is_full = rng.uniform(size=num_clips) < 0.7
    read = np.where(is_full, rng.normal(14.5, 1.2, num_clips), rng.uniform(2, 13, num_clips))
    return {
        "LibriSpeech-like": np.clip(read, 1.5, 17),
        "CommonVoice-like": np.clip(rng.lognormal(np.log(5.1), 0.33, num_clips), 1, 15),
        "long-tail": np.clip(rng.lognormal(np.log(5.5), 0.87, num_clips), 0.5, 30),
    }


def num_positions(durations_s: np.ndarray, seed: int = 0) -> np.ndarray:
    """Decoder positions of each clip: prompt, 13 a second of audio, 3.3 of text a second with a spread of a quarter."""
    spread = np.random.default_rng(seed).lognormal(0, 0.25, len(durations_s))
    return 15 + np.floor(13 * durations_s) + np.round(3.3 * durations_s * spread) + 5


def main() -> None:
    """Print one line a mix and budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20_000)
    num_clips = parser.parse_args().clips
    print(f"{'mix':18}{'budget':>8}{'rows':>7}{'padded seconds':>16}{'random':>8}{'padded positions':>18}{'random':>8}")
    for name, seconds in mixes(num_clips).items():
        positions = num_positions(seconds)
        for budget_s in BUDGETS_S:
            ours = plan_batches(seconds.tolist(), BatchBudget(budget_s, None), seed=(0, 0))
            num_rows = round(num_clips / len(ours))
            order = np.random.default_rng(1).permutation(num_clips)
            shuffled = [order[i : i + num_rows].tolist() for i in range(0, num_clips, num_rows)]
            figures = [padded_fraction(costs, plan) for costs in (seconds, positions) for plan in (ours, shuffled)]
            print(
                f"{name:18}{budget_s:>6} s{num_rows:>7}"
                + "".join(f"{100 * f:>{w}.1f} %" for f, w in zip(figures, (14, 6, 16, 6), strict=True))
            )


if __name__ == "__main__":
    main()
