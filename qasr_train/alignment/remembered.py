"""Owns what was aligned so far, a line each, so that a kill loses at most the text at work and the same command goes on.

Input: alignments under keys that tell recording and text. Output: JSON lines, written durably one by one, and read back one by
one: of each line only its place is kept in memory.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

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
        self._places = dict(_places(self.path))  # key -> byte of the file at which its line begins
        self._file = open_lines(self.path)
        self._file.flush()
        self._lines = open(self.path, "rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._lines.close()

    def get(self, key: str) -> Alignment | None:
        """What is known under a key; times to the millisecond."""
        place = self._places.get(key)
        if place is None:
            return None
        self._lines.seek(place)
        return _alignment(parse_json(self._lines.readline()), self.path)

    def add(self, key: str, alignment: Alignment) -> Alignment:
        """Remember one; returns it as it will be read back. It survives a kill once this has returned.

        Raises:
            OSError: the disk is full.
        """
        row: dict[str, Any] = {"key": key, "doubt": round(alignment.doubt, 4), "duration_s": alignment.duration_s}
        row["words"] = [row_of_word(one) for one in alignment.words]
        place = os.fstat(self._file.fileno()).st_size
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._places[key] = place
        return _alignment(row, self.path)


def _places(path: Path) -> Iterator[tuple[str, int]]:
    """The key of each whole line, and where it begins; one cut short by a kill is passed over: its text is aligned again."""
    if not path.is_file():
        return
    with open(path, "rb") as lines:
        place = 0
        for line in lines:
            try:
                row = parse_json(line)
                _alignment(row, path)
                yield row["key"], place
            except (ValueError, KeyError, TypeError):
                pass
            place += len(line)


def _alignment(row: dict[str, Any], path: Path) -> Alignment:
    words = tuple(word_of(word, str(path)) for word in row["words"])
    return Alignment(words, float(row["doubt"]), row.get("duration_s"))
