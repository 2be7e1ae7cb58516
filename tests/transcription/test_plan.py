"""Which utterances are transcribed together, in which order, and how their sound comes ahead of the model."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qasr_train.data.buckets import BatchBudget
from qasr_train.errors import AudioError, DataError
from qasr_train.manifest import Utterance
from qasr_train.transcription.plan import PREFETCHED_BATCHES, PlannedBatch, load_ahead, plan_transcription
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import AUTO, REFERENCE, LongAudio
from tests.helpers import utterance
from tests.helpers_transcription import decoding, spoken


def test_durations_missing_in_the_manifest_are_read_from_the_files(tmp_path: Path) -> None:
    utterances = [replace(u, duration_s=None) for u in spoken(tmp_path, [1.0, 3.0, 0.5, 2.0])]
    assert [b.indices for b in plan_transcription(utterances, decoding(budget=BatchBudget(4.0, 64)))] == [
        [1],
        [3],
        [0, 2],
    ]


def test_the_longest_batches_come_first_whatever_their_language(tmp_path: Path) -> None:
    utterances = spoken(tmp_path, [1.0, 3.0, 2.0])
    utterances = [replace(u, language=name) for u, name in zip(utterances, ["German", "French", "Thai"], strict=True)]
    plan = plan_transcription(utterances, decoding(language=REFERENCE))
    assert [(b.indices, b.language) for b in plan] == [([1], "French"), ([2], "Thai"), ([0], "German")]


def lasting(*durations_s: float, **fields: object) -> list[Utterance]:
    """Utterances u0, u1, ... of stated lengths, without files."""
    return [utterance(id=f"u{i}", duration_s=duration_s, **fields) for i, duration_s in enumerate(durations_s)]


def test_a_budget_bounds_rows_and_padded_seconds_of_a_batch() -> None:
    of_rows = plan_transcription(lasting(1.0, 1.0, 1.0), decoding(budget=BatchBudget(100.0, 2)))
    assert sorted(len(batch.indices) for batch in of_rows) == [1, 2]
    of_seconds = plan_transcription(lasting(1.0, 1.5, 2.0), decoding(budget=BatchBudget(3.0, 64)))
    assert [batch.indices for batch in of_seconds] == [[2], [0, 1]]  # 1.5 x 2 fits, 2 x 3 does not


def test_one_language_is_forced_on_a_batch_and_rows_without_one_are_told_none() -> None:
    rows = [replace(row, language=name) for row, name in zip(lasting(1, 1, 1), ["German", None, "German"], strict=True)]
    forced = plan_transcription(rows, decoding(language=REFERENCE))
    assert {(tuple(batch.indices), batch.language) for batch in forced} == {((0, 2), "German"), ((1,), None)}
    assert plan_transcription(rows, decoding(language=AUTO)) == [PlannedBatch([0, 1, 2], None)]
    assert plan_transcription(rows, decoding(language="Thai")) == [PlannedBatch([0, 1, 2], "Thai")]


def test_what_cannot_be_read_comes_first_and_alone(tmp_path: Path) -> None:
    gone = utterance(id="gone", audio=str(tmp_path / "gone.wav"), duration_s=None)
    assert plan_transcription([*lasting(1.0, 1.0), gone], decoding()) == [
        PlannedBatch([2], None),
        PlannedBatch([0, 1], None),
    ]


def test_a_recording_known_to_be_too_long_is_refused_only_where_that_is_an_error() -> None:
    rows = lasting(1.0, 6.0)
    with pytest.raises(DataError, match=r"utterance 'u1' lasts 6\.0 s, more than decode\.max_duration_s=5;"):
        plan_transcription(rows, decoding(max_duration_s=5.0, long_audio=LongAudio.error))
    for allowed in (LongAudio.split, LongAudio.drop):
        plan = plan_transcription(rows, decoding(max_duration_s=5.0, long_audio=allowed))
        assert plan == [PlannedBatch([0, 1], None)]


class Slow:
    """Changes a clip to its own number; remembers in which threads, and fails on u3."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.threads: set[str] = set()

    def apply(self, waveform: np.ndarray, utterance: Utterance) -> np.ndarray:
        self.seen.append(utterance.id)
        self.threads.add(threading.current_thread().name)
        if utterance.id == "u3":
            raise AudioError("u3 is silent")
        return np.full(1, float(utterance.id[1:]), np.float32)

    def digest(self) -> str:
        return ""


def test_clips_come_in_the_order_of_the_plan_a_few_batches_ahead(tmp_path: Path) -> None:
    change = Slow()
    one = UtteranceSet("s", spoken(tmp_path, [0.5] * 8), change=change)
    batches = [PlannedBatch([7, 0], None), *(PlannedBatch([index], None) for index in range(1, 7))]
    loaded = load_ahead(one, batches, num_workers=2)
    batch, clips = next(loaded)
    assert (batch, [float(clip[0]) for clip in clips]) == (batches[0], [7.0, 0.0])
    rest = {tuple(batch.indices): clips[0] for batch, clips in loaded}
    assert isinstance(rest.pop((3,)), AudioError)
    assert {key: float(value[0]) for key, value in rest.items()} == {(i,): float(i) for i in (1, 2, 4, 5, 6)}
    assert all(name.startswith("decode-audio") for name in change.threads)


def test_no_more_is_read_ahead_than_is_waited_for(tmp_path: Path) -> None:
    change = Slow()
    one = UtteranceSet("s", spoken(tmp_path, [0.5] * 8), change=change)
    loaded = load_ahead(one, [PlannedBatch([index], None) for index in (0, 1, 2, 4, 5, 6, 7)], num_workers=1)
    next(loaded)
    loaded.close()  # type: ignore[attr-defined]
    assert len(change.seen) <= 1 + PREFETCHED_BATCHES
