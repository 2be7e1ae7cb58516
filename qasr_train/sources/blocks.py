"""Owns reading a JSONL manifest in blocks of some hundred thousand rows: parsed and checked column by column.

Input: lines as bytes, and the source's `RowReader`. Output: columns for `UtteranceTable`, or None for a block that has anything
out of the ordinary; its rows are then read one by one, which decides what they mean or which line is wrong. So every row is
checked, and there is one set of rules: this file only knows when they have nothing to say.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from qasr_train.errors import DataError
from qasr_train.manifest import MAX_CHANNELS, MAX_SECONDS
from qasr_train.sources.rows import RowReader
from qasr_train.sources.settings import COLUMN_NAMES
from qasr_train.sources.table import Columns

BLOCK_BYTES = 16_000_000
_MAX_BRACKETS = 1000  # opened on one line: Arrow ends the process where they are nested some ten thousand deep
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OFFICIAL_MARK = "<asr_text>"
_OFFICIAL_TEXT = r"(?s)^\s*language\s+(?P<language>.+?)\s*<asr_text>(?P<text>.*)$"  # as in rows.py, for RE2


class _NeedsRowsError(Exception):
    """A block holds what only `RowReader` can judge."""


def jsonl_blocks(path: Path, num_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, counted from 1; whole lines) for each block of a file."""
    line = 1
    with open(path, "rb") as file:
        while block := file.read(num_bytes):
            block += file.readline()
            yield line, block.removeprefix(_BYTE_ORDER_MARK) if line == 1 else block
            line += block.count(b"\n")


def read_block(block: bytes, first_line: int, reader: RowReader) -> tuple[Columns, np.ndarray] | None:
    """(columns, durations in seconds: float64 [rows], NaN where none is stated) of a block; None: read it row by row."""
    try:
        lines = _lines_of_objects(block)
        table = _parse(block)
        if table.num_rows != len(lines):
            raise _NeedsRowsError
        chosen = _choose_columns(table, reader)
        durations_s, spans = _times(chosen)
        text, language = _text_and_language(chosen)
        columns = {
            "id": _ids(chosen),
            "audio": _audio(chosen["audio"]),
            "text": text,
            "language": _languages(language, table.num_rows, reader),
            "channel": _channel(chosen.get("channel")),
            "context": _context(chosen.get("context")),
            "line": pa.array(lines + first_line, pa.int32()),
            **spans,
            **{name: _names(chosen.get(name)) for name in ("speaker", "split")},
        }
    except (_NeedsRowsError, pa.ArrowException, UnicodeDecodeError, DataError):
        return None
    return {name: column for name, column in columns.items() if column is not None}, durations_s


def _lines_of_objects(block: bytes) -> np.ndarray:
    """Offsets (from 0) of the lines that are not blank; each must begin and end as an object does, as Arrow would not mind."""
    data = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(data))
    begins = np.concatenate([[0], ends[:-1] + 1])
    lasts = ends - 1
    lasts = np.where((lasts > begins) & (data[lasts] == ord("\r")), lasts - 1, lasts)
    lines = np.flatnonzero(ends > begins)
    _refuse_deep(block, data, begins[lines])
    if not ((data[begins[lines]] == ord("{")) & (data[lasts[lines]] == ord("}"))).all():
        raise _NeedsRowsError
    return lines


def _refuse_deep(block: bytes, data: np.ndarray, begins: np.ndarray) -> None:
    """Leave to Python's parser what may be nested deep, and NUL characters, which no path may hold."""
    if b"\\u0000" in block or b"\0" in block:
        raise _NeedsRowsError
    if block.count(b"{") + block.count(b"[") <= _MAX_BRACKETS + len(begins):
        return
    opened = np.add.reduceat((data == ord("{")) | (data == ord("[")), begins, dtype=np.int64)
    if (opened > _MAX_BRACKETS).any():
        raise _NeedsRowsError


def _parse(block: bytes) -> pa.Table:
    block.decode("utf-8")  # Arrow would not notice
    options = pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    table = pa.json.read_json(pa.BufferReader(block), read_options=options)
    # Text that looks like a date comes out as one, unless the type is given.
    dates = [pa.field(f.name, pa.string()) for f in table.schema if pa.types.is_timestamp(f.type)]
    if dates:
        parse = pa.json.ParseOptions(explicit_schema=pa.schema(dates))
        table = pa.json.read_json(pa.BufferReader(block), read_options=options, parse_options=parse)
    return table.combine_chunks()


def _choose_columns(table: pa.Table, reader: RowReader) -> dict[str, pa.Array]:
    """Field -> its column, where that is the same for every row."""
    by_lower: dict[str, str] = {}
    for name in table.column_names:
        if by_lower.setdefault(name.strip().lower(), name) != name:
            raise _NeedsRowsError
    chosen: dict[str, pa.Array] = {}
    used: list[str] = []
    for field, names in COLUMN_NAMES.items():
        asked = reader.columns.get(field)
        if asked == "" and field != "audio":
            continue
        candidates = [asked] if asked else [by_lower[name] for name in names if name in by_lower]
        candidates = [name for name in candidates if name in table.column_names]
        if not candidates:
            continue
        column = table.column(candidates[0]).combine_chunks()
        if column.null_count and len(candidates) > 1:
            raise _NeedsRowsError  # a row without the first may have the second
        reader.seen_columns.add(field)
        chosen[field] = column
        used.append(candidates[0])
    if "audio" not in chosen or "text" not in chosen:
        raise _NeedsRowsError
    words = chosen.pop("words", None)
    if words is not None and (reader.columns.get("words") or pa.types.is_list(words.type)):
        raise _NeedsRowsError  # a word at a time
    reader.note_unused(table.column_names, used)
    return chosen


