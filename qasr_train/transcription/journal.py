"""Owns the predictions of an unfinished evaluation: appended durably, batch by batch, and joined into predictions.jsonl.

Input: predictions as they come, from one process or several. Output: `predictions.partial.jsonl` (of rank r > 0:
`predictions.partial.rank<r>.jsonl`) while the run lasts, then `predictions.jsonl`, complete and in manifest order.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from qasr_train.files import parse_json, write_rows
from qasr_train.transcription.predictions import PARTIAL_PREDICTIONS, PREDICTIONS, Prediction, prediction_to_row

Key = tuple[str, str]  # set, utterance id
Row = dict[str, Any]


class Journal:
    """Appends this rank's predictions; what `append` has returned from survives a kill and a power cut."""

    def __init__(self, run_dir: Path, rank: int) -> None:
        self._file = open(partial_path(run_dir, rank), "ab")  # noqa: SIM115

    def append(self, predictions: Iterable[Prediction]) -> None:
        """Write the predictions of one batch to the disk."""
        lines = [json.dumps(prediction_to_row(prediction), ensure_ascii=False) + "\n" for prediction in predictions]
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def partial_path(run_dir: Path, rank: int) -> Path:
    """Where a rank writes."""
    return run_dir / (PARTIAL_PREDICTIONS if rank == 0 else f"predictions.partial.rank{rank}.jsonl")


def gather_partials(run_dir: Path) -> None:
    """Join what all ranks of earlier tries have written into rank 0's file. Before the ranks open theirs.

    A line that a kill cut short is dropped; of a prediction made twice the later one stays.
    """
    if _partial_files(run_dir):
        write_rows(run_dir / PARTIAL_PREDICTIONS, read_partials(run_dir).values(), is_synced=True)
    for path in _partial_files(run_dir):
        if path.name != PARTIAL_PREDICTIONS:
            path.unlink()


def read_partials(run_dir: Path) -> dict[Key, Row]:
    """The rows written so far by all ranks."""
    rows: dict[Key, Row] = {}
    for path in _partial_files(run_dir):
        for line in path.read_bytes().splitlines():
            try:
                row = parse_json(line)
                rows[row["set"], row["id"]] = row
            except (ValueError, KeyError, TypeError):
                continue  # cut short by a kill: the utterance is transcribed again
    return rows


def finish(run_dir: Path, keys: Sequence[Key]) -> None:
    """Write predictions.jsonl, whole or not at all, in the order of `keys`, and remove the partial files."""
    rows = read_partials(run_dir)
    missing = [key for key in keys if key not in rows]
    assert not missing, f"{len(missing)} predictions are missing, the first is {missing[0]}"
    write_rows(run_dir / PREDICTIONS, (rows[key] for key in keys), is_synced=True)
    for path in _partial_files(run_dir):
        path.unlink()


def discard_if_nothing_done(run_dir: Path) -> None:
    """Remove the partial files where they hold failures alone."""
    if all(row["failed"] for row in read_partials(run_dir).values()):
        for path in _partial_files(run_dir):
            path.unlink()


def _partial_files(run_dir: Path) -> list[Path]:
    return sorted(run_dir.glob("predictions.partial*.jsonl"))
