"""Owns what a source offers, whatever its format: rows one after the other, lines in blocks, or shards of a stream.

Input: none; these are the protocols. Each reader (files.py, parquet.py, hub.py, tar.py) has a class that keeps them, and
`source.py` chooses one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

Rows = Iterator[tuple[str, dict[str, Any]]]  # ("file:line", column -> value); `rows.py` gives them their meaning
Blocks = Iterator[tuple[int, bytes]]  # (number of its first line, counted from 1; whole lines, one JSON object each)


class Shards(Protocol):
    """The rows of a source in pieces that can be read each on its own."""

    num_shards: int

    def rows(self, shard: int, state: Any) -> Rows:
        """(place, row) of a shard from `state` on (None: from its beginning) to its end."""

    def state_dict(self) -> Any:
        """Where the row given last ends, in plain numbers and strings."""


class OpenSource(Protocol):
    """A source whose format is known. Nothing is read before it is asked for.

    path: the file or folder, `~` expanded; of a hub id, a path where nothing stands.
    """

    @property
    def path(self) -> Path: ...

    def rows(self) -> Rows:
        """Every row, in the source's order.

        Raises:
            DataError: here or at the row it concerns: the source cannot be read, or only as a stream.
        """

    def blocks(self) -> Blocks | None:
        """The lines of a JSONL file some megabytes at a time, to be parsed by column; None where there are no such lines."""

    def shards(self) -> Shards:
        """The same rows as a stream reads them.

        Raises:
            DataError: the source holds nothing that can be streamed.
        """
