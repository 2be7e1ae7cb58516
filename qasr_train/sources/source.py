"""Owns sources: which format one is stored in, and which of its utterances are taken.

Input: a `SourceConfig`. Output: a table or list of `Utterance` (`load_table`), or a stream with an exact position
(`stream_utterances`). A format is a file with a class that keeps `OpenSource`, and a line of `FORMATS`; `rows.py` gives rows
their meaning, `streams.py` deals streams out to processes.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.config.patterns import matches
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance, rows_of_lines
from qasr_train.run.processes import ALONE, Processes
from qasr_train.sources.base import OpenSource
from qasr_train.sources.blocks import read_block
from qasr_train.sources.files import open_csv, open_json
from qasr_train.sources.hub import is_hub_id, open_hf
from qasr_train.sources.parquet import open_parquet
from qasr_train.sources.rows import RowReader
from qasr_train.sources.settings import SourceConfig, SourceFormat
from qasr_train.sources.streams import UtteranceStream
from qasr_train.sources.table import Columns, TableBuilder, UtteranceTable
from qasr_train.sources.tar import find_tar_files, open_tar

log = logging.getLogger(__name__)

_NUM_PROBED_PATHS = 20
TRAIN = "train"  # as `prepare` and nearly every corpus call what is there to be trained on
# Suffix -> what unpacks it.
_COMPRESSED = {
    ".gz": "gunzip -k",
    ".tgz": "gunzip -k",
    ".bz2": "bunzip2 -k",
    ".xz": "unxz -k",
    ".zst": "unzstd",
    ".zip": "unzip",
}


@dataclass(frozen=True)
class Format:
    """How sources are stored, and how `format=auto` knows them.

    open: from the path (`~` expanded) and the settings; opens files only to tell what is in them.
    suffixes: of its files, in lower case.
    holds: whether a folder is stored so; the first format of the table that says so has it.
    is_of_the_hub: whether a hub id is.
    """

    open: Callable[[Path, SourceConfig], OpenSource]
    suffixes: tuple[str, ...] = ()
    holds: Callable[[Path], bool] = lambda folder: False
    is_of_the_hub: bool = False


# By the names of `SourceFormat`; a new format adds a line here.
FORMATS: dict[str, Format] = {
    "jsonl": Format(open_json, (".jsonl", ".json", ".ndjson")),
    "csv": Format(open_csv, (".csv", ".tsv")),
    "parquet": Format(open_parquet, (".parquet", ".pq")),
    "webdataset": Format(open_tar, (".tar",), holds=lambda folder: bool(find_tar_files(folder))),
    "hf": Format(open_hf, holds=lambda folder: True, is_of_the_hub=True),
}


def open_source(config: SourceConfig) -> OpenSource:
    """The source in the format asked for, or the one path and suffix tell; read nothing yet.

    Raises:
        DataError: the format cannot be told, or there is nothing at the path to tell it by.
    """
    path = Path(config.path).expanduser()
    return _format(path, config).open(path, config)


def check_source(config: SourceConfig) -> None:
    """Refuse a path that is nothing, or whose format cannot be told, before anything large is loaded or downloaded.

    Raises:
        DataError: as `load_utterances` would.
    """
    path = Path(config.path).expanduser()
    is_on_the_hub = _format(path, config).is_of_the_hub and is_hub_id(config.path)
    if not is_on_the_hub and not path.exists():
        raise DataError(f"{config.path}: no such file; check the path of the source")


def _refuse_elsewhere(path: Path, config: SourceConfig) -> None:
    """One sentence for what no reader reads, whatever `format` says: addresses, and compressed files."""
    scheme, is_address, rest = config.path.partition("://")
    if is_address and scheme.isalnum():
        hub_id = "/".join(rest.split("/")[2:4])
        if rest.startswith("huggingface.co/datasets/") and is_hub_id(hub_id):
            raise DataError(f"{config.path}: is an address; of a dataset of the hub, name {hub_id}")
        raise DataError(f"{config.path}: is an address; download it, and set path to the file or folder here")
    if path.suffix.lower() in _COMPRESSED and path.is_file():
        raise DataError(
            f"{path}: is compressed; unpack it (`{_COMPRESSED[path.suffix.lower()]} {path}`) and name what comes out"
        )


def _format(path: Path, config: SourceConfig) -> Format:
    _refuse_elsewhere(path, config)
    if config.revision is not None and path.exists():
        log.warning("%s: is read as it lies here; revision=%s is for hub ids", path, config.revision)
    if config.format is not SourceFormat.auto:
        return FORMATS[config.format.value]
    if path.is_dir():
        return next(format for format in FORMATS.values() if format.holds(path))
    for format in FORMATS.values():
        if path.suffix.lower() in format.suffixes:
            return format
    if path.exists():
        *names, last = (name for name, format in FORMATS.items() if format.suffixes)
        raise DataError(
            f"{path}: cannot tell its format by the suffix {path.suffix!r}; set format to {', '.join(names)} or {last}"
        )
    if is_hub_id(config.path):
        return next(format for format in FORMATS.values() if format.is_of_the_hub)
    raise DataError(f"{path}: no such file or folder; check the path of the source")


def load_utterances(
    config: SourceConfig, name: str, *, is_one_split: bool = True, is_trained_on: bool = False
) -> list[Utterance]:
    """As `load_table`, as a list of objects."""
    return list(load_table(config, name, is_one_split=is_one_split, is_trained_on=is_trained_on))


def load_table(
    config: SourceConfig, name: str, *, is_one_split: bool = True, is_trained_on: bool = False
) -> UtteranceTable:
    """All utterances of a source, in its order; `max_utterances` takes the first so many of those the split keeps.

    Audio is not opened, except that a source of whose first files not one exists is refused.

    Args:
        config: the source.
        name: its name in the mixture; begins the ids of rows that have neither id nor path.
        is_trained_on: where no split was chosen and rows of `train` stand beside others, take those alone, and say so: the others
            were set aside.
        is_one_split: warn where no split was chosen and rows of several came, as training on test rows by oversight would.

    Raises:
        DataError: missing or empty source, a row that is no utterance (names file, line, column), no row of the split.
    """
    source = open_source(config)
    table, splits, reader = _load_blocks(source, config, name) or _load_rows(source, config, name)
    if not splits:
        raise DataError(f"{config.path}: holds no rows; expected one row for each utterance")
    if not len(table) and config.only:
        raise DataError(f"{config.path}: no row matches only={config.only}; {_splits_text(splits)}")
    if not len(table):
        raise DataError(f"{config.path}: no row is of split {config.split!r}; {_splits_text(splits)}")
    reader.check_all_columns_seen(config.path)
    reader.name_unused()
    _refuse_lost_audio(table)
    if is_trained_on and config.split is None and TRAIN in splits and set(splits) - {TRAIN, ""}:
        log.warning(
            "source %s: %s; only those of %s are trained on; split=NAME chooses others, columns.split= (empty) takes all",
            name,
            _splits_text(splits),
            TRAIN,
        )
        return table.take(np.flatnonzero(pc.fill_null(pc.equal(table.column("split"), TRAIN), False).to_numpy()))
    if is_one_split and config.split is None and len(splits) > 1:
        log.warning("source %s: all its splits are used; %s; choose one with split=NAME", name, _splits_text(splits))
    return table


_Loaded = tuple[UtteranceTable, dict[str, int], RowReader]


def _load_rows(source: OpenSource, config: SourceConfig, name: str) -> _Loaded:
    """(the utterances wanted, split -> rows read of it, the reader), row by row, from any format."""
    reader = _reader(source, config, name, has_unique_ids=True)
    builder, splits = TableBuilder(), dict[str, int]()
    for number, (where, row) in enumerate(source.rows(), start=1):
        utterance = reader(row, where, number)
        _take(utterance, config, builder, splits)
        if builder.num_rows == config.max_utterances:
            break
    return builder.finish(), splits, reader


def _load_blocks(source: OpenSource, config: SourceConfig, name: str) -> _Loaded | None:
    """As `_load_rows`, ten times as fast, from blocks; None where ids repeat or only reading row by row can tell what is wrong.

    A block with anything unusual in it is read row by row, under the same rules.
    """
    # The first rows of a large file, or a pattern for each row: nothing to be gained.
    if config.max_utterances is not None or config.only or (blocks := source.blocks()) is None:
        return None
    reader = _reader(source, config, name, has_unique_ids=True)
    builder, splits = TableBuilder(reader.audio_folder, str(source.path)), dict[str, int]()
    ids: list[pa.Array] = []
    try:
        for first_line, block in blocks:
            found = read_block(block, first_line, reader)
            if found is not None:
                ids.append(found[0]["id"])
                _take_block(*found, config, builder, splits)
                continue
            utterances = _utterances_of_block(block, source.path, first_line, reader, num_before=sum(map(len, ids)))
            ids.append(pa.array([u.id for u in utterances], pa.string()))
            for utterance in utterances:
                _take(utterance, config, builder, splits)
    except (DataError, UnicodeError, OSError):
        return None  # told by `_load_rows`, which reads it in the order of the file
    num_rows = sum(map(len, ids))
    has_unique_ids = not num_rows or pc.count_distinct(pa.chunked_array(ids)).as_py() == num_rows
    pa.default_memory_pool().release_unused()  # what parsing took; a hundred megabytes for a million rows
    return (builder.finish(), splits, reader) if has_unique_ids else None


def _utterances_of_block(
    block: bytes, path: Path, first_line: int, reader: RowReader, *, num_before: int
) -> list[Utterance]:
    rows = rows_of_lines(block.decode("utf-8").split("\n"), path, first_line)
    return [reader(row, where, number) for number, (where, row) in enumerate(rows, start=num_before + 1)]


def _take(utterance: Utterance, config: SourceConfig, builder: TableBuilder, splits: dict[str, int]) -> None:
    """Count a row's split, and keep it if it is wanted."""
    splits[utterance.split or ""] = splits.get(utterance.split or "", 0) + 1
    if (config.split is None or utterance.split == config.split) and _is_wanted(utterance, config.only):
        builder.add(utterance)


