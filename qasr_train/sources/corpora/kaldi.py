"""Owns Kaldi's data folders: wav.scp, text, segments, utt2spk, and what else says which part of which recording is meant.

Input: a folder with wav.scp, or one of such folders (train/, dev/, test/: their names are the splits). Output: rows; written the
other way by `write_kaldi`. A command in wav.scp is never run: those that only decode a file are read as that file.
"""

import logging
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.errors import DataError
from qasr_train.files import FreeNames, write_whole
from qasr_train.manifest import Utterance
from qasr_train.sources.base import OpenSource, Rows
from qasr_train.sources.files import AUDIO_SUFFIXES, FileSource
from qasr_train.sources.settings import SourceConfig
from qasr_train.text.languages import LANGUAGE_CODES

WAV_SCP = "wav.scp"
# Programs that decode -> what in their arguments makes them do more.
_CHANGING: dict[str, tuple[str, ...]] = {
    "cat": ("|",),
    "ffmpeg": ("|", "-ss ", "-t ", "-to ", "-af", "-filter"),  # a blank: the whole word, as `-threads` changes nothing
    "flac": ("|", "--skip", "--until"),
    "mpg123": ("|", "-k", "-n", "--skip", "--frames"),
    "opusdec": ("|", "--gain"),
    "sph2pipe": ("|", "-t", "-s"),
}
_SOX_DECODING = re.compile(r"remix|rate|channels|-\w|[\d.]+k?")
_CHANNEL = re.compile(r"sph2pipe\b.* -c (\d+)|\bsox\b.* remix (\d+)|\bffmpeg\b.* -map_channel 0\.0\.(\d+)")
_ARCHIVE = re.compile(r"\.(?:ark|scp):\d+$")
log = logging.getLogger(__name__)

_UNKNOWN_END_S = -1.0  # segments says so where a segment goes on to the recording's end


def holds_kaldi(folder: Path) -> bool:
    """Whether a folder is one of Kaldi's, or holds such for its splits."""
    return bool(_data_folders(folder))


def open_kaldi(path: Path, config: SourceConfig) -> OpenSource:
    """A data folder of Kaldi, or a folder of such."""
    return FileSource(path, partial(read_kaldi, path))


def read_kaldi(folder: Path) -> Rows:
    """Rows of every data folder, in the order of its utterances.

    Raises:
        DataError: a file is missing or a line of it broken; files do not agree; a command that is no mere decoding.
    """
    folders = _data_folders(folder)
    if not folders:
        raise DataError(f"{folder}: holds no {WAV_SCP}; expected a data folder of Kaldi")
    for data in folders:
        split = {} if data == folder else {"split": data.name}
        for where, row in _rows(data):
            yield where, row | split


def write_kaldi(folder: Path, utterances: Sequence[Utterance]) -> None:
    """A data folder of these utterances; sorted, and each id begun by its speaker's, as Kaldi's scripts demand.

    One channel of a recording is a command of sox in wav.scp, as Kaldi's own recipes have it.

    Raises:
        DataError: an utterance has no text, or no file of its own.
    """
    rows: dict[str, list[str]] = {name: [] for name in (WAV_SCP, "segments", "text", "utt2spk", "utt2lang", "spk2utt")}
    recordings = _Recordings()
    speakers: dict[str, list[str]] = {}
    ids = FreeNames()
    named = [(ids.take(_kaldi_id(one)), one) for one in utterances]
    for key, one in sorted(named, key=lambda pair: pair[0].encode()):
        if not isinstance(one.audio, str) or is_arrow_reference(one.audio) or one.text is None:
            raise DataError(
                f"{one.origin}: utterance {one.id!r} has no file or no text, and cannot stand in a Kaldi folder"
            )
        end_s = _end_s(one)
        rows["segments"].append(
            f"{key} {recordings.name_of(one.audio, one.channel)} {one.start_s or 0.0:.3f} {end_s:.3f}"
        )
        rows["text"].append(f"{key} {' '.join(one.text.split())}".rstrip())
        rows["utt2spk"].append(f"{key} {_field(one.speaker or key)}")
        rows["utt2lang"] += [f"{key} {LANGUAGE_CODES.get(one.language, one.language)}"] if one.language else []
        speakers.setdefault(_field(one.speaker or key), []).append(key)
    rows[WAV_SCP] = recordings.entries()
    rows["spk2utt"] = [f"{speaker} {' '.join(keys)}" for speaker, keys in speakers.items()]
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in rows.items():
        if lines:
            write_whole(folder / name, "".join(f"{line}\n" for line in sorted(lines, key=str.encode)))


def _end_s(one: Utterance) -> float:
    """Where it ends in its recording; lhotse does not know the mark of an unknown end, and makes a length below 0 of it."""
    if one.end_s is not None:
        return one.end_s
    return _UNKNOWN_END_S if one.duration_s is None else (one.start_s or 0.0) + one.duration_s


