"""Owns reading rows from Hugging Face datasets: hub id, `save_to_disk` folder, local folder.

Input: path, subset, split and revision of a `SourceConfig`. Output: (place, row) pairs; audio bytes stay on disk as Arrow
references (map-style) or come row by row (streaming). `datasets` never decodes audio, so torchcodec is not needed. A folder of
recordings is read here without `datasets`, which would need torchcodec to list it.
"""

import copy
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from qasr_train.audio.arrow import arrow_reference, open_arrow
from qasr_train.errors import DataError
from qasr_train.sources.base import Blocks, OpenSource, Rows, Shards
from qasr_train.sources.files import FileSource, find_metadata, read_audio_folder, read_recordings
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.tar import TarRows

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder, IterableDataset

_UNREACHABLE = {"ConnectError", "ConnectTimeout"}  # of httpx, whichever version the hub's library comes with
_SHARD_ROWS, _MAX_SHARDS = 1000, 128  # of a saved dataset, which any number of processes can share
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def open_hf(path: Path, config: SourceConfig) -> OpenSource:
    """A hub id, or a folder: with the `metadata` of an audio folder, or with anything that `datasets` reads."""
    if path.is_dir() and find_metadata(path):
        return FileSource(path, functools.partial(read_audio_folder, path, split=config.split))
    return HfSource(
        path,
        str(path) if path.exists() else config.path,
        subset=config.subset,
        split=config.split,
        revision=config.revision,
        is_to_be_transcribed=config.columns.get("text") == "",
    )


@dataclass(frozen=True)
class HfSource:
    """A dataset that `datasets` reads; see `OpenSource`.

    dataset: the folder or the hub id.
    subset, split, revision: of the dataset; None: its default, all splits, its default branch.
    is_to_be_transcribed: no transcript is wanted, so that recordings alone will do.
    """

    path: Path
    dataset: str
    subset: str | None
    split: str | None
    revision: str | None
    is_to_be_transcribed: bool

    def rows(self) -> Rows:
        """See `OpenSource`."""
        if self.is_to_be_transcribed and self.path.is_dir() and (recordings := list(read_recordings(self.path))):
            return iter(recordings)
        return read_hf(self.dataset, subset=self.subset, split=self.split, revision=self.revision)

    def blocks(self) -> Blocks | None:
        """None: there are no lines of JSON."""
        return None

    def shards(self) -> Shards:
        """See `OpenSource`."""
        part = {"subset": self.subset, "split": self.split, "revision": self.revision}
        if files := find_hub_tar_files(self.dataset, **part):
            return TarRows(files)
        return HfStream(self.dataset, _load_streaming(self.dataset, **part), self.split)


def is_hub_id(path: str) -> bool:
    """Whether `path` can be `owner/name` on the hub: nothing local stands in its way."""
    return bool(_HUB_ID.fullmatch(path)) and not Path(path).parent.exists()


def read_hf(path: str, *, subset: str | None, split: str | None, revision: str | None = None) -> Rows:
    """Rows of a Hugging Face dataset; `split` None gives every split, and each row says which it is of.

    With `split`, only the files of that split are downloaded and read.

    Raises:
        DataError: the dataset cannot be reached or read, or has no such split (lists the splits).
    """
    for split_name, dataset in _load(path, subset, split, revision).items():
        yield from dataset_rows(dataset, f"{path}[{split_name}]" if split_name else path, split_name)


def _load(
    path: str, subset: str | None, split: str | None, revision: str | None
) -> Mapping[str | None, "Dataset | IterableDataset"]:
    """Split name (None where the dataset has no splits) -> dataset; with `split`, that one."""
    if _is_saved(Path(path)):
        return _load_saved(Path(path), split)
    builder = _builder(path, subset, split, revision)
    asked(path, builder.download_and_prepare)
    return _chosen(path, asked(path, builder.as_dataset), split)


def _chosen(path: str, splits: Mapping[str, Any], split: str | None) -> dict[str | None, Any]:
    if split is None:
        return dict(splits.items())
    if split not in splits:
        raise DataError(f"{path}: has no split {split!r}; it has {', '.join(map(str, splits))}")
    return {split: splits[split]}


def _refuse_slice(path: str, split: str | None) -> None:
    if split is not None and not re.fullmatch(r"[\w.-]+", split):
        raise DataError(f"{path}: split={split!r} is no name of a split; slices are not supported, use max_utterances")