def _take_block(
    columns: Columns, durations_s: np.ndarray, config: SourceConfig, builder: TableBuilder, splits: dict[str, int]
) -> None:
    stated = columns.get("split")
    if stated is None:
        counts = {"": len(durations_s)}
    else:
        counts = {entry["values"] or "": entry["counts"] for entry in pc.value_counts(stated).to_pylist()}
    for split, count in counts.items():
        splits[split] = splits.get(split, 0) + count
    if config.split is None:
        builder.add_block(columns, durations_s)
    elif config.split in counts:
        kept = pc.fill_null(pc.equal(stated, config.split), False)
        builder.add_block(
            {k: c.filter(kept) for k, c in columns.items()}, durations_s[kept.to_numpy(zero_copy_only=False)]
        )


def _is_wanted(utterance: Utterance, only: dict[str, str]) -> bool:
    return all(
        matches(f"source.only.{field}", pattern, str(getattr(utterance, field) or ""))
        for field, pattern in only.items()
    )


def _reader(source: OpenSource, config: SourceConfig, name: str, *, has_unique_ids: bool) -> RowReader:
    return RowReader(
        config.columns,
        language=config.language,
        new_languages=config.new_languages,
        audio_folder=_audio_folder(source.path, config.audio_root),
        source_name=name,
        has_unique_ids=has_unique_ids,
    )


