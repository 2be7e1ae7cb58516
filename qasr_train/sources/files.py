"""Owns reading rows from JSONL, JSON arrays, CSV, TSV and folders of recordings, with `metadata.csv` or `.jsonl` or without.

Input: a path. Output: ("file:line", row) pairs, rows as dicts of what the file says; `rows.py` reads them. A file is one shard
of a stream.
"""

import csv
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from qasr_train.errors import DataError
from qasr_train.files import TOO_DEEP, files_below, parse_json
from qasr_train.manifest import read_jsonl, rows_of_lines
from qasr_train.sources.base import Blocks, OpenSource, Rows, Shards
from qasr_train.sources.blocks import jsonl_blocks
from qasr_train.sources.settings import SourceConfig

log = logging.getLogger(__name__)

AUDIO_SUFFIXES = frozenset(".wav .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .caf .w64 .sph .m4a .webm".split())
_METADATA = ("metadata.csv", "metadata.jsonl")
_MAX_FIELD_CHARS = 10_000_000  # the csv module stops at 131,072 by default, which a long transcript may pass
_MAX_ARRAY_BYTES = 200_000_000  # an array is parsed whole, at some ten times its size in memory


def open_json(path: Path, config: SourceConfig) -> OpenSource:
    """A file of JSON lines, or one JSON array."""
    return FileSource(path, partial(read_json_rows, path)) if is_json_array(path) else JsonlSource(path)


def open_csv(path: Path, config: SourceConfig) -> OpenSource:
    """A CSV or TSV file."""
    return FileSource(path, partial(read_csv, path))


@dataclass(frozen=True)
class FileSource:
    """What can only be read from its first row on; see `OpenSource`.

    read: the rows, from the first.
    """

    path: Path
    read: Callable[[], Rows]

    def rows(self) -> Rows:
        """See `OpenSource`."""
        return self.read()

    def blocks(self) -> Blocks | None:
        """None: there are no lines of JSON, or not in one file."""
        return None

    def shards(self) -> Shards:
        """See `OpenSource`."""
        return FileRows(self.read)


@dataclass(frozen=True)
class JsonlSource:
    """A file of JSON lines; see `OpenSource`."""

    path: Path

    def rows(self) -> Rows:
        """See `OpenSource`."""
        return read_jsonl(self.path)

    def blocks(self) -> Blocks | None:
        """See `OpenSource`."""
        return jsonl_blocks(self.path) if self.path.is_file() else None

    def shards(self) -> Shards:
        """See `OpenSource`."""
        return JsonlRows(self.path)


def read_table(path: Path) -> Rows:
    """Rows of a CSV or TSV file by its suffix; anything else is read as JSONL."""
    return read_csv(path) if path.suffix.lower() in (".csv", ".tsv") else read_jsonl(path)


