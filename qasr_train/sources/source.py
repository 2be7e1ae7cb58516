"""Owns sources: which format one is stored in, and which of its utterances are taken.

Input: a `SourceConfig`. Output: a table or list of `Utterance` (`load_table`), or a stream with an exact position
(`stream_utterances`). A format is a file with a class that keeps `OpenSource`, and a line of `FORMATS`; `rows.py` gives rows
their meaning, `streams.py` deals streams out to processes.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from qasr_train.sources.corpora import beside, kaldi, lhotse
from qasr_train.sources.files import open_csv, open_json
from qasr_train.sources.hub import is_hub_id, open_hf
from qasr_train.sources.intake import NO_SPLIT, Intake, RefusedRow, of_split
from qasr_train.sources.parquet import open_parquet
from qasr_train.sources.rows import RefusedRowError, RowReader
from qasr_train.sources.settings import SourceConfig, SourceFormat
from qasr_train.sources.streams import UtteranceStream
from qasr_train.sources.table import Columns, TableBuilder, UtteranceTable, draw
from qasr_train.sources.tar import find_tar_files, open_tar
from qasr_train.timed.formats import without_tiers

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
    holds: whether a folder is stored so; the first format of the table that says so has it. holds_file: whether a file is,
    whatever its suffix.
    is_of_the_hub: whether a hub id is.
    """

    open: Callable[[Path, SourceConfig], OpenSource]
    suffixes: tuple[str, ...] = ()
    holds: Callable[[Path], bool] = lambda folder: False
    holds_file: Callable[[Path], bool] = lambda file: False
    is_of_the_hub: bool = False


# By the names of `SourceFormat`; a new format adds a line here.
FORMATS: dict[str, Format] = {
    "jsonl": Format(open_json, (".jsonl", ".json", ".ndjson")),
    "csv": Format(open_csv, (".csv", ".tsv")),
    "parquet": Format(open_parquet, (".parquet", ".pq")),
    "kaldi": Format(kaldi.open_kaldi, holds=kaldi.holds_kaldi),
    "webdataset": Format(open_tar, (".tar",), holds=lambda folder: bool(find_tar_files(folder))),
    "lhotse": Format(lhotse.open_lhotse, holds_file=lhotse.is_cuts),
    "timed": Format(beside.open_timed, beside.SUFFIXES, holds=beside.holds_timed_files),
    "hf": Format(open_hf, holds=lambda folder: True, is_of_the_hub=True),
}


def open_source(config: SourceConfig) -> OpenSource:
    """The source in the format asked for, or the one path and suffix tell; read nothing yet.

    Raises:
        DataError: the format cannot be told, or there is nothing at the path to tell it by.
    """
    form = _format(path := Path(config.path).expanduser(), config)
    if config.tiers and form is not FORMATS["timed"]:
        raise without_tiers(config.path)
    return form.open(path, config)


def check_source(config: SourceConfig) -> None:
    """Refuse a path that is nothing, or whose format cannot be told, before anything large is loaded or downloaded.

    Raises:
        DataError: as `load_utterances` would.
    """
    if hub_dataset(config) is None and not Path(config.path).expanduser().exists():
        raise DataError(f"{config.path}: no such file; check the path of the source")


def hub_dataset(config: SourceConfig) -> str | None:
    """The id of the dataset on the Hub that a source is; None of what lies on this machine. Raises as `check_source`."""
    path = Path(config.path).expanduser()
    is_on_the_hub = _format(path, config).is_of_the_hub and is_hub_id(config.path) and not path.exists()
    return config.path if is_on_the_hub else None