def _audio_folder(path: Path, audio_root: str | None) -> str:
    if audio_root is not None:
        root = Path(audio_root).expanduser()
        if not root.is_dir():
            raise DataError(f"audio_root={audio_root}: no such folder; relative audio paths start there")
        return str(root)
    return str(path if path.is_dir() else path.parent)


def _splits_text(splits: dict[str, int]) -> str:
    if set(splits) == {""}:
        return "its rows name no split"
    return "it holds " + ", ".join(f"{split or 'no split named'} ({count})" for split, count in splits.items())


def _refuse_lost_audio(utterances: UtteranceTable) -> None:
    """One sentence now instead of a million rejects later, where every path is wrong."""
    paths = [
        u.audio for u in utterances[:_NUM_PROBED_PATHS] if isinstance(u.audio, str) and not is_arrow_reference(u.audio)
    ]
    # Not by Path, which raises where a name is too long for any file.
    if paths and not any(os.path.exists(path) for path in paths):  # noqa: PTH110
        raise DataError(
            f"{utterances[0].origin}: audio file {paths[0]} does not exist, nor does that of any of the first {len(paths)} "
            "rows; set audio_root to the folder where the paths start"
        )


def stream_utterances(
    config: SourceConfig, name: str, *, processes: Processes = ALONE, seed: int | None = None
) -> UtteranceStream:
    """One process's share of a source as a stream; opens it, reads nothing yet.

    Ids are the row's own, or the name of its audio file with the number of the row: a stream cannot know what repeats.

    Args:
        config: the source.
        name: its name in the mixture.
        processes: which share the source without overlap.
        seed: of the order of shards in each pass; None: their own order.

    Raises:
        DataError: as `load_utterances`, here or when the row is reached.
    """

    def is_wanted(utterance: Utterance) -> bool:
        is_of_split = config.split is None or utterance.split in (None, config.split)
        return is_of_split and _is_wanted(utterance, config.only)

    source = open_source(config)
    return UtteranceStream(
        _reader(source, config, name, has_unique_ids=False),
        source.shards(),
        is_wanted=is_wanted,
        max_utterances=config.max_utterances,
        processes=processes,
        seed=seed,
    )
