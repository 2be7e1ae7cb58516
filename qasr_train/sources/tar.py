"""Owns reading tar shards in the WebDataset layout: members of one sample stand together and share a name up to the first dot
(up to the last where each recording would not else have its own).

Input: tar files, here or on the hub. Output: rows with the audio bytes, `text` from a .txt member, and the fields of a .json
member. A position is a byte of the shard, so that a resume reads nothing again. Written here because the builder of `datasets`
needs torchcodec for audio and goes to a position by reading all that came before it.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from qasr_train.errors import DataError
from qasr_train.files import parse_json
from qasr_train.sources.base import Blocks, OpenSource, Rows, Shards
from qasr_train.sources.settings import SourceConfig

_TEXT = ("txt", "text", "transcript", "lab")
_AUDIO = (
    "wav",
    "flac",
    "mp3",
    "ogg",
    "opus",
    "m4a",
    "aac",
    "aiff",
    "aif",
    "au",
    "caf",
    "sph",
    "webm",
    "amr",
    "wma",
    "mp4",
)
_READ = {"json", *_TEXT, *_AUDIO}
_MAX_MEMBER_BYTES, _MAX_TEXT_BYTES, _MAX_HEADER_BYTES = 512 * 2**20, 16 * 2**20, 2**20


def open_tar(path: Path, config: SourceConfig) -> OpenSource:
    """A tar file or a folder of such."""
    return TarSource(path)


@dataclass(frozen=True)
class TarSource:
    """A tar file or a folder of such, as a stream alone; see `OpenSource`."""

    path: Path

    def rows(self) -> Rows:
        """Refused: what a list would hold are the recordings themselves."""
        raise DataError(f"{self.path}: tar shards are read as they come; set streaming=true")

    def blocks(self) -> Blocks | None:
        """None: there are no lines of JSON."""
        return None

    def shards(self) -> Shards:
        """See `OpenSource`."""
        files = find_tar_files(self.path)
        if not files:
            raise DataError(f"{self.path}: holds no .tar file; check the path of the source")
        return TarRows([str(file) for file in files])


class TarRows:
    """Tar files as shards of a stream; see `Shards`."""

    def __init__(self, files: list[str]) -> None:
        self.files, self.num_shards, self.num_bytes = files, len(files), 0

    def rows(self, shard: int, state: Any) -> Rows:
        """(file:sample, row) from the byte `state` says.

        Raises:
            DataError: the file cannot be opened, is no tar file or ends too early, or holds a sample that cannot be read.
        """
        path = self.files[shard]
        self.num_bytes = state["num_bytes"] if state else 0
        try:
            with _open(path) as file:
                file.seek(self.num_bytes)
                for key, members, end in _samples(file, path):
                    where = f"{path}:{key}"
                    row = _row(key, members, where)
                    self.num_bytes = end
                    yield where, row
        except DataError:
            raise
        # Headers that are not what they seem end in all of these.
        except (tarfile.TarError, ValueError, ArithmeticError, LookupError, EOFError) as error:
            raise DataError(f"{path}: cannot be read as a tar file ({error}); write the shard anew") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error}); check the path of the source") from None

    def state_dict(self) -> dict[str, int]:
        """The byte behind the sample given last."""
        return {"num_bytes": self.num_bytes}


def find_tar_files(path: Path) -> list[Path]:
    """The tar files of a folder in the order of their names, or the file itself."""
    if path.is_dir():
        return sorted(file for file in path.glob("*.tar") if not file.name.startswith("."))
    return [path] if path.suffix.lower() == ".tar" and path.is_file() else []


def _open(path: str) -> Any:
    if "://" not in path:
        return open(path, "rb")
    from datasets.utils.file_utils import xopen

    return xopen(path, "rb")


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of a shard. folder: up to its last slash; name: behind it. end: the byte of the shard behind it."""

    folder: str
    name: str
    content: bytes
    end: int

    @property
    def suffix(self) -> str:
        """What it holds, by the last part of its name."""
        return self.name.rpartition(".")[2].lower()

    @property
    def short_key(self) -> str:
        """Its sample, by the rule of the layout: the name up to the first dot."""
        return self.folder + self.name.partition(".")[0]

    @property
    def long_key(self) -> str:
        """Its sample where names hold dots themselves: the name up to the last dot."""
        return self.folder + self.name.rpartition(".")[0]


_Sample = tuple[str, dict[str, bytes], int]  # its name, suffix -> content, the byte behind it