def read_json_rows(path: Path) -> Rows:
    """Rows of a JSONL file, or of a file that is one JSON array of objects.

    Raises:
        DataError: as `read_jsonl`; an array that is broken, holds something else than objects, or is too large.
    """
    if not is_json_array(path):
        yield from read_jsonl(path)
        return
    if path.stat().st_size > _MAX_ARRAY_BYTES:
        raise DataError(
            f"{path}: is one JSON array of {path.stat().st_size / 1e6:.0f} MB, too large to be read whole; write one "
            "object a line (`jq -c '.[]' FILE > FILE.jsonl`)"
        )
    try:
        items = parse_json(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except JSONDecodeError as error:
        if error.msg == TOO_DEEP:
            raise DataError(f"{path}: is a JSON array nested too deep; expected a list of objects") from None
        raise DataError(
            f"{path}:{error.lineno}: begins as a JSON array but is none ({error.msg}); expected a list of objects, or one "
            "object a line"
        ) from None
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            raise DataError(f"{path}:item {number}: expected a JSON object, got {type(item).__name__}")
        yield f"{path}:item {number}", item


def is_json_array(path: Path) -> bool:
    """Whether the first character that is no space is a bracket; False where the file cannot be opened."""
    try:
        with open(path, "rb") as file:
            return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    except OSError:
        return False


def read_csv(path: Path) -> Rows:
    """Rows of a CSV or TSV file with a header line; the delimiter is a tab in .tsv, else the one the header uses.

    TSV is read without quoting, as Common Voice writes it: a lone quotation mark in a sentence stays a mark, it does
    not swallow the lines that follow.

    Raises:
        DataError: no such file, no UTF-8, no header, or a row with another number of columns (names file and line).
    """
    csv.field_size_limit(_MAX_FIELD_CHARS)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header_line = file.readline()
            if not header_line.strip():
                raise DataError(f"{path}: holds no header line; expected the names of the columns first")
            file.seek(0)
            delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(header_line)
            lines = _Lines(file)
            if delimiter == "\t":
                reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
            else:
                reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
            yield from _dict_rows(reader, lines, path, delimiter)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path of the source") from None
    except PermissionError:
        raise DataError(f"{path}: cannot be read (permission denied)") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV file ({error})") from None


def _delimiter(header_line: str) -> str:
    return max(",;\t|", key=header_line.count)


class _Lines:
    """The lines of a file, and those given since `taken` was emptied: the ones that a row is made of."""

    def __init__(self, file: Iterable[str]) -> None:
        self._file, self.taken = iter(file), list[str]()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.taken.append(line)
        return line


def _dict_rows(reader: Any, lines: _Lines, path: Path, delimiter: str) -> Rows:
    is_quoted = delimiter != "\t"
    header = [name.strip() for name in next(reader)]
    lines.taken = []
    repeated = next((name for name in header if header.count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"{path}:1: the column {repeated!r} stands twice in the header; rename one")
    for cells in reader:
        if not any(cells):
            lines.taken = []
            continue
        where = f"{path}:{reader.line_num}"
        taken, lines.taken = lines.taken, []
        _refuse_swallowed_rows(taken, header, where, delimiter)
        if len(cells) != len(header):
            raise DataError(
                f"{where}: has {len(cells)} columns, the header {len(header)} ({', '.join(header)}); check delimiter and "
                "quotes"
            )
        yield where, dict(zip(header, cells if is_quoted else map(_unquoted, cells), strict=True))


def _refuse_swallowed_rows(lines: list[str], header: list[str], where: str, delimiter: str) -> None:
    """Refuse a row of several lines whose later ones look like rows: a lone quotation mark has swallowed them."""
    for line in lines[1:]:
        if _is_like_row(line.split(delimiter), header):
            raise DataError(
                f"{where}: a quotation mark in this row is closed lines later, so that what looks like a row is read as text "
                f"({line.strip()[:40]!r}); where the mark is a character, quote the cell and double the mark, or save the table "
                "as .tsv, which is read without quoting; where the text has line breaks, make them spaces"
            )


def _is_like_row(cells: list[str], header: list[str]) -> bool:
    """Whether a line of a transcript has the columns of a row, and an id or a recording in the first, or one in another."""
    if len(cells) < len(header) or len(header) < 2:
        return False
    names_audio = any(Path(cell.strip('" ')).suffix.lower() in AUDIO_SUFFIXES for cell in cells)
    return names_audio or (bool(cells[0].strip()) and " " not in cells[0].strip())


def _unquoted(cell: str) -> str:
    # `"say ""no"" now"` was quoted by its writer and is unwrapped; `"no", he said` was not and stays.
    inner = cell[1:-1]
    is_wrapped = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_wrapped else cell


def find_metadata(folder: Path) -> list[Path]:
    """The metadata files of an audio folder: in the folder itself, or in each of its split folders, which may lie in `data/`."""
    for pattern in ("{}", "[!.]*/{}", "[!.]*/[!.]*/{}"):
        found = sorted(path for name in _METADATA for path in folder.glob(pattern.format(name)))
        if found:
            return found
    return []


def read_audio_folder(folder: Path, split: str | None = None) -> Rows:
    """Rows of every metadata file below `folder`; a file in `folder/train/` gives its rows `split` "train".

    With `split`, where a folder is called so, only its metadata is read.

    `file_name` is relative to the metadata file and comes out relative to `folder`. Read here because `datasets` needs
    torchcodec to list such a folder.
    """
    found = find_metadata(folder)
    of_split = [path for path in found if path.parent != folder and path.parent.name == split]
    named_files = set[str]()
    for metadata in of_split or found:
        inner = metadata.parent.relative_to(folder)
        for where, row in read_table(metadata):
            if "file_name" not in row:
                raise DataError(f"{where}: lacks the column `file_name` of an audio folder; it has {', '.join(row)}")
            named = {} if inner == Path() or "split" in row else {"split": inner.name}
            named_files.add(os.path.normpath(metadata.parent / str(row["file_name"])))
            yield where, {**row, "file_name": str(inner / str(row["file_name"])), **named}
    _tell_unnamed([path.parent for path in of_split or found], named_files)


def _tell_unnamed(folders: list[Path], named_files: set[str]) -> None:
    """Say which recordings lie there of which no row is."""
    found = {path for folder in folders for path in files_below(folder, AUDIO_SUFFIXES)}
    unnamed = sorted(path for path in found if os.path.normpath(path) not in named_files)
    if unnamed:
        log.warning(
            "%s: %d recordings that no row of its metadata names are not used, such as %s",
            folders[0], len(unnamed), unnamed[0].name,
        )  # fmt: skip


def read_recordings(folder: Path) -> Rows:
    """A row with nothing but `audio`, relative to `folder`, for every recording in and below it, by name."""
    for path in files_below(folder, AUDIO_SUFFIXES):
        yield str(path), {"audio": str(path.relative_to(folder))}


class FileRows:
    """A file read row by row as one shard; its position is the number of rows before it, which a resume reads again."""

    num_shards = 1

    def __init__(self, open_rows: Callable[[], Rows]) -> None:
        self.open_rows, self.num_read = open_rows, 0

    def rows(self, shard: int, state: Any) -> Rows:
        """See `Shards`."""
        self.num_read = state["num_read"] if state else 0
        for row in islice(self.open_rows(), self.num_read, None):
            self.num_read += 1
            yield row

    def state_dict(self) -> dict[str, int]:
        """See `Shards`."""
        return {"num_read": self.num_read}


class JsonlRows:
    """A JSONL file as one shard; its position is a byte, so that a resume takes no longer at its end than at its beginning."""

    num_shards = 1

    def __init__(self, path: Path) -> None:
        self.path, self.num_bytes, self.num_lines = path, 0, 0

    def rows(self, shard: int, state: Any) -> Rows:
        """See `Shards`.

        Raises:
            DataError: the file is gone, no UTF-8, or a line is no JSON object.
        """
        self.num_bytes, self.num_lines = (state["num_bytes"], state["num_lines"]) if state else (0, 0)
        try:
            with open(self.path, "rb") as file:
                file.seek(self.num_bytes)
                for line in file:
                    self.num_bytes += len(line)
                    self.num_lines += 1
                    text = line.decode("utf-8-sig" if self.num_lines == 1 else "utf-8")
                    yield from rows_of_lines([text], self.path, self.num_lines)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}); check the path of the source") from None
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}:{self.num_lines}: is not UTF-8 text ({error.reason}); save it as UTF-8"
            ) from None

    def state_dict(self) -> dict[str, int]:
        """See `Shards`."""
        return {"num_bytes": self.num_bytes, "num_lines": self.num_lines}
