"""Owns what becomes of recordings that cannot be read while a run goes on: each is listed, and too many of them stop it.

Input: clips that failed with their reasons. Output: `failed_audio.jsonl` in the run directory, or a DataError.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qasr_train.batch import FailedAudio
from qasr_train.errors import DataError


@dataclass(frozen=True)
class UnreadableAudio:
    """Lists unreadable clips of this process. max_fraction: of the clips read so far, more than that stop the run."""

    run_dir: Path
    max_fraction: float
    rank: int

    def append(self, failed: Sequence[FailedAudio]) -> None:
        """List clips in `failed_audio.jsonl` (processes other than the first: `failed_audio.rankN.jsonl`)."""
        if not failed:
            return
        name = "failed_audio.jsonl" if self.rank == 0 else f"failed_audio.rank{self.rank}.jsonl"
        with open(self.run_dir / name, "a", encoding="utf-8") as out:
            out.writelines(
                json.dumps({"id": one.id, "reason": one.reason}, ensure_ascii=False) + "\n" for one in failed
            )

    def refuse_too_many(self, num_failed: int, num_read: int, last: Sequence[FailedAudio] = ()) -> None:
        """Stop where the clips that failed on all processes are too many of all that were read.

        Args:
            num_read: clips, those that failed included. last: those that this process has just met.

        Raises:
            DataError: they are more than the share allowed.
        """
        # A share of few is no share: the first hundred clips may hold one that fails.
        if num_failed > max(self.max_fraction * num_read, self.max_fraction * 100):
            raise DataError(
                f"{num_failed} of {num_read} clips could not be read, over data.max_failed_fraction="
                f"{self.max_fraction:g}{f', the last: {last[-1].reason}' if last else ''}; see "
                f"{self.run_dir / 'failed_audio.jsonl'}"
            )