def _refuse_elsewhere(path: Path, config: SourceConfig) -> None:
    """One sentence for what no reader reads, whatever `format` says: addresses, and compressed files."""
    scheme, is_address, rest = config.path.partition("://")
    if is_address and scheme.isalnum():
        hub_id = "/".join(rest.split("/")[2:4])
        if rest.startswith("huggingface.co/datasets/") and is_hub_id(hub_id):
            raise DataError(f"{config.path}: is an address; of a dataset of the hub, name {hub_id}")
        raise DataError(f"{config.path}: is an address; download it, and set path to the file or folder here")
    if path.suffix.lower() in _COMPRESSED and path.is_file() and not lhotse.is_cuts(path):
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
    by_content = [format for format in FORMATS.values() if format.holds_file(path)]
    if known := by_content or [one for one in FORMATS.values() if path.name.lower().endswith(one.suffixes)]:
        return known[0]
    if path.exists():
        *names, last = (name for name, format in FORMATS.items() if format.suffixes)
        raise DataError(
            f"{path}: cannot tell its format by the suffix {path.suffix!r}; set format to {', '.join(names)} or {last}"
        )
    if is_hub_id(config.path):
        return next(format for format in FORMATS.values() if format.is_of_the_hub)
    raise DataError(f"{path}: no such file or folder; check the path of the source")


def load_utterances(
    config: SourceConfig, name: str, *, is_one_split: bool = True, is_trained_on: bool = False, key: str = ""
) -> list[Utterance]:
    """As `load_table`, as a list of objects."""
    return list(load_table(config, name, is_one_split=is_one_split, is_trained_on=is_trained_on, key=key))


def load_table(
    config: SourceConfig,
    name: str,
    *,
    is_one_split: bool = True,
    is_trained_on: bool = False,
    takes_refused: bool = False,
    key: str = "",
) -> UtteranceTable:
    """All utterances of a source, in its order; `max_utterances` takes the first so many of those the split keeps, or draws them.

    Audio is not opened, except that a source of whose first files not one exists is refused. Where not all rows are taken, a line
    says how many and why; the table's `intake` has it too.

    Args:
        config: the source.
        name: its name in the mixture; begins the ids of rows that have neither id nor path.
        is_one_split: warn where no split was chosen and rows of several came, as training on test rows by oversight would.
        is_trained_on: where no split was chosen and rows of `train` stand beside others, set the others aside, and say so.
        takes_refused: put rows of a language that is unknown into the intake instead of raising.
        key: where the settings of the source stand, e.g. "data.train.main"; begins those that messages name.

    Raises:
        DataError: missing or empty source, a row that is no utterance (names file, line, column), no row of the split.
    """
    source = open_source(config)
    reader = row_reader(source, config, name, has_unique_ids=True, key=key)
    table = _load_blocks(source, config, reader)
    if table is None:
        reader = row_reader(source, config, name, has_unique_ids=True, key=key)
        table = _load_rows(source, config, reader, takes_refused=takes_refused)
    intake = table.intake
    if not intake.num_rows:
        raise DataError(f"{config.path}: holds no rows; expected one row for each utterance")
    if not len(table) and not intake.refused:
        wanted = f"matches {reader.key}only={config.only}" if config.only else f"is of split {config.split!r}"
        raise DataError(f"{config.path}: no row {wanted}; {_splits_text(intake.splits)}")
    reader.check_all_columns_seen(config.path)
    reader.name_unused()
    _refuse_lost_audio(table, reader.key)
    if intake.num_taken < intake.num_rows or intake.end:
        log.info("source %s: %s", name, intake.describe())
    if config.split is None:
        table = _chosen(table, name, reader.key, is_one_split=is_one_split, is_trained_on=is_trained_on)
    return _drawn(table, config, name)


def _drawn(table: UtteranceTable, config: SourceConfig, name: str) -> UtteranceTable:
    """As `draw` where that is asked for; says and counts what is left out."""
    number, seed = config.max_utterances, config.sample_seed
    if seed is None or number is None or number >= len(table):
        return table
    log.info("source %s: %d of %d utterances are drawn (sample_seed=%d)", name, number, len(table), seed)
    table.intake.leave_out(f"not among the {number} drawn by sample_seed={seed}", len(table) - number)
    return draw(table, number, seed)


