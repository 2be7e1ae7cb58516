"""What a manifest of a million rows costs: seconds from the file to the first planned batch, memory here and in loader workers.

Input: the number of rows. Output: a table on the terminal. Rows are as `prepare` writes them (240 bytes on average); nothing is
decoded. `--processes` also plans the epoch as one of so many processes would.

    python scripts/bench/bench_manifest.py --rows 1000000
"""

import argparse
import gc
import json
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil

from qasr_train.data.buckets import BatchBudget
from qasr_train.data.length_limits import Limits
from qasr_train.data.settings import DataConfig
from qasr_train.data.source_pools import build_pools, open_sources
from qasr_train.data.training_data import TrainingData
from qasr_train.data.workers import PlannedBatches, make_loader
from qasr_train.run.processes import Processes
from qasr_train.sources.settings import SourceConfig

WORDS = "the quick brown fox takes two small pills a day and sleeps well at night now".split()
LANGUAGES = ("English", "German", "French", "Spanish")


def write_manifest(folder: Path, num_rows: int) -> Path:
    """A manifest whose first recording exists, so that the check of paths passes."""
    (folder / "wav").mkdir()
    (folder / "wav" / "00000000.flac").touch()
    rng = np.random.default_rng(0)
    durations_s = rng.lognormal(1.7, 0.6, num_rows).clip(0.5, 29.9)
    first_words = rng.integers(len(WORDS), size=num_rows)
    path = folder / "manifest.jsonl"
    with open(path, "w", encoding="utf-8") as out:
        for i, (duration_s, first) in enumerate(zip(durations_s.tolist(), first_words.tolist(), strict=True)):
            num_words = min(max(1, int(duration_s * 2.3)), 40)
            row = {
                "version": 1,
                "id": f"corpus-{i:08d}",
                "audio": f"wav/{i:08d}.flac",
                "text": " ".join(WORDS[(first + j) % len(WORDS)] for j in range(num_words)),
                "language": LANGUAGES[i % 4],
                "speaker": f"spk{i % 5000:05d}",
                "duration_s": round(duration_s, 3),
                "split": "train",
            }
            out.write(json.dumps(row) + "\n")
    return path


class Clock:
    """Prints what each step took: wall-clock, CPU, and the growth of resident memory since the beginning."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.begin_bytes = self.process.memory_info().rss
        self.restart()

    def restart(self) -> None:
        self.wall_s, self.cpu_s = time.perf_counter(), time.process_time()

    def lap(self, what: str) -> None:
        wall_s, cpu_s = time.perf_counter() - self.wall_s, time.process_time() - self.cpu_s
        gc.collect()
        grown = (self.process.memory_info().rss - self.begin_bytes) / 1e6
        print(f"{what:<44} {wall_s:7.2f} s {cpu_s:7.2f} s CPU {grown:8.0f} MB")
        self.restart()


class NoModel:
    """Stands for the collator: transcripts are short, so that no limit asks for their tokens; a batch is its number of rows."""

    def num_target_tokens(self, utterance: Any) -> int:
        return 1


class RowsOnly(PlannedBatches):
    """What a loader worker does before it decodes: take the rows of a batch."""

    def __getitem__(self, index: int) -> Any:
        rows = [self.utterances[i] for i in self.plan[index]]
        return len(rows), psutil.Process().memory_full_info().uss if index % 500 == 499 else 0


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write_manifest(Path(folder), arguments.rows)
        print(f"{arguments.rows} rows, {path.stat().st_size / 1e6:.0f} MB of JSONL")
        measure(path, arguments.processes, arguments.workers)


def measure(path: Path, num_processes: int, num_workers: int) -> None:
    """Print the table for one manifest."""
    sources = {"main": SourceConfig(path=str(path))}
    clock = Clock()
    opened = open_sources(sources)
    clock.lap("read and check every row")
    collator = cast(Any, NoModel())
    limits = Limits(DataConfig(), collator, model_max_duration_s=1200.0)
    pools = build_pools(sources, limits=limits, stream_window=1, seed=0, opened=opened)
    clock.lap("limits of length")
    settings: dict[str, Any] = {"collator": collator, "budget": BatchBudget(120.0, None), "seed": 0}
    data = TrainingData(pools=pools, **settings)
    utterances, batches = data.plan(0)
    clock.lap(f"plan an epoch ({len(batches)} batches)")
    state = data.state_dict(0)
    resumed = TrainingData(pools=pools, processes=Processes(0, num_processes), **settings)
    clock.restart()
    resumed.load_state_dict(state, epoch=0, step_in_epoch=len(batches) // 2)
    clock.lap(f"resume half-way with {num_processes} processes instead of 1")
    table = cast(Any, opened["main"])
    print(
        f"columns and order: {table.num_bytes / 1e6:.0f} MB; process {psutil.Process().memory_info().rss / 1e6:.0f} MB"
    )
    dataset = RowsOnly(utterances, batches[: 1000 * num_workers], collator)
    loader = make_loader(dataset, num_workers=num_workers, prefetch_batches=2)
    own = [num_bytes for _, num_bytes in cast(Any, loader) if num_bytes]
    print(f"memory of a loader worker's own after {len(dataset)} batches by {num_workers}: {max(own) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
