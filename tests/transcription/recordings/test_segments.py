"""What was said when, from the texts of pieces."""

from pathlib import Path

from qasr_train.timed.base import TimedSegment
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.recordings.find import FoundRecording
from qasr_train.transcription.recordings.pieces import CutRecording, Span, Track
from qasr_train.transcription.recordings.segments import failure_of, segments_of, text_of

RECORDING = FoundRecording(Path("a.wav"), "a")


def predictions(**texts: str) -> dict[str, Prediction]:
    """By the ids a#0@, a#1@ of `_0`, `_1`."""
    rows = [
        Prediction(None, 1.0, 0.1, None, text, id=name.replace("_", "a#") + "@", predicted_language="English")
        for name, text in texts.items()
    ]
    return {row.id: row for row in rows}


def cut(*spans: Span) -> CutRecording:
    return CutRecording(RECORDING, spans[-1].end_s, (Track(None, "", spans),))


def test_what_two_pieces_heard_stands_once_and_their_times_meet_in_the_middle() -> None:
    recording = cut(Span(0.0, 12.0, 0.5, 12.0), Span(8.0, 20.0, 8.0, 19.0))
    heard = predictions(_0="one two three four", _1="three four five six")
    assert segments_of(recording, heard, None) == [
        TimedSegment(0.5, 10.0, "one two three", language="English"),
        TimedSegment(10.0, 19.0, "four five six", language="English"),
    ]


def test_a_piece_in_which_nothing_was_heard_gives_no_segment_and_a_told_language_stays() -> None:
    recording = cut(Span(0.0, 5.0, 0.0, 5.0), Span(5.0, 9.0, 6.0, 8.0))
    assert segments_of(recording, predictions(_0="", _1="好"), "Chinese") == [
        TimedSegment(6.0, 8.0, "好", language="Chinese")
    ]


def test_a_segment_is_as_sure_as_its_piece() -> None:
    heard = predictions(_0="one", _1="two")
    heard["a#0@"].confidence = 0.75
    segments = segments_of(cut(Span(0.0, 5.0, 0.0, 5.0), Span(5.0, 9.0, 6.0, 8.0)), heard, None)
    assert [one.confidence for one in segments] == [0.75, None]


def test_one_failed_piece_fails_the_recording() -> None:
    recording, heard = cut(Span(0.0, 5.0, 0.0, 5.0), Span(5.0, 9.0, 6.0, 8.0)), predictions(_0="a", _1="")
    assert failure_of(recording, heard) is None
    heard["a#1@"].failed = "gone"
    assert failure_of(recording, heard) == "gone"
    assert failure_of(CutRecording(RECORDING, 0.0, (), "empty"), {}) == "empty"


def test_the_whole_text_is_that_of_its_pieces_joined_as_their_language_is_written() -> None:
    two = cut(Span(0.0, 12.0, 0.0, 12.0), Span(8.0, 20.0, 8.0, 20.0))
    assert text_of(two, predictions(_0="one two three four", _1="three four five"), None) == "one two three four five"
    apart = cut(Span(0.0, 5.0, 0.0, 5.0), Span(5.0, 9.0, 5.0, 9.0))
    assert text_of(apart, predictions(_0="你", _1="好"), "Chinese") == "你好"
    assert text_of(apart, predictions(_0="", _1=""), None) == ""