def _load_saved(path: Path, split: str | None) -> dict[str | None, Any]:
    """What `save_to_disk` wrote; of several splits, only the files of the one asked for are opened."""
    import datasets

    if not (path / "dataset_dict.json").is_file():
        return {None: asked(str(path), lambda: datasets.load_from_disk(str(path)))}
    names = asked(str(path), lambda: json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"])
    _refuse_slice(str(path), split)
    folders = _chosen(str(path), {name: str(path / name) for name in names}, split)
    return {name: asked(folder, functools.partial(datasets.load_from_disk, folder)) for name, folder in folders.items()}


def _builder(path: str, subset: str | None, split: str | None, revision: str | None) -> "DatasetBuilder":
    """What can load the dataset; with `split`, it knows of no other files than those of that split."""
    import datasets

    caches, local = Path(datasets.config.HF_DATASETS_CACHE), _folder_digest(Path(path))
    if split is None:
        own = str(caches / "local" / local) if local else None
        return asked(path, lambda: _find_builder(path, subset, revision, cache_dir=own))
    _refuse_slice(path, split)
    # A cache of its own: `datasets` would take a lone split in the common one for the whole dataset.
    name = f"{revision or 'default'}-{split}{local and '-' + local}".replace("/", "-")
    cache_dir = str(caches / "one_split" / name)
    builder = asked(path, lambda: _find_builder(path, subset, revision, cache_dir=cache_dir))
    files = builder.config.data_files
    if files:  # none where the hub is out of reach and a copy in the cache is read
        _chosen(path, files, split)
        builder.config = copy.copy(builder.config)
        builder.config.data_files = type(files)({split: files[split]})
        # What the card says of all splits together: rows to be verified, disk space to be demanded.
        info = builder.info
        info.splits = info.download_checksums = info.download_size = info.dataset_size = info.size_in_bytes = None
    return builder


def _folder_digest(path: Path) -> str:
    """Of a folder's place and files, "" for a hub id: `datasets` caches a folder whose card names its files by its name
    alone, and would give the rows of another folder of that name, or those it held before it was changed."""
    if not path.is_dir():
        return ""
    files = [(str(file.relative_to(path)), file.stat()) for file in sorted(path.rglob("*")) if file.is_file()]
    state = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]
    return hashlib.sha256(repr((str(path.resolve()), state)).encode()).hexdigest()[:16]


def _find_builder(path: str, subset: str | None, revision: str | None, cache_dir: str | None) -> "DatasetBuilder":
    import datasets

    try:
        return datasets.load_dataset_builder(path, subset, revision=revision, cache_dir=cache_dir)
    except ValueError as error:
        if subset is None or "not found. Available" not in str(error):
            raise
        # refs/convert/parquet, and a download of it, has a folder for each subset but no card that says so.
        try:
            return datasets.load_dataset_builder(path, data_dir=subset, revision=revision, cache_dir=cache_dir)
        except Exception:
            raise error from None


