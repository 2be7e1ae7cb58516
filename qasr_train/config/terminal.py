"""Owns what reaches a terminal: text from manifests, predictions and file names cannot move its cursor or colour it.

Input: standard output and error as the process has them. Output: streams that show control characters as escapes, for as long as
a recipe runs. Escapes of our own pass: the carriage return and cursor movements of progress bars, and `Styled` text.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from qasr_train.files import Styled, visible

_PROGRESS_BAR = re.compile(r"\n*(?:\x1b\[A)*")  # what tqdm writes to reach the line of a bar
_ENDS = re.compile(r"(\r*)(.*?)(\r*\n?)", re.DOTALL)


class PlainStream:
    """A text stream that writes control characters as escapes and is in all else the one it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write to the stream; returns the number of characters given."""
        if not isinstance(text, Styled) and not _PROGRESS_BAR.fullmatch(text):
            found = _ENDS.fullmatch(text)
            assert found is not None  # it matches any text
            text, num_given = found[1] + visible(found[2]) + found[3], len(text)
            self._stream.write(text)
            return num_given
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)


@contextmanager
def plain_terminal() -> Iterator[None]:
    """Let standard output and error show control characters as escapes inside the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, PlainStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
