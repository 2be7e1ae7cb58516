"""Owns how whole recordings of any length become utterances a model takes in one pass: cut at silences, and remembered.

Input: recordings, the channels wanted, the longest piece. Output: a `CutRecording` each; pieces.jsonl, so that a second try reads
instead of decoding. The cuts are those of `long_audio.py`, found window by window: a recording may last days.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from qasr_train.audio.decode import SAMPLE_RATE_HZ, AudioInfo, load_audio, probe_audio
from qasr_train.errors import AudioError
from qasr_train.files import open_lines, parse_json
from qasr_train.manifest import Utterance
from qasr_train.transcription.long_audio import heard_range, split_at_silences
from qasr_train.transcription.recordings.find import FoundRecording

WINDOW_S = 300.0  # of a recording decoded at once
MARGIN_S = 0.001  # a piece stays this much shorter than a pass, whichever way its ends are rounded


class Channels(str, Enum):
    """Which channels of a recording are heard."""

    mix = "mix"  # all that carry sound, averaged
    separate = "separate"  # each by itself, as a speaker of its own
    first = "first"  # the first alone


@dataclass(frozen=True, slots=True)
class Cutting:
    """How recordings are cut. max_duration_s: seconds, the longest piece; None: never cut. overlap_s: as `split_at_silences`."""

    channels: Channels
    max_duration_s: float | None
    overlap_s: float


@dataclass(frozen=True, slots=True)
class Span:
    """One piece, in seconds of its recording. heard_start_s, heard_end_s: the part of it in which anything is to be heard."""

    start_s: float
    end_s: float
    heard_start_s: float
    heard_end_s: float


@dataclass(frozen=True, slots=True)
class Track:
    """What is transcribed of a recording as one: a channel of it (None: all), cut into pieces; speaker: its name, "" for none."""

    channel: int | None
    speaker: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class CutRecording:
    """A recording with its tracks. failed: why it cannot be read, and then it has none.

    state: of the file as it was when it was cut, and of how; begins to differ where either does.
    """

    recording: FoundRecording
    duration_s: float
    tracks: tuple[Track, ...]
    failed: str | None = None
    state: str = ""

    def piece_id(self, track: Track, number: int) -> str:
        """What a piece of a track is called among the utterances of a transcription."""
        channel = "" if track.channel is None else f":{track.channel}"
        return f"{self.recording.name}{channel}#{number}@{self.state}"

    def pieces(self) -> Iterator[tuple[str, Span]]:
        """(id, span) of every piece, in the order of `utterances`."""
        for track in self.tracks:
            yield from ((self.piece_id(track, number), span) for number, span in enumerate(track.spans))

    def utterances(self) -> Iterator[Utterance]:
        """An utterance for each piece of each track, in order."""
        for track in self.tracks:
            for number, span in enumerate(track.spans):
                is_whole = len(track.spans) == 1
                yield Utterance(
                    self.piece_id(track, number),
                    self.recording.audio,
                    start_s=None if is_whole else span.start_s,
                    end_s=None if is_whole or number == len(track.spans) - 1 else span.end_s,
                    duration_s=span.end_s - span.start_s,
                    channel=track.channel,
                    speaker=track.speaker or None,
                )


def cut_all(
    recordings: Sequence[FoundRecording],
    cutting: Cutting,
    journal: Path,
    *,
    num_threads: int,
    on_done: Callable[[CutRecording], None],
) -> list[CutRecording]:
    """Every recording cut, in order; what `journal` holds of an earlier try is taken from there where the file is the same.

    on_done: called with each as it is there, from this thread.
    """
    known = _read(journal)
    keys = [_key(one, cutting) for one in recordings]

    def cut(index: int) -> CutRecording:
        row = known.get(keys[index])
        cut_now = _of_row(row, recordings[index]) if row else cut_recording(recordings[index], cutting)
        return replace(cut_now, state=hashlib.sha256(repr(keys[index]).encode()).hexdigest()[:10])

    cut_ones: list[CutRecording] = []
    with open_lines(journal) as out, ThreadPoolExecutor(num_threads, "cut-recordings") as pool:
        try:
            for key, one in zip(keys, pool.map(cut, range(len(recordings))), strict=True):
                if one.failed is None and key not in known:
                    out.write(json.dumps(_row(one, key), ensure_ascii=False) + "\n")
                    out.flush()
                cut_ones.append(one)
                on_done(one)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return cut_ones


def cut_recording(recording: FoundRecording, cutting: Cutting, info: AudioInfo | None = None) -> CutRecording:
    """One recording cut; `failed` says why where it cannot be decoded to its end. info: what `probe_audio` said; None: ask."""
    try:
        info = info or probe_audio(recording.audio, name=recording.name_in_messages)
        channels: list[int | None] = [None]
        if cutting.channels is Channels.first and info.num_channels > 1:
            channels = [0]
        elif cutting.channels is Channels.separate and info.num_channels > 1:
            channels = list(range(info.num_channels))
        tracks = []
        for channel in channels:
            speaker = f"Speaker {channel + 1}" if channel is not None and len(channels) > 1 else ""
            tracks.append(Track(channel, speaker, tuple(_spans(recording, channel, info.duration_s, cutting))))
    except AudioError as error:
        return CutRecording(recording, 0.0, (), str(error))
    return CutRecording(recording, info.duration_s, tuple(tracks))


def _spans(recording: FoundRecording, channel: int | None, duration_s: float, cutting: Cutting) -> Iterator[Span]:
    """The pieces of one channel, decoded a window at a time; the next window begins with the first piece that is not sure."""
    longest_s = duration_s if cutting.max_duration_s is None else cutting.max_duration_s
    window_s = max(WINDOW_S, 3 * longest_s)
    start_s = 0.0
    while True:
        is_last = cutting.max_duration_s is None or start_s + window_s >= duration_s
        waveform = load_audio(
            recording.audio,
            start_s=start_s,
            end_s=None if is_last else start_s + window_s,
            channel=channel,
            name=recording.name_in_messages,
        )
        ranges = _ranges(waveform, cutting)
        # A piece is sure where it would be the same if the window went on.
        reach = int((longest_s + 1) * SAMPLE_RATE_HZ)
        num_sure = len(ranges) if is_last else sum(start + reach <= len(waveform) for start, _ in ranges)
        for start, end in ranges[:num_sure]:
            yield _span(waveform, start, end, start_s)
        if is_last:
            return
        start_s += ranges[num_sure][0] / SAMPLE_RATE_HZ


def _ranges(waveform: np.ndarray, cutting: Cutting) -> list[tuple[int, int]]:
    if cutting.max_duration_s is None:
        return [(0, len(waveform))]
    return split_at_silences(waveform, max_duration_s=cutting.max_duration_s - MARGIN_S, overlap_s=cutting.overlap_s)


def _span(waveform: np.ndarray, start: int, end: int, offset_s: float) -> Span:
    first, last = heard_range(waveform[start:end])
    return Span(*(round(offset_s + sample / SAMPLE_RATE_HZ, 6) for sample in (start, end, start + first, start + last)))


_Key = tuple[str, int, int, str, float | None, float]


def _key(recording: FoundRecording, cutting: Cutting) -> _Key:
    """Of what decides the cuts: the file as it stands, and how it is cut."""
    try:
        status = recording.path.stat()
        size, changed = status.st_size, status.st_mtime_ns
    except OSError:
        size = changed = -1
    path = str(recording.path.resolve())
    return path, size, changed, cutting.channels.value, cutting.max_duration_s, cutting.overlap_s


def _read(journal: Path) -> dict[_Key, dict[str, Any]]:
    if not journal.is_file():
        return {}
    rows: dict[_Key, dict[str, Any]] = {}
    for line in journal.read_bytes().splitlines():
        try:
            row = parse_json(line)
            path, size, changed, channels, max_duration_s, overlap_s = row["key"]
            rows[path, size, changed, channels, max_duration_s, overlap_s] = row
        except (ValueError, KeyError, TypeError):
            continue  # cut short by a kill: the recording is cut again
    return rows


def _row(one: CutRecording, key: _Key) -> dict[str, Any]:
    tracks = [asdict(track) for track in one.tracks]
    return {"key": list(key), "duration_s": one.duration_s, "tracks": tracks}


def _of_row(row: dict[str, Any], recording: FoundRecording) -> CutRecording:
    tracks = [Track(t["channel"], t["speaker"], tuple(Span(**span) for span in t["spans"])) for t in row["tracks"]]
    return CutRecording(recording, row["duration_s"], tuple(tracks))
