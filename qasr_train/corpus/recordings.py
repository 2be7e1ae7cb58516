"""Owns checking the recordings of a corpus: each decoded once, in worker processes, unless it was measured before.

Input: utterances, and the `Measurements` of earlier runs. Output: a `Clip` or a `Reject` for each; converted files.
"""

import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.corpus.clips import Clip
from qasr_train.corpus.measurements import Measurements, file_state, utterance_key
from qasr_train.corpus.pool import check_all
from qasr_train.corpus.summary import Reject
from qasr_train.corpus.worker import Measured, Task
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance


def check_recordings(
    utterances: Sequence[Utterance], known: Measurements, *, flac_folder: Path | None, num_workers: int
) -> tuple[list[Clip], list[Reject]]:
    """Decode what is not known; (clips, rejects) in the order of the source.

    Args:
        known: what was measured before; what is measured now is added.
        flac_folder: where clips are converted to; None: they are not.
        num_workers: processes that decode; 0: none but this.

    Raises:
        DataError: interrupted, or the disk is full; what was done is known to the next run.
    """
    keys = [utterance_key(utterance) for utterance in utterances]
    states = [_state(utterance) for utterance in utterances]
    flacs = [flac_path(flac_folder, *pair) if flac_folder else None for pair in zip(utterances, keys, strict=True)]
    found = _found_before(known, keys, states, flacs)
    numbers = [number for number in range(len(utterances)) if number not in found]
    tasks = [_task(utterances[number], flacs[number]) for number in numbers]
    reasons: dict[int, str] = {}
    with _bar(len(utterances), len(found)) as bar:
        try:
            for index, reply in check_all(tasks, num_workers=num_workers):
                number = numbers[index]
                if reply.failed is not None:
                    raise OSError(*_failure(reply.failed))
                if reply.measured is not None:
                    found[number] = reply.measured
                    known.add(keys[number], states[number], reply.measured)
                else:
                    reasons[number] = reply.rejected or ""
                bar.update()
        except KeyboardInterrupt:
            raise DataError(
                f"interrupted after {bar.n} of {bar.total} clips; the same command goes on from there"
            ) from None
        except OSError as error:
            raise DataError(_full_disk(error, int(bar.n), len(utterances))) from error
    clips = [Clip(utterances[number], found[number]) for number in sorted(found)]
    return clips, [Reject.of(utterances[number], reasons[number]) for number in sorted(reasons)]


def flac_path(folder: Path, utterance: Utterance, key: str) -> Path:
    """Where a clip is converted to: its id as far as a file may be called so, and enough of its key to be unique."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", utterance.id).strip("._")[:80]
    return folder / key[:2] / f"{name}-{key[:12]}.flac"


def _found_before(
    known: Measurements, keys: Sequence[str], states: Sequence[list[int] | None], flacs: Sequence[Path | None]
) -> dict[int, Measured]:
    """Number of an utterance -> what was measured of it, where its converted file, if there is to be one, is still there."""
    found: dict[int, Measured] = {}
    for number, (key, state, flac) in enumerate(zip(keys, states, flacs, strict=True)):
        measured = known.find(key, state)
        if measured is not None and (flac is None or flac.exists()):
            found[number] = measured
    return found


def _task(utterance: Utterance, flac: Path | None) -> Task:
    assert isinstance(utterance.audio, str), "map-style sources give paths and references"
    file = None if flac is None else str(flac)
    return Task(utterance.audio, utterance.start_s, utterance.end_s, file, utterance.channel)


def _bar(total: int, num_done: int) -> "tqdm[None]":
    interval_s = 0.1 if sys.stderr.isatty() else 10.0  # a log file gets a line now and then
    return tqdm(
        total=total,
        initial=num_done,
        desc="checking",
        unit="clip",
        mininterval=interval_s,
        maxinterval=interval_s,
    )


def _state(utterance: Utterance) -> list[int] | None:
    audio = utterance.audio
    return file_state(audio) if isinstance(audio, str) and not is_arrow_reference(audio) else None


def _failure(failed: tuple[int, str]) -> tuple[int, str, str]:
    return failed[0], os.strerror(failed[0]), failed[1]


def _full_disk(error: OSError, num_done: int, total: int) -> str:
    reason = "no space left on the disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
    return (
        f"{error.filename or 'the journal'}: cannot be written ({reason}) after {num_done} of {total} clips; "
        "make room, then the same command goes on from there"
    )