class _Recordings:
    """Names of recordings, each once."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, int | None], str] = {}
        self._free = FreeNames()

    def name_of(self, audio: str, channel: int | None) -> str:
        """The name of a file's channel (None: of all of it), made from the file's."""
        if (audio, channel) not in self._names:
            stem = _field(Path(audio).stem) + ("" if channel is None else f"-{channel + 1}")
            self._names[audio, channel] = self._free.take(stem)
        return self._names[audio, channel]

    def entries(self) -> list[str]:
        """The lines of wav.scp."""
        return [
            f"{name} {audio if channel is None else f'sox {shlex.quote(audio)} -t wav - remix {channel + 1} |'}"
            for (audio, channel), name in self._names.items()
        ]


def _data_folders(folder: Path) -> list[Path]:
    if (folder / WAV_SCP).is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"[!.]*/{WAV_SCP}"))


def _rows(data: Path) -> Rows:
    recordings = {key: _audio(rest, where, data) for key, rest, where in _lines(data / WAV_SCP)}
    texts = {key: rest for key, rest, _ in _optional(data / "text")}
    speakers = {key: rest for key, rest, _ in _optional(data / "utt2spk")}
    languages = {key: rest for key, rest, _ in _optional(data / "utt2lang")}
    has_text = (data / "text").is_file()
    for key, recording, start_s, end_s, where in _segments(data, recordings):
        if recording not in recordings:
            raise DataError(f"{where}: names the recording {recording!r}, which {data / WAV_SCP} does not have")
        if has_text and key not in texts:
            raise DataError(
                f"{where}: utterance {key!r} has no line in {data / 'text'}; leave out what has no transcript "
                "(utils/fix_data_dir.sh does), or move the file away where none is wanted"
            )
        audio, channel = recordings[recording]
        row: dict[str, Any] = {"id": key, "audio": audio, "speaker": speakers.get(key), "language": languages.get(key)}
        row |= {"start_s": start_s, "end_s": end_s, "channel": channel}
        yield where, row | ({"text": texts.pop(key)} if has_text else {})
    if texts:
        log.warning("%s: %d lines are of no utterance, such as %s", data / "text", len(texts), next(iter(texts)))


def _segments(
    data: Path, recordings: Mapping[str, object]
) -> Iterator[tuple[str, str, float | None, float | None, str]]:
    """(utterance, recording, start, end, place) of every utterance; without `segments` a recording is one."""
    if not (data / "segments").is_file():
        for number, key in enumerate(recordings, start=1):
            yield key, key, None, None, f"{data / WAV_SCP}:{number}"
        return
    for key, rest, where in _lines(data / "segments"):
        fields = rest.split()
        try:
            recording, start_s, end_s = fields[0], float(fields[1]), float(fields[2])
        except (IndexError, ValueError):
            raise DataError(f"{where}: {rest!r:.60}; expected utterance, recording, start and end in seconds") from None
        yield key, recording, start_s, None if end_s == _UNKNOWN_END_S else end_s, where


def _audio(entry: str, where: str, data: Path) -> tuple[str, str | None]:
    """(file, channel of it or None) that an entry of wav.scp stands for."""
    if _ARCHIVE.search(entry):
        raise DataError(
            f"{where}: {entry!r:.80} is a place in an archive of Kaldi; write the recordings as files (wav-copy)"
        )
    if not entry.endswith("|"):
        return _found(entry, data), None
    try:
        words = shlex.split(entry[:-1])
    except ValueError:
        words = []
    files = [word for word in words[1:] if Path(word).suffix.lower() in AUDIO_SUFFIXES]
    if not words or len(files) != 1 or not _only_decodes(words):
        raise DataError(
            f"{where}: {entry!r:.80} is a command, which is not run here; write its sound to a file and name that in {WAV_SCP}"
        )
    named = _CHANNEL.search(entry)
    channel = None if named is None else named[3] or str(int(named[1] or named[2]) - 1)  # ffmpeg alone counts from 0
    return _found(files[0], data), channel


def _only_decodes(words: Sequence[str]) -> bool:
    """Whether a command gives the sound of a file as it is, or a channel of it: no part, no speed, no filter."""
    program = Path(words[0]).name
    if program == "sox":
        after = words[len(words) - 1 - words[::-1].index("-") + 1 :] if "-" in words else words
        return all(_SOX_DECODING.fullmatch(word) for word in after)
    changes = _CHANGING.get(program)
    if "-map_channel" in words and not _CHANNEL.search(" ".join(words)):
        return False
    return changes is not None and not any(f"{word} ".startswith(changes) for word in words[1:])


def _found(audio: str, data: Path) -> str:
    """A relative path from the data folder where the file is there; else as it is, for audio_root."""
    inside = data / audio
    return str(inside.absolute()) if inside.is_file() else audio


def _optional(path: Path) -> Iterator[tuple[str, str, str]]:
    if path.is_file():
        yield from _lines(path)


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """(first field, the rest, place) of every line that is not blank.

    Raises:
        DataError: it cannot be read, or a first field stands twice.
    """
    seen = set[str]()
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                key, _, rest = line.strip().replace("\t", " ").partition(" ")
                if not key:
                    continue
                if key in seen:
                    raise DataError(f"{path}:{number}: {key!r} stands twice; every line has its own")
                seen.add(key)
                yield key, rest.strip(), f"{path}:{number}"
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _kaldi_id(one: Utterance) -> str:
    """An id without blanks that begins with the speaker's, so that sorting by one sorts by the other."""
    own, speaker = _field(one.id), _field(one.speaker or "")
    return own if own.startswith(speaker) else f"{speaker}-{own}"


def _field(text: str) -> str:
    return "_".join(text.split())