def _chosen(table: UtteranceTable, name: str, key: str, *, is_one_split: bool, is_trained_on: bool) -> UtteranceTable:
    """What is taken of a source of which no split was chosen."""
    splits = table.intake.splits
    others = set(splits) - {TRAIN, ""}
    if is_trained_on and TRAIN in splits and others:
        log.warning(
            "source %s: %s; only those of %s are trained on; %ssplit=NAME chooses others, %scolumns.split= (empty) takes all",
            name, _splits_text(splits), f"{TRAIN} and of no split" if "" in splits else TRAIN, key, key,
        )  # fmt: skip
        stated = table.column("split")
        is_kept = pc.fill_null(pc.equal(stated, TRAIN), True).to_numpy()
        for split in pc.value_counts(stated.filter(pa.array(~is_kept))).to_pylist():
            table.intake.leave_out(of_split(split["values"]), split["counts"])
        return table.take(np.flatnonzero(is_kept))
    if is_one_split and len(splits) > 1:
        log.warning(
            "source %s: all its splits are used; %s; choose one with %ssplit=NAME", name, _splits_text(splits), key
        )
    return table


def _load_rows(
    source: OpenSource, config: SourceConfig, reader: RowReader, *, takes_refused: bool = False
) -> UtteranceTable:
    """The utterances wanted, row by row, from any format."""
    builder, intake = TableBuilder(), Intake()
    for number, (where, row) in enumerate(source.rows(), start=1):
        refused = None
        try:
            utterance = reader(row, where, number)
        except RefusedRowError as error:
            if not takes_refused:
                raise
            utterance, refused = error.utterance, RefusedRow(error.utterance, error.reason)
        intake.see(utterance.split)
        if (reason := reason_against(utterance, config.split, config.only)) is not None:
            intake.leave_out(reason)
        elif refused is not None:
            intake.refused.append(refused)
        else:
            builder.add(utterance)
        if config.sample_seed is None and builder.num_rows == config.max_utterances:
            intake.end = f"reading ended at max_utterances={config.max_utterances}"
            break
    return replace(builder.finish(), intake=intake)


def _load_blocks(source: OpenSource, config: SourceConfig, reader: RowReader) -> UtteranceTable | None:
    """As `_load_rows`, ten times as fast, from blocks; None where ids repeat or only reading row by row can tell what is wrong.

    A block with anything unusual in it is read row by row, under the same rules.
    """
    # The first rows of a large file, or a pattern for each row: nothing to be gained.
    takes_first = config.max_utterances is not None and config.sample_seed is None
    if takes_first or config.only or (blocks := source.blocks()) is None:
        return None
    builder, intake = TableBuilder(reader.audio_folder, str(source.path)), Intake()
    ids: list[pa.Array] = []
    try:
        for first_line, block in blocks:
            found = read_block(block, first_line, reader)
            if found is not None:
                ids.append(found[0]["id"])
                _take_block(*found, config.split, builder, intake)
                continue
            utterances = _utterances_of_block(block, source.path, first_line, reader, num_before=sum(map(len, ids)))
            ids.append(pa.array([u.id for u in utterances], pa.string()))
            for utterance in utterances:
                intake.see(utterance.split)
                if (reason := reason_against(utterance, config.split, config.only)) is not None:
                    intake.leave_out(reason)
                else:
                    builder.add(utterance)
    except (DataError, UnicodeError, OSError):
        return None  # told by `_load_rows`, which reads it in the order of the file
    num_rows = sum(map(len, ids))
    has_unique_ids = not num_rows or pc.count_distinct(pa.chunked_array(ids)).as_py() == num_rows
    pa.default_memory_pool().release_unused()  # what parsing took; a hundred megabytes for a million rows
    return replace(builder.finish(), intake=intake) if has_unique_ids else None


def _utterances_of_block(
    block: bytes, path: Path, first_line: int, reader: RowReader, *, num_before: int
) -> list[Utterance]:
    rows = rows_of_lines(block.decode("utf-8").split("\n"), path, first_line)
    return [reader(row, where, number) for number, (where, row) in enumerate(rows, start=num_before + 1)]


