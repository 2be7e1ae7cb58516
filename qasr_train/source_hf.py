"""Owns reading rows from Hugging Face datasets (hub id, `save_to_disk` folder, local folder) and Parquet files.

Input: path, subset and split of a `SourceConfig`. Output: (place, row) pairs; audio bytes stay on disk as Arrow
references (map-style) or come row by row (streaming). `datasets` never decodes audio, so torchcodec is not needed.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qasr_train.arrow_audio import arrow_reference, open_arrow
from qasr_train.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

Rows = Iterator[tuple[str, dict[str, Any]]]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_hub_id(path: str) -> bool:
    """Whether `path` can be `owner/name` on the hub: nothing local stands in its way."""
    return bool(_HUB_ID.fullmatch(path)) and not Path(path).parent.exists()


def read_hf(path: str, *, subset: str | None, split: str | None) -> Rows:
    """Rows of a Hugging Face dataset; `split` None gives every split, and each row says which it is of.

    Raises:
        DataError: the dataset cannot be reached or read, or has no such split (lists the splits).
    """
    for split_name, dataset in _load(path, subset, split).items():
        yield from _dataset_rows(dataset, f"{path}[{split_name}]" if split_name else path, split_name)


def read_parquet(path: Path) -> Rows:
    """Rows of a Parquet file, or of all such files below a folder.

    Where a column holds audio bytes, `datasets` copies the files into its cache once, as Arrow files that can be read
    row by row; Parquet itself can only be read in whole row groups.
    """
    files = _parquet_files(path)
    try:
        schema = pq.read_schema(files[0])
        if any(_holds_bytes(field.type) for field in schema):
            yield from _dataset_rows(_load_parquet(files, streaming=False), str(path), None)
            return
        for file in files:
            for number, row in enumerate(_batched_rows(pq.ParquetFile(file)), start=1):
                yield f"{file}[row {number}]", row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({_first_line(error)})") from None


def _batched_rows(file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches():
        yield from batch.to_pylist()


def _parquet_files(path: Path) -> list[str]:
    if not path.exists():
        raise DataError(f"{path}: no such file; check the path of the source")
    files = sorted(str(file) for file in path.rglob("*.parquet")) if path.is_dir() else [str(path)]
    if not files:
        raise DataError(f"{path}: holds no .parquet file")
    return files


def _load_parquet(files: list[str], *, streaming: bool) -> Any:
    import datasets

    return _asked(
        str(files[0]), lambda: datasets.load_dataset("parquet", data_files=files, split="train", streaming=streaming)
    )


def _load(path: str, subset: str | None, split: str | None) -> dict[str | None, "Dataset"]:
    """Split name (None where the dataset has no splits) -> dataset."""
    import datasets

    if split is not None and not re.fullmatch(r"[\w.-]+", split):
        raise DataError(f"{path}: split={split!r} is no name of a split; slices are not supported, use max_utterances")
    if _is_saved(Path(path)):
        loaded = _asked(path, lambda: datasets.load_from_disk(path, keep_in_memory=False))
    else:
        loaded = _asked(path, lambda: datasets.load_dataset(path, subset, keep_in_memory=False))
    if not isinstance(loaded, Mapping):
        return {None: loaded}
    if split is None:
        return dict(loaded)
    if split not in loaded:
        raise DataError(f"{path}: has no split {split!r}; it has {', '.join(loaded)}")
    return {split: loaded[split]}


def _is_saved(path: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _asked(path: str, load: Callable[[], Any]) -> Any:
    """What `load` returns; any failure of `datasets` becomes one sentence."""
    try:
        return load()
    except Exception as error:  # `datasets` raises ValueError, OSError, ImportError and classes of its own
        causes = f"{error} {error.__cause__ or ''} {getattr(error.__cause__, '__cause__', '') or ''}"
        if "torchcodec" in causes and Path(path).is_dir():
            raise DataError(
                f"{path}: holds recordings but no metadata.csv (columns file_name and text, one row a recording); write "
                "one, or name a manifest"
            ) from None
        if "torchcodec" in causes:
            raise DataError(
                f"{path}: `datasets` needs torchcodec to list this audio folder; download it "
                "(`hf download --repo-type dataset ID --local-dir DIR`) and set path=DIR"
            ) from None
        reason = _first_line(error.__cause__ or error)
        raise DataError(f"{path}: cannot be loaded as a dataset ({type(error).__name__}: {reason})") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _holds_bytes(column_type: pa.DataType) -> bool:
    """Whether a column can hold encoded audio: binary, or the struct of bytes and path that `datasets` writes."""
    if pa.types.is_struct(column_type):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in column_type)
    return pa.types.is_binary(column_type) or pa.types.is_large_binary(column_type)


def _dataset_rows(dataset: "Dataset", label: str, split_name: str | None) -> Rows:
    """Rows of a map-style dataset straight from its Arrow files."""
    if getattr(dataset, "_indices", None) is not None:
        dataset = dataset.flatten_indices()
    files = [str(Path(entry["filename"]).absolute()) for entry in dataset.cache_files]
    names = _class_names(dataset.features)
    number = 0
    for file in files:
        for row in _arrow_rows(file, names, split_name):
            number += 1
            yield f"{label}[row {number}]", row
    if number != len(dataset):
        raise DataError(
            f"{label}: its files hold {number} rows, the dataset {len(dataset)}; save it anew with save_to_disk"
        )


def _arrow_rows(file: str, names: Mapping[str, list[str]], split_name: str | None) -> Iterator[dict[str, Any]]:
    table = open_arrow(file)
    audio_columns = [field.name for field in table.schema if _holds_bytes(field.type)]
    number = 0
    for batch in table.to_batches(max_chunksize=1000):
        plain = batch.select([name for name in batch.schema.names if name not in audio_columns]).to_pylist()
        paths = {name: _paths_and_presence(batch.column(name)) for name in audio_columns}
        for index, row in enumerate(plain):
            for name, (path, has_bytes) in paths.items():
                reference = arrow_reference(file, name, number) if has_bytes[index] else None
                row[name] = {"path": path[index], "reference": reference}
            number += 1
            yield _finished(row, names, split_name)


def _paths_and_presence(column: pa.Array) -> tuple[list[str | None], list[bool]]:
    """Per row: the path beside the bytes (None where there is none), and whether there are bytes."""
    if not pa.types.is_struct(column.type):
        return [None] * len(column), pc.is_valid(column).to_pylist()
    has_path = column.type.get_field_index("path") >= 0
    paths = pc.struct_field(column, "path").to_pylist() if has_path else [None] * len(column)
    return paths, pc.is_valid(pc.struct_field(column, "bytes")).to_pylist()


def _class_names(features: Any) -> dict[str, list[str]]:
    """Column -> the names its numbers stand for, of columns `datasets` calls ClassLabel."""
    import datasets

    return {name: kind.names for name, kind in (features or {}).items() if isinstance(kind, datasets.ClassLabel)}


def _finished(row: dict[str, Any], names: Mapping[str, list[str]], split_name: str | None) -> dict[str, Any]:
    for column, choices in names.items():
        number = row.get(column)
        row[column] = choices[number] if isinstance(number, int) and 0 <= number < len(choices) else None
    if split_name is not None:
        row.setdefault("split", split_name)
    return row


class HfStream:
    """Rows of a dataset read as they come, once through from wherever `load_state_dict` put it."""

    def __init__(self, path: str, *, is_parquet: bool, subset: str | None, split: str | None) -> None:
        self.path, self.split = path, split
        self.dataset = self._open(is_parquet, subset, split)
        self.class_names = _class_names(self.dataset.features)
        self._first_state = copy.deepcopy(self.dataset.state_dict())

    def _open(self, is_parquet: bool, subset: str | None, split: str | None) -> "IterableDataset":
        import datasets

        if is_parquet:
            dataset = _load_parquet(_parquet_files(Path(self.path)), streaming=True)
        elif _is_saved(Path(self.path)):
            dataset = self._without_decoding(self._one_split(_load(self.path, subset, split))).to_iterable_dataset()
        else:
            loaded = _asked(self.path, lambda: datasets.load_dataset(self.path, subset, streaming=True))
            dataset = self._one_split(dict(loaded))
        return self._without_decoding(dataset)

    def _one_split(self, splits: Mapping[Any, Any]) -> Any:
        if self.split is not None and self.split in splits:
            return splits[self.split]
        if len(splits) == 1 and (self.split is None or None in splits):
            return next(iter(splits.values()))
        problem = f"has no split {self.split!r}" if self.split else "is streamed and has several splits"
        raise DataError(f"{self.path}: {problem}; set split to one of {', '.join(map(str, splits))}")

    def _without_decoding(self, dataset: Any) -> Any:
        import datasets

        for name, kind in (dataset.features or {}).items():
            if isinstance(kind, datasets.Audio):
                dataset = dataset.cast_column(name, datasets.Audio(decode=False))
        return dataset

    def rows(self, state: dict[str, Any] | None) -> Rows:
        """Rows from `state` (None: from the beginning) to the end."""
        self.dataset.load_state_dict(copy.deepcopy(state or self._first_state))
        rows = iter(self.dataset)
        while (row := _asked(self.path, lambda: next(rows, None))) is not None:
            yield self.path, _finished(_with_fetched_audio(dict(row)), self.class_names, self.split)

    def state_dict(self) -> dict[str, Any]:
        """Where the row given last ends."""
        return copy.deepcopy(self.dataset.state_dict())


def _with_fetched_audio(row: dict[str, Any]) -> dict[str, Any]:
    """A streamed row may name its audio by URL ("hf://...", "zip://..."); fetch it."""
    from datasets.utils.file_utils import xopen

    for name, value in row.items():
        is_url = (
            isinstance(value, dict) and "path" in value and not value.get("bytes") and "://" in (value["path"] or "")
        )
        if is_url:
            with xopen(value["path"], "rb") as file:
                row[name] = {"bytes": file.read(), "path": value["path"]}
    return row
