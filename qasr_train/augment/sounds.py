"""Owns collections of recordings to draw from: noises and room impulse responses.

Input: a folder, a glob, a manifest or one recording. Output: a checked list of `Sound`s, of which stretches are read when drawn.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import numpy as np

from qasr_train.audio.decode import SAMPLE_RATE_HZ, load_audio, probe_audio
from qasr_train.errors import AudioError, DataError
from qasr_train.files import files_below
from qasr_train.sources.files import AUDIO_SUFFIXES, read_csv, read_json_rows

_MANIFEST_SUFFIXES = frozenset(".jsonl .json .ndjson .csv .tsv".split())
_AUDIO_COLUMNS = ("audio", "audio_filepath", "file_name", "path", "file")
_SHORTEST_READ_S = 0.05


@dataclass(frozen=True, slots=True)
class Sound:
    """One recording: where it lies, how long it is, how many channels it has."""

    path: str
    duration_s: float
    num_channels: int

    @property
    def name(self) -> str:
        """The file's name, for a person."""
        return Path(self.path).name


def open_sounds(path: str, key: str) -> list[Sound]:
    """The recordings a setting names, sorted by path; of each the header is read.

    Args:
        path: a folder (with all below it), a glob, a manifest (JSONL, JSON, CSV, TSV with a column `audio`; relative paths
            start at the manifest) or one recording.
        key: the setting, for messages.

    Raises:
        DataError: nothing there, no recording in it, or one that cannot be opened.
    """
    paths = sorted(set(_find(Path(path).expanduser(), path, key)))
    if not paths:
        raise DataError(
            f"{key}={path}: holds no recording; expected a folder, glob or manifest of {', '.join(sorted(AUDIO_SUFFIXES))} files"
        )
    with ThreadPoolExecutor(max_workers=8) as threads:
        found = list(threads.map(_probe, paths))
    for result in found:
        if isinstance(result, AudioError):
            raise DataError(f"{key}={path}: {result}") from None
    return [result for result in found if isinstance(result, Sound)]


def _find(path: Path, given: str, key: str) -> Iterator[str]:
    if path.is_dir():
        yield from map(str, files_below(path, AUDIO_SUFFIXES))
    elif path.is_file() and path.suffix.lower() in _MANIFEST_SUFFIXES:
        yield from _listed(path, key)
    elif path.is_file():
        yield str(path)
    elif any(character in given for character in "*?["):
        yield from (p for p in glob(str(path), recursive=True) if Path(p).suffix.lower() in AUDIO_SUFFIXES)  # noqa: PTH207 (absolute and relative)
    else:
        raise DataError(f"{key}={given}: no such file or folder; check the path")


def _listed(manifest: Path, key: str) -> Iterator[str]:
    read = read_csv if manifest.suffix.lower() in (".csv", ".tsv") else read_json_rows
    for where, row in read(manifest):
        named = next((row[column] for column in _AUDIO_COLUMNS if row.get(column)), None)
        if not isinstance(named, str):
            raise DataError(f"{key}: {where} names no recording; expected one in its column `audio`")
        yield str(manifest.parent / Path(named).expanduser())


def _probe(path: str) -> Sound | AudioError:
    try:
        info = probe_audio(path)
    except AudioError as error:
        return error
    return Sound(path, info.duration_s, info.num_channels)


def read_stretch(sound: Sound, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [at most `num_samples`] at 16 kHz of a recording, from a random offset; all of it where it is shorter.

    Raises:
        AudioError: it cannot be decoded.
    """
    wanted_s = max(num_samples / SAMPLE_RATE_HZ, _SHORTEST_READ_S)
    spare_s = sound.duration_s - wanted_s
    if spare_s <= 0.0:
        return load_audio(sound.path, name="augment")
    start_s = float(rng.uniform(0.0, spare_s))
    return load_audio(sound.path, start_s=start_s, end_s=start_s + wanted_s, name="augment")[:num_samples]
