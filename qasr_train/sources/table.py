"""Owns a list of utterances as columns: a million rows in some 200 MB, shared with loader workers without a copy.

Input: blocks of Arrow columns, or utterances one by one. Output: `UtteranceTable`, a sequence whose items are made when asked
for. No Python object stands for a row, so a forked worker that reads it copies no memory page.
"""

import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from sys import intern
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.sources.intake import Intake
from qasr_train.timed.base import TimedWord

Columns = Mapping[str, pa.Array]

# Column -> its type. A row has either `line`, a number in the table's file, or `origin`.
_TYPES: dict[str, pa.DataType] = {
    "id": pa.string(),
    "audio": pa.string(),
    "text": pa.string(),
    "language": pa.dictionary(pa.int32(), pa.string()),
    "speaker": pa.dictionary(pa.int32(), pa.string()),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "channel": pa.int32(),
    "context": pa.string(),
    "split": pa.dictionary(pa.int32(), pa.string()),
    "words": pa.string(),  # as JSON
    "origin": pa.string(),
    "line": pa.int32(),
}
_REPEATED = ("language", "speaker", "split")
_BLOCK_ROWS = 20_000
UNKNOWN = "unknown"  # language of utterances that state none, in tables of shares


@dataclass(frozen=True, eq=False)
class UtteranceTable(Sequence[Utterance]):
    """Utterances of one source, read-only.

    columns: of all rows read; one that would hold nothing is absent.
    rows: int64 [N]; which of them are in this list, and in which order.
    durations_s: float64 [N]; NaN where a duration is not known yet.
    audio_folder, path: where the audio paths of rows with a `line` start, and the file whose lines these are. Other rows have an
        `origin`, and their paths are whole.
    intake: what became of all rows of the source.
    """

    columns: pa.Table
    rows: np.ndarray
    durations_s: np.ndarray
    audio_folder: str = ""
    path: str = ""
    intake: Intake = field(default_factory=Intake)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> "UtteranceTable": ...
    def __getitem__(self, index: int | slice) -> "Utterance | UtteranceTable":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = int(self.rows[index])
        names = self.columns.column_names
        values = {name: column[row].as_py() for name, column in zip(names, self.columns.columns, strict=True)}
        return self._utterance(values, float(self.durations_s[index]))

    def __iter__(self) -> Iterator[Utterance]:
        for begin in range(0, len(self), _BLOCK_ROWS):
            chosen = slice(begin, begin + _BLOCK_ROWS)
            block = self.columns.take(self.rows[chosen]).to_pylist()
            for values, duration_s in zip(block, self.durations_s[chosen].tolist(), strict=True):
                yield self._utterance(values, duration_s)

    def take(self, indices: np.ndarray) -> "UtteranceTable":
        """The utterances at `indices` (int [K]), in that order; shares the columns."""
        return replace(self, rows=self.rows[indices], durations_s=self.durations_s[indices])

    def with_durations(self, durations_s: np.ndarray) -> "UtteranceTable":
        """The same utterances with other durations (float64 [N])."""
        return replace(self, durations_s=np.asarray(durations_s, dtype=np.float64))

    def column(self, name: str) -> pa.ChunkedArray:
        """The values of a field for the utterances of this list; nulls where the source says nothing."""
        if name not in self.columns.column_names:
            return pa.chunked_array([pa.nulls(len(self), _TYPES[name])])
        return self.columns.column(name).take(self.rows)

    def text_bytes(self) -> np.ndarray:
        """Int [N]; length of each transcript in UTF-8."""
        if "text" not in self.columns.column_names:
            return np.zeros(len(self), dtype=np.int32)
        return pc.fill_null(pc.binary_length(self.columns.column("text")), 0).to_numpy()[self.rows]

    @property
    def num_bytes(self) -> int:
        """Bytes of memory held by all columns and by this list."""
        return int(self.columns.nbytes) + self.rows.nbytes + self.durations_s.nbytes

    def _utterance(self, values: dict[str, Any], duration_s: float) -> Utterance:
        line = values.pop("line", None)
        if line is not None:  # as it stands in the file
            values["origin"] = f"{self.path}:{line}"
            values["text"] = values["text"].strip()
            if not is_arrow_reference(values["audio"]):
                values["audio"] = os.path.join(self.audio_folder, values["audio"])  # noqa: PTH118 (ten times as fast)
        elif values["origin"] is None:
            values["origin"] = ""
        for name in _REPEATED:
            if values.get(name) is not None:
                values[name] = intern(values[name])
        written = values.pop("words", None)
        if written is not None:
            values["words"] = tuple(TimedWord(*word) for word in json.loads(written))
        return Utterance(**values, duration_s=None if duration_s != duration_s else duration_s)


