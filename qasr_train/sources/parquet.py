"""Owns reading rows from Parquet files: one, or all below a folder.

Input: a path. Output: (place, row) pairs; audio bytes stay on disk as Arrow references, or come row by row (streaming).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qasr_train.errors import DataError
from qasr_train.files import files_below
from qasr_train.sources.base import Blocks, OpenSource, Rows, Shards
from qasr_train.sources.files import FileRows, find_metadata
from qasr_train.sources.hub import HfStream, asked, dataset_rows, first_line, holds_bytes
from qasr_train.sources.settings import SourceConfig


def open_parquet(path: Path, config: SourceConfig) -> OpenSource:
    """A Parquet file, or a folder of such."""
    return ParquetSource(path, str(path) if path.exists() else config.path, config.split)


@dataclass(frozen=True)
class ParquetSource:
    """A Parquet file, or a folder of such; see `OpenSource`.

    place: what messages call it.
    split: what streamed rows that name no split are of; None: of none.
    """

    path: Path
    place: str
    split: str | None

    def rows(self) -> Rows:
        """See `OpenSource`."""
        return read_parquet(self.path)

    def blocks(self) -> Blocks | None:
        """None: there are no lines of JSON."""
        return None

    def shards(self) -> Shards:
        """See `OpenSource`."""
        if self.path.is_dir() and find_metadata(self.path):
            return FileRows(self.rows)  # runs that go on count rows in such a folder
        return HfStream(self.place, _load_parquet(_parquet_files(Path(self.place)), streaming=True), self.split)


def read_parquet(path: Path) -> Rows:
    """Rows of a Parquet file, or of all such files below a folder.

    Where a column holds audio bytes, `datasets` copies the files into its cache once, as Arrow files that can be read
    row by row; Parquet itself can only be read in whole row groups.
    """
    files = _parquet_files(path)
    try:
        schema = pq.read_schema(files[0])
        if any(holds_bytes(field.type) for field in schema):
            yield from dataset_rows(_load_parquet(files, streaming=False), str(path), None)
            return
        for file in files:
            for number, row in enumerate(_batched_rows(pq.ParquetFile(file)), start=1):
                yield f"{file}[row {number}]", row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # text that is no UTF-8, found row by row
        raise DataError(f"{path}: cannot be read as Parquet ({first_line(error)})") from None


def _batched_rows(file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches():
        yield from batch.to_pylist()


def _parquet_files(path: Path) -> list[str]:
    if not path.exists():
        raise DataError(f"{path}: no such file; check the path of the source")
    files = [str(file) for file in files_below(path, [".parquet"])] if path.is_dir() else [str(path)]
    if not files:
        raise DataError(f"{path}: holds no .parquet file; check the path of the source")
    return files


def _load_parquet(files: list[str], *, streaming: bool) -> Any:
    import datasets

    return asked(
        str(files[0]), lambda: datasets.load_dataset("parquet", data_files=files, split="train", streaming=streaming)
    )
