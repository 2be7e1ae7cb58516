"""Owns what was said when in a whole recording: the texts of its pieces as segments, where two pieces overlap once.

Input: a cut recording and the predictions of its pieces. Output: `TimedSegment`s by time, the whole text, or why there are none.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from qasr_train.models.blocks.joined_text import piece_texts
from qasr_train.timed.base import TimedSegment
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.recordings.pieces import CutRecording, Span, Track


def failure_of(cut: CutRecording, predictions: Mapping[str, Prediction]) -> str | None:
    """Why a recording has no transcript: it cannot be read, or one of its pieces failed; None where all is well."""
    if cut.failed is not None:
        return cut.failed
    return next((predictions[one.id].failed for one in cut.utterances() if predictions[one.id].failed), None)


def segments_of(
    cut: CutRecording, predictions: Mapping[str, Prediction], told_language: str | None
) -> list[TimedSegment]:
    """The segments of a recording that has not failed; a piece in which nothing was heard gives none.

    A segment is a piece between silences, its times those between which anything is to be heard in it.

    Args:
        predictions: by the ids of `CutRecording.utterances`.
        told_language: what the model was told; None: each piece has the language the model heard.
    """
    segments = [one for track in cut.tracks for one in _track_segments(cut, track, predictions, told_language)]
    return sorted(segments, key=lambda one: (one.start_s, one.end_s))


def text_of(cut: CutRecording, predictions: Mapping[str, Prediction], told_language: str | None) -> str:
    """The whole text of a recording that has not failed, as an evaluation joins it; a line for each track.

    Takes the same as `segments_of`.
    """
    texts = ["".join(_heard_in(cut, track, predictions, told_language).texts).strip() for track in cut.tracks]
    return "\n".join(text for text in texts if text)


def _track_segments(
    cut: CutRecording, track: Track, predictions: Mapping[str, Prediction], told_language: str | None
) -> list[TimedSegment]:
    heard = _heard_in(cut, track, predictions, told_language)
    return [
        TimedSegment(*times, text.strip(), speaker=track.speaker, language=language, confidence=one.confidence)
        for times, text, language, one in zip(
            _times(track.spans), heard.texts, heard.languages, heard.pieces, strict=True
        )
        if text.strip()
    ]


class _Heard(NamedTuple):
    """The pieces of a track: their predictions, what each gives to the track's text, the language of each."""

    pieces: list[Prediction]
    texts: list[str]
    languages: list[str | None]


def _heard_in(
    cut: CutRecording, track: Track, predictions: Mapping[str, Prediction], told_language: str | None
) -> _Heard:
    heard = [predictions[cut.piece_id(track, number)] for number in range(len(track.spans))]
    languages = [told_language or one.predicted_language for one in heard]
    written = next((language for language in languages if language), None)
    overlaps_s = [max(0.0, left.end_s - right.start_s) for left, right in pairwise(track.spans)]
    return _Heard(heard, piece_texts([one.pred_text for one in heard], written, overlaps_s), languages)


def _times(spans: Sequence[Span]) -> list[tuple[float, float]]:
    """Of each piece, where two overlap up to the middle of what they share."""
    borders = [(left.end_s + right.start_s) / 2 for left, right in pairwise(spans)]
    starts, ends = [spans[0].start_s, *borders], [*borders, spans[-1].end_s]
    times = []
    for span, start_s, end_s in zip(spans, starts, ends, strict=True):
        first, last = max(span.heard_start_s, start_s), min(span.heard_end_s, end_s)
        times.append((first, last) if first < last else (start_s, end_s))
    return times