def _samples(file: Any, path: str) -> Iterator[_Sample]:
    """Every sample from where the file stands.

    Members whose names agree up to the first dot are one sample, unless they bring a second recording: then the names hold dots
    (dates, numbers of takes), and those that agree up to the last dot are one.
    """
    pending: list[_Member] = []
    for member in _members(file, path):
        if pending and member.short_key != pending[0].short_key:
            yield _sample(pending, path)
            pending = []
        elif member.suffix in _AUDIO and any(one.suffix in _AUDIO for one in pending):
            before = [one for one in pending if one.long_key != member.long_key]
            yield from _by_long_key(before, path)
            pending = pending[len(before) :]
        pending.append(member)
    if pending:
        yield _sample(pending, path)


def _by_long_key(members: list[_Member], path: str) -> Iterator[_Sample]:
    for _, together in groupby(members, key=lambda member: member.long_key):
        yield _sample(list(together), path)


def _sample(members: list[_Member], path: str) -> _Sample:
    """One sample; refuses two members of which one would replace the other."""
    key = members[0].long_key if len({one.long_key for one in members}) == 1 else members[0].short_key
    suffixes = [one.name[len(key) - len(one.folder) + 1 :].lower() for one in members]
    recordings = [one.name for one in members if one.suffix in _AUDIO]
    if len(recordings) > 1 or len(set(suffixes)) < len(suffixes):
        names = recordings if len(recordings) > 1 else [one.name for one in members]
        raise DataError(
            f"{path}:{key}: this sample has more than one recording or a name twice ({', '.join(names[:4])}); a sample has "
            "one, its members stand together and agree up to the first dot, or up to the last"
        )
    return key, dict(zip(suffixes, (one.content for one in members), strict=True)), members[-1].end


def _members(file: Any, path: str) -> Iterator[_Member]:
    """The members that a row is made of; sizes are checked before anything is read or made room for."""
    num_bytes = _size(file)
    with tarfile.open(fileobj=cast(Any, _Headers(file, num_bytes)), mode="r:") as archive:
        end = archive.offset
        while (header := archive.next()) is not None:
            cast(Any, archive).members.clear()  # else it keeps the header of every file it has seen
            folder, slash, name = header.name.rpartition("/")
            member = _Member(folder + slash, name, b"", archive.offset)
            end = archive.offset
            if not header.isreg() or not name.partition(".")[0] or member.suffix not in _READ:
                continue
            if "GNU.sparse.major" in header.pax_headers or header.issparse():
                raise tarfile.ReadError(f"{header.name} is a sparse member")
            limit = _MAX_MEMBER_BYTES if member.suffix in _AUDIO else _MAX_TEXT_BYTES
            if header.offset_data + header.size > num_bytes:
                raise tarfile.ReadError(f"{header.name} is said to have {header.size} bytes, more than the file holds")
            if header.size > limit:
                raise DataError(
                    f"{path}:{header.name}: has {header.size / 1e6:.0f} MB; a recording may have "
                    f"{_MAX_MEMBER_BYTES / 1e6:.0f}, a text {_MAX_TEXT_BYTES / 1e6:.0f}: cut it into utterances"
                )
            file.seek(header.offset_data)
            content = file.read(header.size)
            yield replace(member, content=content)
    file.seek(end)
    if len(file.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:  # tarfile itself takes a cut at a header for the end
        raise tarfile.ReadError("it ends without the mark of a whole tar file")


def _size(file: Any) -> int:
    """Bytes of an open file; leaves it where it stands."""
    position = file.tell()
    size = file.seek(0, 2)
    file.seek(position)
    return int(size if size is not None else file.tell())


class _Headers:
    """A shard as `tarfile` sees it: it reads headers alone, and a header that claims to be huge makes it take no memory."""

    def __init__(self, file: Any, num_bytes: int) -> None:
        self.file, self.num_bytes = file, num_bytes
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header is said to have {size} bytes")
        return bytes(self.file.read(size))


def _row(key: str, members: dict[str, bytes], where: str) -> dict[str, Any]:
    row: dict[str, Any] = {"id": key}
    for suffix, content in members.items():
        kind = suffix.rpartition(".")[2]
        try:
            if kind == "json":
                fields = parse_json(content)
                if not isinstance(fields, dict):
                    raise DataError(f"{where}.{suffix}: expected a JSON object, got {type(fields).__name__}")
                row.update(fields)
            elif kind in _TEXT:
                row["text"] = content.decode("utf-8")
        except ValueError as error:  # JSON or UTF-8
            raise DataError(f"{where}.{suffix}: cannot be read ({error}); write the shard anew") from None
    for suffix, content in members.items():
        if suffix.rpartition(".")[2] in _AUDIO:  # last: a path that a .json names is not where the sound is
            row["audio"] = {"bytes": content, "path": f"{key}.{suffix}"}
    return row
