"""Times of words in whole recordings."""

from pathlib import Path

import numpy as np
import pytest

from qasr_train.alignment.text import Alignment
from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, TimedWord
from qasr_train.transcription.recordings.find import FoundRecording
from qasr_train.transcription.recordings.pieces import CutRecording, Span, Track
from qasr_train.transcription.recordings.words import WordTimes
from tests.helpers import tone, write_wav


@pytest.fixture
def cut(tmp_path: Path) -> CutRecording:
    """Two channels of 4 s; the second is twice as loud."""
    path = write_wav(tmp_path / "a.wav", np.stack([tone(4.0, peak=0.2), tone(4.0, peak=0.4)], axis=1))
    spans = (Span(0.0, 4.0, 0.0, 4.0),)
    return CutRecording(FoundRecording(path, "a"), 4.0, (Track(0, "x", spans), Track(1, "y", spans)))


def segments() -> list[TimedSegment]:
    return [
        TimedSegment(1.0, 2.0, "one two", speaker="x", language="English"),
        TimedSegment(3.5, 4.0, "три", speaker="y", language="Russian"),
    ]


class Fake:
    """The first word at the clip's start, half a second long; others unplaced; knows no Russian."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, float, str]] = []  # seconds, peak, text

    def __call__(self, waveform: np.ndarray, text: str, language: str | None) -> Alignment:
        if language == "Russian":
            raise DataError("knows no Russian")
        self.heard.append((len(waveform) / 16000, round(float(waveform.max()), 1), text))
        words = [
            TimedWord(word, *((0.0, 0.5, 0.75) if not number else (None, None, None)))
            for number, word in enumerate(text.split())
        ]
        return Alignment(tuple(words), 0.0)


def test_words_have_times_of_the_recording_and_an_unknown_language_is_counted(
    cut: CutRecording, tmp_path: Path
) -> None:
    fake = Fake()
    with WordTimes(fake, tmp_path / "words.jsonl") as words:
        first, second = words.of(cut, segments())
    assert first.words == (TimedWord("one", 0.75, 1.25, 0.75), TimedWord("two", None, None))
    assert second == segments()[1]
    assert words.refused == {"knows no Russian": 1}
    assert fake.heard == [(1.5, 0.2, "one two")]  # a margin on both sides, its own channel


def test_what_was_aligned_is_not_aligned_again(cut: CutRecording, tmp_path: Path) -> None:
    with WordTimes(Fake(), tmp_path / "words.jsonl") as words:
        before = words.of(cut, segments())
    with open(tmp_path / "words.jsonl", "a") as out:
        out.write('{"key": "cut sh')
    idle = Fake()
    with WordTimes(idle, tmp_path / "words.jsonl") as words:
        assert words.of(cut, segments()) == before
    assert idle.heard == []