def _is_text(column: pa.Array) -> bool:
    return pa.types.is_string(column.type)


def _audio(column: pa.Array) -> pa.Array:
    if not _is_text(column) or column.null_count or _has_empty(column):
        raise _NeedsRowsError
    if pc.any(pc.or_(pc.starts_with(column, "~"), pc.match_substring(column, "://"))).as_py():
        raise _NeedsRowsError
    return column


def _has_empty(column: pa.Array) -> bool:
    return bool(pc.any(pc.equal(pc.binary_length(column), 0)).as_py())


def _text_and_language(chosen: dict[str, pa.Array]) -> tuple[pa.Array, pa.Array | None]:
    """(transcripts, what each row states as its language): the official script's text says both, if every row does."""
    column = chosen["text"]
    if not _is_text(column) or column.null_count:
        raise _NeedsRowsError
    if not pc.any(pc.match_substring(column, _OFFICIAL_MARK)).as_py():
        return column, chosen.get("language")
    found = pc.extract_regex(column, _OFFICIAL_TEXT)
    if found.null_count or "language" in chosen:
        raise _NeedsRowsError
    return pc.struct_field(found, "text"), pc.struct_field(found, "language")


def _ids(chosen: dict[str, pa.Array]) -> pa.Array:
    """The ids stated, or the names of the audio files; whether they repeat is for the caller, who sees every block."""
    column = chosen.get("id")
    if column is None:
        names = pc.replace_substring_regex(chosen["audio"], r"(?s)^.*[/\\]", "")
        stems = pc.replace_substring_regex(names, r"(?s)\.[^.]*$", "")
        if _has_empty(stems) or not pc.all(pc.match_substring(names, ".")).as_py():
            raise _NeedsRowsError
        return stems
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    if not _is_text(column) or column.null_count or _has_empty(column):
        raise _NeedsRowsError
    return column


def _languages(column: pa.Array | None, num_rows: int, reader: RowReader) -> pa.Array | None:
    if column is None or pa.types.is_null(column.type):
        if reader.default_language is None:
            return None
        return pa.repeat(reader.default_language, num_rows).dictionary_encode()
    if not _is_text(column):
        raise _NeedsRowsError
    stated = pc.fill_null(column, "").dictionary_encode()
    names = [reader.language(name, "") if name else reader.default_language for name in stated.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(stated.indices).dictionary_encode()


def _names(column: pa.Array | None) -> pa.Array | None:
    """Speaker or split: text or whole numbers, "" is none."""
    if column is None or pa.types.is_null(column.type):
        return None
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    if not _is_text(column):
        raise _NeedsRowsError
    return pc.if_else(pc.equal(column, ""), None, column).dictionary_encode()


def _channel(column: pa.Array | None) -> pa.Array | None:
    """Whole numbers as they are; other spellings are for the rows."""
    if column is None or pa.types.is_null(column.type):
        return None
    if (
        not pa.types.is_integer(column.type)
        or pc.any(pc.or_(pc.less(column, 0), pc.greater_equal(column, MAX_CHANNELS))).as_py()
    ):
        raise _NeedsRowsError
    return column.cast(pa.int32())


def _context(column: pa.Array | None) -> pa.Array | None:
    if column is None or pa.types.is_null(column.type):
        return None
    if pa.types.is_list(column.type) and _is_text(column.values) and not column.flatten().null_count:
        column = pc.binary_join(column, ", ")
    if not _is_text(column):
        raise _NeedsRowsError
    return pc.if_else(pc.equal(column, ""), None, column)


def _times(chosen: dict[str, pa.Array]) -> tuple[np.ndarray, dict[str, pa.Array | None]]:
    """(durations, start_s and end_s as columns): `RowReader`'s rules for spans, on arrays."""
    num_rows = len(chosen["audio"])
    start_s, end_s, duration_s = (_seconds(chosen.get(name), num_rows) for name in ("start_s", "end_s", "duration_s"))
    end_s = np.where(~np.isnan(start_s) & np.isnan(end_s), start_s + duration_s, end_s)
    if (end_s <= start_s).any():  # False where either is not stated
        raise _NeedsRowsError
    duration_s = np.where(np.isnan(end_s), duration_s, np.maximum(0.0, end_s - np.nan_to_num(start_s)))
    return duration_s, {"start_s": _column_of(start_s), "end_s": _column_of(end_s)}


def _seconds(column: pa.Array | None, num_rows: int) -> np.ndarray:
    """Float64 [rows]; NaN where nothing is stated."""
    if column is None or pa.types.is_null(column.type):
        return np.full(num_rows, np.nan)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise _NeedsRowsError
    stated = column.drop_null().to_numpy(zero_copy_only=False)
    if not ((stated >= 0) & (stated <= MAX_SECONDS)).all():  # False of NaN
        raise _NeedsRowsError
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _column_of(values: np.ndarray) -> pa.Array | None:
    return None if np.isnan(values).all() else pa.array(values, from_pandas=True)
