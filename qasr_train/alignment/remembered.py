"""Owns what was aligned so far, a line each, so that a kill loses at most the text at work and the same command goes on.

Input: alignments under keys that tell recording and text. Output: JSON lines, written durably one by one, and read back.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from qasr_train.alignment.text import Alignment
from qasr_train.files import open_lines, parse_json
from qasr_train.timed.jsonl import row_of_word, word_of


@dataclass
class Remembered:
    """Alignments by their keys; a context manager that holds its file open.

    path: of the JSON lines; what decides an alignment besides recording and text belongs into its name.
    """

    path: Path

    def __enter__(self) -> Self:
        self._known = dict(_read(self.path))
        self._file = open_lines(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: str) -> Alignment | None:
        """What is known under a key; times to the millisecond."""
        return self._known.get(key)

    def add(self, key: str, alignment: Alignment) -> Alignment:
        """Remember one; returns it as it will be read back. It survives a kill once this has returned.

        Raises:
            OSError: the disk is full.
        """
        row = {"key": key, "doubt": round(alignment.doubt, 4), "words": [row_of_word(one) for one in alignment.words]}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._known[key] = _alignment(row, self.path)
        return self._known[key]


def _read(path: Path) -> Iterator[tuple[str, Alignment]]:
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            row = parse_json(line)
            yield row["key"], _alignment(row, path)
        except (ValueError, KeyError, TypeError):
            continue  # cut short by a kill: the text is aligned again


def _alignment(row: dict, path: Path) -> Alignment:
    return Alignment(tuple(word_of(word, str(path)) for word in row["words"]), float(row["doubt"]))