def _take_block(
    columns: Columns, durations_s: np.ndarray, split: str | None, builder: TableBuilder, intake: Intake
) -> None:
    """Count the splits of a block's rows, and keep those that are wanted."""
    stated = columns.get("split")
    counts: dict[str | None, int] = {None: len(durations_s)}
    if stated is not None:
        counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(stated).to_pylist()}
    for name, count in counts.items():
        intake.see(name, count)
        if split is not None and name != split:
            intake.leave_out(of_split(name), count)
    if split is None:
        builder.add_block(columns, durations_s)
    elif split in counts:
        kept = pc.fill_null(pc.equal(stated, split), False)
        builder.add_block(
            {k: c.filter(kept) for k, c in columns.items()}, durations_s[kept.to_numpy(zero_copy_only=False)]
        )


def reason_against(utterance: Utterance, split: str | None, only: Mapping[str, str]) -> str | None:
    """Why an utterance is not of the split (None: any will do), or does not match the patterns; None: it is chosen."""
    if split is not None and utterance.split != split:
        return of_split(utterance.split)
    for field, pattern in only.items():
        if not matches(f"source.only.{field}", pattern, str(getattr(utterance, field) or "")):
            return f"without {field} like {pattern}"
    return None


def row_reader(source: OpenSource, config: SourceConfig, name: str, *, has_unique_ids: bool, key: str) -> RowReader:
    """What makes utterances of an open source's rows; name, key as `load_table` takes them."""
    return RowReader(
        config.columns,
        language=config.language,
        new_languages=config.new_languages,
        audio_folder=_audio_folder(source.path, config.audio_root, key),
        source_name=name,
        has_unique_ids=has_unique_ids,
        key=key,
    )


def _audio_folder(path: Path, audio_root: str | None, key: str) -> str:
    if audio_root is not None:
        root = Path(audio_root).expanduser()
        if not root.is_dir():
            setting = f"{key}.audio_root" if key else "audio_root"
            raise DataError(f"{setting}={audio_root}: no such folder; relative audio paths start there")
        return str(root)
    return str(path if path.is_dir() else path.parent)


def _splits_text(splits: dict[str, int]) -> str:
    if set(splits) == {""}:
        return "its rows name no split"
    return "it holds " + ", ".join(f"{split or NO_SPLIT} ({count})" for split, count in splits.items())


def _refuse_lost_audio(utterances: UtteranceTable, key: str) -> None:
    """One sentence now instead of a million rejects later, where every path is wrong."""
    paths = [
        u.audio for u in utterances[:_NUM_PROBED_PATHS] if isinstance(u.audio, str) and not is_arrow_reference(u.audio)
    ]
    # Not by Path, which raises where a name is too long for any file.
    if paths and not any(os.path.exists(path) for path in paths):  # noqa: PTH110
        raise DataError(
            f"{utterances[0].origin}: audio file {paths[0]} does not exist, nor does that of any of the first {len(paths)} "
            f"rows; set {key}audio_root to the folder where the paths start"
        )


def stream_utterances(
    config: SourceConfig, name: str, *, processes: Processes = ALONE, seed: int | None = None, key: str = ""
) -> UtteranceStream:
    """One process's share of a source as a stream; opens it, reads nothing yet.

    Where no split is chosen, rows of another than `train` are set aside; a stream cannot know whether there are rows of `train`.
    Ids are the row's own, or the name of its audio file with the number of the row: a stream cannot know what repeats.

    Args:
        config: the source.
        name: its name in the mixture.
        processes: which share the source without overlap.
        seed: of the order of shards in each pass; None: their own order.
        key: as of `load_table`.

    Raises:
        DataError: as `load_utterances`, here or when the row is reached.
    """
    source = open_source(config)
    return UtteranceStream(
        row_reader(source, config, name, has_unique_ids=False, key=key),
        source.shards(),
        # What names no split is of the one chosen: of a hub dataset only its files are read.
        reason_against=lambda utterance: reason_against(utterance, utterance.split and config.split, config.only),
        main_split=TRAIN if config.split is None else None,
        max_utterances=config.max_utterances,
        processes=processes,
        seed=seed,
    )
