"""Owns files of times beside recordings (call.wav, call.srt) as a source: SRT, VTT, CTM, STM, TextGrid, ELAN.

Input: such a file, or a folder of them. Output: a row for each segment in which something was said, with its part of the
recording. A CTM or STM may speak of several recordings, which lie beside it under their names.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from qasr_train.audio.decode import probe_audio
from qasr_train.errors import AudioError, DataError
from qasr_train.files import files_below
from qasr_train.sources.base import OpenSource, Rows
from qasr_train.sources.files import AUDIO_SUFFIXES, FileSource, find_metadata
from qasr_train.sources.settings import SourceConfig
from qasr_train.timed import ctm, stm
from qasr_train.timed.base import TimedSegment, joined_lines, read_text
from qasr_train.timed.formats import read_timed, without_tiers
from qasr_train.timed.jsonl import row_of_word

log = logging.getLogger(__name__)

SUFFIXES = (".srt", ".vtt", ".ctm", ".stm", ".textgrid", ".eaf")
_OF_SEVERAL = {".ctm": ctm.recordings_of, ".stm": stm.recordings_of}
_MAX_BEYOND_S = 2.0  # a subtitle may stay on screen a little longer than the sound lasts


def holds_timed_files(folder: Path) -> bool:
    """Whether a folder is recordings with files of times, and nothing else says what it is."""
    return not find_metadata(folder) and any(files_below(folder, SUFFIXES))


def open_timed(path: Path, config: SourceConfig) -> OpenSource:
    """A file of times, or a folder of them."""
    return FileSource(path, partial(read_timed_files, path, config.tiers))


def read_timed_files(path: Path, tiers: Sequence[str] = ()) -> Rows:
    """Rows of every file of times, by name; audio relative to the folder. tiers: as `read_timed` takes them.

    Raises:
        DataError: a file is broken, or has no such tiers; none of the recordings is there; two files speak of one.
    """
    files = files_below(path, SUFFIXES) if path.is_dir() else [path]
    folder = path if path.is_dir() else path.parent
    num_empty, lost = 0, list[str]()
    heard: dict[Path, Path] = {}  # recording -> what speaks of it
    for file in files:
        for name, segments in _recordings_of(file, tiers).items():
            audio = _audio_beside(file, name)
            if audio is None:
                lost.append(f"{file.name}: {name}" if file.suffix.lower() in _OF_SEVERAL else file.name)
                continue
            if audio in heard:
                raise DataError(
                    f"{file}: speaks of {audio.name}, as {heard[audio].name} does; keep one of the two there, or name one as "
                    "the path of the source"
                )
            heard[audio] = file
            num_empty += sum(not _holds_speech(one) for one in segments)
            yield from _rows(file, audio, [one for one in segments if _holds_speech(one)], folder)
    _tell(path, num_empty, lost, files_below(path, AUDIO_SUFFIXES) if path.is_dir() else [], heard)


def _recordings_of(file: Path, tiers: Sequence[str]) -> Mapping[str, Sequence[TimedSegment]]:
    """The segments of each recording a file speaks of, by its name without suffix."""
    of_several = _OF_SEVERAL.get(file.suffix.lower())
    if of_several is None:
        return {file.stem: read_timed(file, tiers)}
    if tiers:
        raise without_tiers(file)
    recordings = of_several(read_text(file), str(file))
    # A file about one recording is about the one beside it, whatever it calls it.
    return (
        {file.stem: next(iter(recordings.values()))}
        if len(recordings) == 1 and _audio_beside(file, file.stem)
        else recordings
    )


def _audio_beside(file: Path, name: str) -> Path | None:
    """The recording of a name in the folder of a file of times; the name may have its suffix already."""
    for candidate in (name, *(f"{name}{suffix}" for suffix in sorted(AUDIO_SUFFIXES))):
        for spelling in (candidate, f"{name}{Path(candidate).suffix.upper()}"):
            path = file.parent / spelling
            if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
                return path
    return None


def _holds_speech(segment: TimedSegment) -> bool:
    return bool(segment.text.strip()) and segment.end_s > segment.start_s


def _rows(file: Path, audio: Path, segments: Sequence[TimedSegment], folder: Path) -> Rows:
    duration_s = _duration_s(audio)
    for number, segment in enumerate(segments, start=1):
        end_s = segment.end_s
        if duration_s is not None and duration_s < end_s <= duration_s + _MAX_BEYOND_S and segment.start_s < duration_s:
            end_s = duration_s
        yield (
            f"{file}:segment {number}",
            {
                "id": f"{audio.relative_to(folder).with_suffix('')}-{number:04d}",
                "audio": str(audio.relative_to(folder)),
                "text": joined_lines(segment.text),
                "speaker": segment.speaker or None,
                "language": segment.language,
                "start_s": segment.start_s,
                "end_s": end_s,
                "words": [row_of_word(word) for word in segment.words] or None,
            },
        )


def _duration_s(audio: Path) -> float | None:
    try:
        return probe_audio(str(audio)).duration_s
    except AudioError:
        return None  # told where the recording is read


def _tell(path: Path, num_empty: int, lost: Sequence[str], recordings: Sequence[Path], heard: Collection[Path]) -> None:
    if not heard and lost:
        raise DataError(
            f"{path}: no recording lies beside {lost[0]}, nor beside any other of {len(lost)}; put them into one folder under "
            "one name (call.wav, call.srt)"
        )
    for number, what, example in _shares(num_empty, lost, [one.name for one in recordings if one not in heard]):
        log.warning("%s: %d %s are left out%s", path, number, what, f", such as {example}" if example else "")


def _shares(num_empty: int, lost: Sequence[str], silent: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    if num_empty:
        yield num_empty, "segments without text or length", ""
    if lost:
        yield len(lost), "transcripts without a recording", lost[0]
    if silent:
        yield len(silent), "recordings without a transcript", silent[0]
