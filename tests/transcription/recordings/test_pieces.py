"""Recordings of any length become pieces, the same whether they are decoded at once or by windows."""

import json
from pathlib import Path

import numpy as np
import pytest

from qasr_train.transcription.long_audio import split_at_silences
from qasr_train.transcription.recordings import pieces
from qasr_train.transcription.recordings.find import FoundRecording
from qasr_train.transcription.recordings.pieces import Channels, CutRecording, Cutting, cut_all, cut_recording
from tests.helpers import tone, write_wav

RATE = 16_000
CUTTING = Cutting(Channels.mix, 5.0, 1.0)


def found(path: Path) -> FoundRecording:
    return FoundRecording(path, path.stem)


def noise(duration_s: float) -> np.ndarray:
    return (0.1 * np.random.default_rng(3).standard_normal(int(duration_s * RATE))).astype(np.float32)


def test_pieces_found_window_by_window_are_those_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = noise(63.0)
    path = write_wav(tmp_path / "a.wav", waveform, subtype="FLOAT")
    monkeypatch.setattr(pieces, "WINDOW_S", 16.0)
    [track] = cut_recording(found(path), CUTTING).tracks
    expected = split_at_silences(waveform, max_duration_s=5.0 - pieces.MARGIN_S, overlap_s=1.0)
    assert [(round(one.start_s * RATE), round(one.end_s * RATE)) for one in track.spans] == expected


def test_a_piece_knows_where_something_is_heard_in_it(tmp_path: Path) -> None:
    quiet = np.zeros(RATE, np.float32)
    path = write_wav(tmp_path / "a.wav", np.concatenate([quiet, tone(2.0), quiet]))
    [[span]] = [track.spans for track in cut_recording(found(path), CUTTING).tracks]
    assert (span.start_s, span.end_s) == (0.0, 4.0)
    assert (span.heard_start_s, span.heard_end_s) == pytest.approx((1.0, 3.0), abs=0.03)


def test_channels_are_mixed_taken_apart_or_the_first_alone(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.stack([tone(1.0), tone(1.0)], axis=1))
    mono = write_wav(tmp_path / "b.wav", tone(1.0))

    def tracks(recording: Path, channels: Channels) -> list[tuple[int | None, str]]:
        cut = cut_recording(found(recording), Cutting(channels, 5.0, 1.0))
        return [(track.channel, track.speaker) for track in cut.tracks]

    assert tracks(path, Channels.mix) == [(None, "")]
    assert tracks(path, Channels.first) == [(0, "")]
    assert tracks(path, Channels.separate) == [(0, "Speaker 1"), (1, "Speaker 2")]
    assert tracks(mono, Channels.separate) == [(None, "")]


def test_a_whole_recording_is_its_own_utterance_and_a_cut_one_ends_open(tmp_path: Path) -> None:
    short = cut_recording(found(write_wav(tmp_path / "a.wav", tone(1.0))), CUTTING)
    [one] = short.utterances()
    assert (one.id, one.start_s, one.end_s, one.duration_s) == ("a#0@", None, None, 1.0)
    long = list(cut_recording(found(write_wav(tmp_path / "b.wav", noise(9.0))), CUTTING).utterances())
    assert (long[0].start_s, long[-1].end_s) == (0.0, None)
    assert [one.id for one in long] == [f"b#{number}@" for number in range(len(long))]


def test_what_was_cut_is_not_decoded_again_unless_the_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_wav(tmp_path / f"{name}.wav", tone(1.0)) for name in "ab"]
    bad = tmp_path / "c.wav"
    bad.write_text("hello")
    journal = tmp_path / "pieces.jsonl"

    def cut() -> list[CutRecording]:
        return cut_all([*map(found, paths), found(bad)], CUTTING, journal, num_threads=1, on_done=lambda _: None)

    first = cut()
    assert first[2].failed is not None and "is text, not a recording" in first[2].failed
    write_wav(paths[1], tone(2.0))
    with open(journal, "a") as out:
        out.write(json.dumps({"key": []})[:5])  # cut short by a kill
    decoded: list[str] = []
    monkeypatch.setattr(
        pieces, "cut_recording", lambda one, cutting: decoded.append(one.name) or cut_recording(one, cutting)
    )
    again = cut()
    assert decoded == ["b", "c"]
    assert again[0] == first[0]
    assert again[1].duration_s == 2.0
    ids = [[u.id for u in one.utterances()] for one in (first[0], first[1], again[1])]
    assert len({text for [text] in ids}) == 3  # a file that changed has other ids


def test_bytes_are_cut_as_their_file_is_and_called_by_their_name(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(9.0))
    upload = FoundRecording(Path("r1"), "r1", path.read_bytes())
    assert cut_recording(upload, CUTTING).tracks == cut_recording(found(path), CUTTING).tracks
    assert {one.audio for one in cut_recording(upload, CUTTING).utterances()} == {path.read_bytes()}
    broken = cut_recording(FoundRecording(Path("r2"), "r2", b"<html>"), CUTTING)
    assert (broken.failed or "").startswith("r2: is a web page") and "html" not in repr(upload)
