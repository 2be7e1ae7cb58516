"""Owns references to audio bytes inside an Arrow file: a short string in `Utterance.audio` instead of the bytes.

Input: "arrow:ROW:COLUMN:FILE". Output: the encoded bytes, read through a memory map. A dataset of any size so stays
on disk, costs each loader worker nothing, and can stand in a manifest.
"""

from functools import lru_cache

import pyarrow as pa

from qasr_train.errors import AudioError

_PREFIX = "arrow:"


def arrow_reference(path: str, column: str, row: int) -> str:
    """The string that stands for the audio in `row` of `column` of an Arrow file (IPC stream or file format)."""
    return f"{_PREFIX}{row}:{column}:{path}"


def is_arrow_reference(audio: str | bytes) -> bool:
    """Whether `audio` is such a string, not a path."""
    return isinstance(audio, str) and audio.startswith(_PREFIX)


def arrow_file(audio: str) -> str | None:
    """The Arrow file that a reference points into; None for a path."""
    return audio.split(":", 3)[3] if is_arrow_reference(audio) and audio.count(":") >= 3 else None


def read_arrow_audio(reference: str) -> bytes:
    """The encoded bytes a reference stands for.

    Raises:
        AudioError: the file is gone or is no Arrow file, has no such row or column, or the row holds no bytes.
    """
    row, _, column_and_path = reference.removeprefix(_PREFIX).partition(":")
    column, _, path = column_and_path.partition(":")
    if not row.isdigit() or not path:
        raise AudioError(f"{reference}: expected arrow:ROW:COLUMN:FILE")
    try:
        value = _table(path).column(column)[int(row)].as_py()
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; the dataset was moved, or the cache of `datasets` cleaned") from None
    except (KeyError, IndexError, OSError, pa.ArrowException) as error:
        raise AudioError(f"{reference}: cannot be read ({error})") from None
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        raise AudioError(f"{reference}: this row holds no audio bytes")
    return data


@lru_cache(maxsize=256)
def _table(path: str) -> pa.Table:
    return open_arrow(path)


def open_arrow(path: str) -> pa.Table:
    """The memory-mapped table of an Arrow file as `datasets` writes it."""
    source = pa.memory_map(path)
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source).read_all()
