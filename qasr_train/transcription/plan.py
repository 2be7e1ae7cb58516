"""Owns which utterances are transcribed together, and the decoding of their audio ahead of the model.

Input: utterances. Output: `PlannedBatch`es of similar durations and one forced language; their waveforms, in order.
A plan depends on the data and its settings alone: not on the number of processes, nor on where an earlier run stopped.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from qasr_train.data.buckets import sorted_batches
from qasr_train.data.length_limits import probed_duration
from qasr_train.errors import AudioError, DataError
from qasr_train.manifest import Utterance
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import AUTO, REFERENCE, Decoding, LongAudio

PREFETCHED_BATCHES = 2


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Utterances that are decoded, written to disk and resumed together.

    indices: into the utterances of a set. language: the model's name of the language forced on all; None: it tells.
    """

    indices: list[int]
    language: str | None


def plan_transcription(utterances: Sequence[Utterance], decoding: Decoding) -> list[PlannedBatch]:
    """Which utterances are decoded together: one forced language a batch, similar durations, longest batches first.

    Longest first, so that what does not fit into memory shows at once. Recordings whose header cannot be read come before
    all: they cost nothing, and too many of them stop a run before the model works. Unknown durations are read from headers.

    Raises:
        DataError: an utterance is known to be longer than a pass takes, where `long_audio` is "error".
    """
    durations_s = _durations_s(utterances)
    if decoding.long_audio is LongAudio.error:
        _refuse_too_long(utterances, durations_s, decoding.max_duration_s)
    groups: dict[str | None, list[int]] = {}
    unreadable: list[int] = []
    for index, utterance in enumerate(utterances):
        if durations_s[index] is None:
            unreadable.append(index)
        else:
            groups.setdefault(_forced_language(utterance, decoding.language), []).append(index)
    planned: list[tuple[list[int], str | None]] = [([index], None) for index in unreadable]
    for forced, members in groups.items():
        lengths_s = [durations_s[index] or 0.0 for index in members]
        for rows in sorted_batches(lengths_s, decoding.budget):
            planned.append((sorted(members[row] for row in rows), forced))
    longest = [max((durations_s[i] or math.inf) for i in indices) for indices, _ in planned]
    order = sorted(range(len(planned)), key=lambda i: -longest[i])
    return [PlannedBatch(*planned[i]) for i in order]


def load_ahead(
    one: UtteranceSet, batches: Sequence[PlannedBatch], num_workers: int
) -> Iterator[tuple[PlannedBatch, list[np.ndarray | AudioError]]]:
    """Each batch with its clips, float32 [S] at 16 kHz, decoded in threads while earlier batches are transcribed.

    Threads, not processes: libsndfile, soxr and numpy let go of Python's lock, and a GPU in use does not survive a fork.
    """

    def read(utterance: Utterance) -> np.ndarray | AudioError:
        try:
            return one.load_clip(utterance)
        except AudioError as error:
            return error

    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="decode-audio")
    waiting: deque[tuple[PlannedBatch, list[Future[np.ndarray | AudioError]]]] = deque()
    try:
        for batch in batches:
            waiting.append((batch, [pool.submit(read, one.utterances[index]) for index in batch.indices]))
            if len(waiting) > PREFETCHED_BATCHES:
                ready, futures = waiting.popleft()
                yield ready, [future.result() for future in futures]
        for ready, futures in waiting:
            yield ready, [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def _refuse_too_long(
    utterances: Sequence[Utterance], durations_s: Sequence[float | None], max_duration_s: float
) -> None:
    for utterance, duration_s in zip(utterances, durations_s, strict=True):
        if duration_s is not None and duration_s > max_duration_s:
            raise DataError(too_long_text(utterance, duration_s, max_duration_s))


def _durations_s(utterances: Sequence[Utterance]) -> list[float | None]:
    """Seconds of each utterance, from its header where the manifest does not state them; None where that fails."""
    with ThreadPoolExecutor(4, thread_name_prefix="probe-audio") as pool:
        return list(pool.map(_duration_s, utterances))


def _duration_s(utterance: Utterance) -> float | None:
    if utterance.duration_s is not None:
        return utterance.duration_s
    found = probed_duration(utterance)
    return None if isinstance(found, AudioError) else found


def _forced_language(utterance: Utterance, language: str) -> str | None:
    if language == AUTO:
        return None
    return utterance.language if language == REFERENCE else language


def too_long_text(utterance: Utterance, duration_s: float, max_duration_s: float) -> str:
    """Why a recording is not transcribed, and what to do. Both lengths in seconds."""
    where = f"{utterance.origin}: " if utterance.origin else ""
    return (
        f"{where}utterance {utterance.id!r} lasts {duration_s:.1f} s, more than decode.max_duration_s={max_duration_s:g}; "
        "set decode.long_audio=split to cut it at silences, or remove it"
    )