@dataclass
class TableBuilder:
    """Gathers blocks of columns and single utterances, in order, into one table.

    audio_folder, path: as of `UtteranceTable`; single utterances bring paths and origins of their own.
    """

    audio_folder: str = ""
    path: str = ""
    num_rows: int = 0
    _blocks: list[Columns] = field(default_factory=list)
    _durations_s: list[np.ndarray] = field(default_factory=list)
    _pending: list[Utterance] = field(default_factory=list)

    def add(self, utterance: Utterance) -> None:
        """Append one utterance whose audio is a path or an Arrow reference."""
        self._pending.append(utterance)
        self.num_rows += 1
        if len(self._pending) == _BLOCK_ROWS:
            self._flush()

    def add_block(self, columns: Columns, durations_s: np.ndarray) -> None:
        """Append rows that were checked: columns by the names of Utterance, and `line`; a field may be absent."""
        self._flush()
        self._blocks.append(columns)
        self._durations_s.append(durations_s)
        self.num_rows += len(durations_s)

    def finish(self) -> UtteranceTable:
        """The table of all that was added."""
        self._flush()
        names = [name for name in _TYPES if any(name in block for block in self._blocks)]
        columns = {name: self._column(name) for name in names}
        durations_s = np.concatenate(self._durations_s) if self._durations_s else np.empty(0)
        return UtteranceTable(pa.table(columns), np.arange(len(durations_s)), durations_s, self.audio_folder, self.path)

    def _column(self, name: str) -> pa.ChunkedArray:
        kind = _TYPES[name]
        chunks = [
            block[name] if name in block else pa.nulls(len(durations_s), kind)
            for block, durations_s in zip(self._blocks, self._durations_s, strict=True)
        ]
        return pa.chunked_array(chunks, type=kind)

    def _flush(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        columns: dict[str, pa.Array] = {}
        for name, kind in _TYPES.items():
            values = [] if name == "line" else [_stored(utterance, name) for utterance in pending]
            if any(value is not None for value in values):
                columns[name] = _string_column(values, name, kind, pending)
        durations_s = [np.nan if u.duration_s is None else u.duration_s for u in pending]
        self._blocks.append(columns)
        self._durations_s.append(np.asarray(durations_s, dtype=np.float64))


def _stored(utterance: Utterance, name: str) -> Any:
    """A field as its column has it."""
    if name != "words":
        return getattr(utterance, name)
    rows = [(word.text, word.start_s, word.end_s, word.confidence) for word in utterance.words]
    return json.dumps(rows, ensure_ascii=False) if rows else None


def _string_column(values: list[Any], name: str, kind: pa.DataType, rows: list[Utterance]) -> pa.Array:
    """An Arrow array; half a surrogate pair, which JSON can write and no tokenizer can read, is refused by its place."""
    is_dictionary = pa.types.is_dictionary(kind)
    try:
        array = pa.array(values, kind.value_type if is_dictionary else kind)
    except UnicodeEncodeError:
        broken = next(u for u, v in zip(rows, values, strict=True) if isinstance(v, str) and _is_broken(v))
        raise DataError(
            f"{broken.origin}: {name} holds half a surrogate pair (\\ud800 to \\udfff alone), which is no text; correct it"
        ) from None
    return array.dictionary_encode() if is_dictionary else array


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def durations_of(utterances: Sequence[Utterance]) -> np.ndarray:
    """Float64 [N] of a list, a table or another sequence with `durations_s`; NaN where a duration is not known."""
    known = getattr(utterances, "durations_s", None)
    if known is not None:
        return known
    return np.array([np.nan if u.duration_s is None else u.duration_s for u in utterances], dtype=np.float64)


def ids_of(utterances: Sequence[Utterance]) -> Iterator[str]:
    """The ids of a list or a table, in order, without making the utterances of a table."""
    if not isinstance(utterances, UtteranceTable):
        yield from (u.id for u in utterances)
        return
    column = utterances.columns.column("id")
    for begin in range(0, len(utterances), _BLOCK_ROWS):
        yield from column.take(utterances.rows[begin : begin + _BLOCK_ROWS]).to_pylist()


def have_words(utterances: Sequence[Utterance]) -> np.ndarray:
    """Bool [N]: which utterances of a list or a table have words with times."""
    if isinstance(utterances, UtteranceTable) and "words" in utterances.columns.column_names:
        return utterances.columns.column("words").is_valid().to_numpy()[utterances.rows]
    if isinstance(utterances, UtteranceTable):
        return np.zeros(len(utterances), dtype=bool)
    return np.array([bool(u.words) for u in utterances], dtype=bool)


def take(utterances: Sequence[Utterance], indices: np.ndarray) -> Sequence[Utterance]:
    """The utterances at `indices` (int [K]) of a list or a table, in that order."""
    if isinstance(utterances, UtteranceTable):
        return utterances.take(indices)
    return [utterances[i] for i in indices.tolist()]


def draw(table: UtteranceTable, number: int, seed: int) -> UtteranceTable:
    """So many at random, in their order: the first of one permutation by the seed, so that larger draws hold the smaller ones."""
    order = np.random.default_rng(seed).permutation(len(table))
    return table.take(np.sort(order[:number]))


def languages_of(utterances: Sequence[Utterance]) -> tuple[list[str], np.ndarray]:
    """(names, int64 [N]: which of them each utterance of a list or a table is in); "unknown" where none is stated."""
    if isinstance(utterances, UtteranceTable) and "language" not in utterances.columns.column_names:
        return [UNKNOWN] * bool(len(utterances)), np.zeros(len(utterances), dtype=np.int64)
    if not isinstance(utterances, UtteranceTable):
        column = pa.chunked_array([pa.array([u.language for u in utterances], pa.string()).dictionary_encode()])
    else:
        column = utterances.columns.column("language")
    encoded = column.unify_dictionaries().combine_chunks()
    names = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices, len(names)).to_numpy().astype(np.int64)
    codes = codes[utterances.rows] if isinstance(utterances, UtteranceTable) else codes
    present, codes = np.unique(codes, return_inverse=True)
    return [[*names, UNKNOWN][code] for code in present.tolist()], codes


class Joined(Sequence[Utterance]):
    """Several lists of utterances as one, none of them copied. names: of the lists, where they have any."""

    def __init__(self, parts: Sequence[Sequence[Utterance]], names: Sequence[str] = ()) -> None:
        self.names = [name for name, part in zip(names, parts, strict=bool(names)) if len(part)]
        self.parts = [part for part in parts if len(part)]
        self.ends = list(accumulate(len(part) for part in self.parts))
        self.durations_s = np.concatenate([np.empty(0), *(durations_of(part) for part in self.parts)])

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> list[Utterance]: ...
    def __getitem__(self, index: int | slice) -> Utterance | list[Utterance]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        number = bisect_right(self.ends, index)
        return self.parts[number][index - (self.ends[number - 1] if number else 0)]

    def name_of(self, index: int) -> str:
        """The name of the list that an utterance stands in; "" where they have none."""
        return self.names[bisect_right(self.ends, index)] if self.names else ""
