"""A set of utterances: the sound it gives, what tells it from another, and how it signs predictions."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from qasr_train.errors import AudioError
from qasr_train.manifest import Utterance
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.sets import UtteranceSet, fingerprint
from tests.helpers import tone, utterance, write_wav


@dataclass(frozen=True)
class Quieter:
    """Halves every clip."""

    name: str = "half"

    def apply(self, waveform: np.ndarray, utterance: Utterance) -> np.ndarray:
        return waveform / 2

    def digest(self) -> str:
        return self.name


def prediction(name: str) -> Prediction:
    return Prediction(audio_filepath=None, duration_s=1.0, time_s=0.1, text="t", pred_text="t", id=name)


def test_a_clip_is_the_part_of_the_recording_that_the_row_is_with_the_change_of_its_set(tmp_path: Path) -> None:
    samples = tone(1.0)
    row = utterance(audio=str(write_wav(tmp_path / "a.wav", samples, subtype="FLOAT")), start_s=0.25, end_s=0.75)
    np.testing.assert_array_equal(UtteranceSet("s", [row]).load_clip(row), samples[4_000:12_000])
    np.testing.assert_array_equal(UtteranceSet("s", [row], change=Quieter()).load_clip(row), samples[4_000:12_000] / 2)
    with pytest.raises(AudioError, match=r"gone\.wav"):
        UtteranceSet("s", [row]).load_clip(replace(row, audio=str(tmp_path / "gone.wav")))


def test_a_prediction_says_its_set_and_of_a_chunk_its_recording() -> None:
    whole = UtteranceSet("ward", [utterance(id="a")], "target").placed(prediction("a"))
    assert (whole.set, whole.role, whole.parent_id, whole.chunk_index) == ("ward", "target", None, None)
    chunked = UtteranceSet("calls", [utterance(id="a")], chunks={"a": ("call 1", 2)}).placed(prediction("a"))
    assert (chunked.set, chunked.role, chunked.parent_id, chunked.chunk_index) == ("calls", None, "call 1", 2)


def test_the_digest_is_that_of_the_rows_and_of_what_becomes_of_them() -> None:
    rows = [utterance(id="a"), utterance(id="b")]
    plain = UtteranceSet("s", rows)
    assert plain.digest() == fingerprint(rows)
    assert UtteranceSet("s", rows, change=Quieter()).digest() == f"{fingerprint(rows)}-half"
    chunks = {"b": ("p", 1), "a": ("p", 0)}
    places = hashlib.sha256(b"[('a', ('p', 0)), ('b', ('p', 1))]").hexdigest()[:16]
    assert UtteranceSet("s", rows, chunks=chunks).digest() == f"{fingerprint(rows)}-{places}"
    assert UtteranceSet("s", rows, change=Quieter(), chunks=chunks).digest() == f"{fingerprint(rows)}-{places}-half"
    assert UtteranceSet("another name", rows, "guard").digest() == plain.digest()  # neither changes a transcript


def test_the_fingerprint_notices_every_change_that_matters() -> None:
    first, second = utterance(id="a"), utterance(id="b")
    before = fingerprint([first, second])
    assert fingerprint([first, second]) == before
    changes = [
        {"text": "other"},
        {"language": None},
        {"audio": "x.wav"},
        {"start_s": 0.5},
        {"channel": 0},
        {"channel": 1},
        {"context": "aspirin"},
        {"id": "c"},
    ]
    after = [fingerprint([first, replace(second, **change)]) for change in changes]
    assert len({before, *after}) == len(changes) + 1
    assert fingerprint([first, replace(second, origin="moved.jsonl:2")]) == before