def _is_saved(path: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def asked(path: str, load: Callable[[], Any]) -> Any:
    """What `load` returns; any failure of `datasets` becomes one sentence."""
    try:
        return load()
    except Exception as error:  # `datasets` raises ValueError, OSError, ImportError and classes of its own
        raise DataError(f"{path}: {_explained(error, is_folder=Path(path).is_dir())}") from None


def _explained(error: Exception, *, is_folder: bool) -> str:
    """What went wrong and what to do."""
    causes = f"{error} {error.__cause__ or ''} {getattr(error.__cause__, '__cause__', '') or ''}"
    kind = type(error).__name__
    if kind == "EmptyDatasetError" and is_folder:
        return "holds no data; expected recordings, Parquet files or what `save_to_disk` writes; or name a manifest"
    if "torchcodec" in causes and is_folder:
        return (
            "holds recordings but no metadata.csv (columns file_name and text, one row a recording); write one, or name "
            "a manifest"
        )
    if "torchcodec" in causes:
        return (
            "`datasets` needs torchcodec to list this audio folder; download it "
            "(`hf download --repo-type dataset ID --local-dir DIR`) and set path=DIR"
        )
    if "scripts are no longer supported" in causes:
        return (
            "is read by a script of its own, which `datasets` no longer runs; set revision=refs/convert/parquet, where "
            "the hub keeps a Parquet copy of many such datasets"
        )
    if isinstance(error, ConnectionError) or kind in _UNREACHABLE or "Couldn't find cache for" in causes:
        return (
            f"the hub cannot be reached ({first_line(error)}); check the network, or download the dataset elsewhere "
            "(`hf download --repo-type dataset ID --local-dir DIR`) and set path=DIR"
        )
    if found := re.search(r"available configs: \[(.*)\]", causes):
        return f"has several subsets; set subset to one of {found[1]}"
    if found := re.search(r"BuilderConfig ('.*') not found. Available: \[(.*)\]", causes):
        return f"has no subset {found[1]}; it has {found[2]}"
    is_telling = kind == "DatasetNotFoundError"  # its cause says "404 Client Error"
    return f"cannot be loaded as a dataset ({kind}: {first_line(error if is_telling else error.__cause__ or error)})"


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def holds_bytes(column_type: pa.DataType) -> bool:
    """Whether a column can hold encoded audio: binary, or the struct of bytes and path that `datasets` writes."""
    if pa.types.is_struct(column_type):
        return any(field.name == "bytes" and holds_bytes(field.type) for field in column_type)
    return pa.types.is_binary(column_type) or pa.types.is_large_binary(column_type)


def dataset_rows(dataset: "Dataset", label: str, split_name: str | None) -> Rows:
    """Rows of a map-style dataset straight from its Arrow files."""
    if getattr(dataset, "_indices", None) is not None:
        dataset = dataset.flatten_indices()
    files = [str(Path(entry["filename"]).absolute()) for entry in dataset.cache_files]
    names = class_names(dataset.features)
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
    audio_columns = [field.name for field in table.schema if holds_bytes(field.type)]
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


def class_names(features: Any) -> dict[str, list[str]]:
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
    """Rows of a dataset read as they come, shard by shard; see `Shards`."""

    def __init__(self, place: str, dataset: "IterableDataset", split: str | None) -> None:
        """
        Args:
            place: what messages call the dataset.
            dataset: opened for streaming.
            split: what rows that name no split are of; None: of none.
        """
        self.place, self.split = place, split
        self.dataset = _without_decoding(dataset)
        self.class_names = class_names(self.dataset.features)
        self.num_shards = self.dataset.num_shards
        self._shard = self.dataset

    def rows(self, shard: int, state: Any) -> Rows:
        """See `Shards`."""
        self._shard = self.dataset.shard(num_shards=self.num_shards, index=shard)
        if state is not None:
            self._shard.load_state_dict(copy.deepcopy(state))
        rows = iter(self._shard)
        while (row := asked(self.place, lambda: next(rows, None))) is not None:
            yield self.place, _finished(_with_fetched_audio(dict(row)), self.class_names, self.split)

    def state_dict(self) -> dict[str, Any]:
        """See `Shards`."""
        return copy.deepcopy(self._shard.state_dict())


def _load_streaming(path: str, subset: str | None, split: str | None, revision: str | None) -> "IterableDataset":
    if _is_saved(Path(path)):
        saved = _without_decoding(_only_split(path, _load_saved(Path(path), split), split))
        return saved.to_iterable_dataset(num_shards=min(max(1, len(saved) // _SHARD_ROWS), _MAX_SHARDS))
    builder = _builder(path, subset, split, revision)
    return _only_split(path, asked(path, builder.as_streaming_dataset), split)


def _without_decoding(dataset: Any) -> Any:
    import datasets

    for name, kind in (dataset.features or {}).items():
        if isinstance(kind, datasets.Audio):
            dataset = dataset.cast_column(name, datasets.Audio(decode=False))
    return dataset


def find_hub_tar_files(path: str, *, subset: str | None, split: str | None, revision: str | None) -> list[str]:
    """The tar shards of a split of a hub dataset in the WebDataset layout; [] where it has another."""
    if not is_hub_id(path):
        return []
    builder = _builder(path, subset, split, revision)
    if getattr(builder, "dataset_name", "") != "webdataset" and "webdataset" not in type(builder).__module__:
        return []
    files = builder.config.data_files or {}
    return [str(file) for file in _only_split(path, files, split)]


def _only_split(path: str, splits: Mapping[Any, Any], split: str | None) -> Any:
    if split is not None and split in splits:
        return splits[split]
    if len(splits) == 1 and (split is None or None in splits):
        return next(iter(splits.values()))
    problem = f"has no split {split!r}" if split else "is streamed and has several splits"
    raise DataError(f"{path}: {problem}; set split to one of {', '.join(map(str, splits))}")


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
