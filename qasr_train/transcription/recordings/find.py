"""Owns which recordings are meant by paths of files and folders, and what each is called where results are written.

Input: paths. Output: `FoundRecording`s, each file once, in the order given, those of a folder by name.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qasr_train.errors import DataError
from qasr_train.files import files_below
from qasr_train.sources.files import AUDIO_SUFFIXES

# Of a folder: what libsndfile or ffmpeg reads, films among them. A file that is named is tried whatever it is called.
SUFFIXES = AUDIO_SUFFIXES | frozenset(".aac .amr .3gp .avi .flv .mka .mkv .mov .mp4 .mpeg .mpg .rf64 .snd .wma".split())


@dataclass(frozen=True, slots=True)
class FoundRecording:
    """One recording. path: as it was given, or found below a folder that was.

    name: without suffix, unique, relative: where results go below the output folder.
    content: the bytes of an encoded file that came over a connection and lies nowhere; None: those at `path`.
    """

    path: Path
    name: str
    content: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def audio(self) -> str | bytes:
        """As `load_audio` takes it."""
        return str(self.path) if self.content is None else self.content

    @property
    def name_in_messages(self) -> str:
        """What `load_audio` is told to call it: nothing where its path stands in the message anyway."""
        return "" if self.content is None else self.name


def find_recordings(paths: Sequence[str]) -> list[FoundRecording]:
    """The recordings that the paths name.

    Raises:
        DataError: a path does not exist; a folder holds no recording.
    """
    found: dict[Path, FoundRecording] = {}
    for text in paths:
        for recording in _recordings_of(Path(text).expanduser()):
            found.setdefault(recording.path.resolve(), recording)
    return _named_apart(list(found.values()))


def _recordings_of(path: Path) -> list[FoundRecording]:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; name a recording, or a folder of recordings")
    if not path.is_dir():
        return [FoundRecording(path, path.name)]
    files = files_below(path, SUFFIXES)
    if not files:
        raise DataError(
            f"{path}: holds no recording, in it or below, by the suffixes of sound and film (.wav, .mp3, .mp4, ...)"
        )
    return [FoundRecording(file, str(file.relative_to(path))) for file in files]


def _named_apart(recordings: list[FoundRecording]) -> list[FoundRecording]:
    """Names without suffixes; with them where two would be one (a.wav, a.mp3), and a number where that is not enough."""
    short = Counter(str(Path(one.name).with_suffix("")).casefold() for one in recordings)
    named, taken = [], Counter[str]()
    for one in recordings:
        stem = str(Path(one.name).with_suffix(""))
        name = stem if short[stem.casefold()] == 1 else one.name
        taken[name.casefold()] += 1
        number = taken[name.casefold()]
        named.append(replace(one, name=name if number == 1 else f"{name}-{number}"))
    return named
