"""Owns reading tar shards in the WebDataset layout: members of one sample stand together and share a name up to the first dot.

Input: tar files, here or on the hub. Output: rows with the audio bytes, `text` from a .txt member, and the fields of a .json
member. A position is a byte of the shard, so that a resume reads nothing again. Written here because the builder of `datasets`
needs torchcodec for audio and goes to a position by reading all that came before it.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from qasr_train.errors import DataError
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
                for key, members, end in _samples(file):
                    where = f"{path}:{key}"
                    row = _row(key, members, where)
                    self.num_bytes = end
                    yield where, row
        except tarfile.TarError as error:
            raise DataError(f"{path}: cannot be read as a tar file ({error}); write the shard anew") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error}); check the path of the source") from None

    def state_dict(self) -> dict[str, int]:
        """The byte behind the sample given last."""
        return {"num_bytes": self.num_bytes}


def find_tar_files(path: Path) -> list[Path]:
    """The tar files of a folder in the order of their names, or the file itself."""
    if path.is_dir():
        return sorted(path.glob("*.tar"))
    return [path] if path.suffix.lower() == ".tar" and path.is_file() else []


def _open(path: str) -> Any:
    if "://" not in path:
        return open(path, "rb")
    from datasets.utils.file_utils import xopen

    return xopen(path, "rb")


def _samples(file: Any) -> Iterator[tuple[str, dict[str, bytes], int]]:
    """(name, suffix -> content, byte behind it) of every sample from where the file stands."""
    key, members = "", dict[str, bytes]()
    with tarfile.open(fileobj=file, mode="r:") as archive:
        end = archive.offset
        while (member := archive.next()) is not None:
            cast(Any, archive).members.clear()  # else it keeps the header of every file it has seen
            folder, slash, name = member.name.rpartition("/")
            stem, _, suffix = name.partition(".")
            if not member.isfile() or not stem or not suffix:
                continue
            fresh_key = f"{folder}{slash}{stem}"
            if members and fresh_key != key:
                yield key, members, end
                members = {}
            opened = archive.extractfile(member)
            assert opened is not None
            key, members[suffix.lower()], end = fresh_key, opened.read(), archive.offset
    file.seek(end)
    if len(file.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:  # tarfile itself takes a cut at a header for the end
        raise tarfile.ReadError("it ends without the mark of a whole tar file")
    if members:
        yield key, members, end


def _row(key: str, members: dict[str, bytes], where: str) -> dict[str, Any]:
    row: dict[str, Any] = {"id": key}
    for suffix, content in members.items():
        kind = suffix.rpartition(".")[2]
        try:
            if kind == "json":
                fields = json.loads(content)
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
