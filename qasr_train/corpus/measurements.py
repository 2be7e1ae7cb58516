"""Owns what `prepare` remembers between runs of the same command: one line for each recording checked, and for what settings.

Input: recordings and what was measured of them. Output: the same after an interruption. A line is written and flushed as soon
as its recording is done, so `kill -9` loses at most the line being written.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from qasr_train.corpus.worker import Measured
from qasr_train.errors import DataError
from qasr_train.files import parse_json
from qasr_train.manifest import Utterance

JOURNAL_VERSION = 1
_SYNC_EVERY_S = 5.0  # of work a crash of the machine, not of the process, may lose


def utterance_key(utterance: Utterance) -> str:
    """Names an utterance's recording and span across runs; text and other fields may change without decoding it again."""
    stated = [utterance.id, utterance.audio, utterance.start_s, utterance.end_s]
    stated += [] if utterance.channel is None else [utterance.channel]  # journals begun before there were channels hold
    return hashlib.sha1(json.dumps(stated).encode()).hexdigest()


def file_state(audio: str) -> list[int] | None:
    """Size in bytes and time of change of a file, None where it is not there: another state means measuring again."""
    try:
        found = Path(audio).stat()
    except (OSError, ValueError):  # a name that no file can have
        return None
    return [found.st_size, found.st_mtime_ns]


class Measurements:
    """The journal of one output folder: what was measured of each recording, locked while open."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """
        Args:
            path: the journal's file; created if missing.
            settings: what the measurements depend on; a journal begun with others is refused.

        Raises:
            DataError: another `prepare` runs here, other settings, or a damaged file.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - `close` closes it
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"out={path.parents[1]}: another prepare is at work here; wait for it, or choose another folder"
            ) from None
        self._synced_at = time.monotonic()
        self.measured: dict[str, tuple[list[int] | None, Measured]] = {}
        lines = self._whole_lines()
        if lines:
            self._check_settings(lines[0], settings)
            self._load(lines[1:])
        else:
            self._write({"journal_version": JOURNAL_VERSION, "settings": dict(settings)})

    def _whole_lines(self) -> list[str]:
        """The lines that were written to their end; a torn last line is cut off."""
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
            self._file.truncate(sum(len(line.encode()) for line in lines))
        return lines

    def _check_settings(self, line: str, settings: Mapping[str, Any]) -> None:
        header = self._parsed(line, 1)
        begun = header.get("settings", {})
        for key in sorted({*begun, *settings}):
            if begun.get(key) != settings.get(key):
                raise DataError(
                    f"out={self.path.parents[1]}: was begun with {key}={begun.get(key)}, not {settings.get(key)}; "
                    "go on with the same settings, or choose another folder"
                )

    def _load(self, lines: list[str]) -> None:
        for number, line in enumerate(lines, start=2):
            row = self._parsed(line, number)
            self.measured[row["key"]] = (row["file"], Measured(**row["measured"]))

    def _parsed(self, line: str, number: int) -> dict[str, Any]:
        try:
            return dict(parse_json(line))
        except (ValueError, TypeError):
            raise DataError(f"{self.path}:{number}: is damaged; delete the file to check everything again") from None

    def find(self, key: str, state: list[int] | None) -> Measured | None:
        """What was measured of this utterance while its file was in this state; None if it was not."""
        known_state, measured = self.measured.get(key, (None, None))
        return measured if known_state == state else None

    def add(self, key: str, state: list[int] | None, measured: Measured) -> None:
        """Remember a recording that was checked. One that was rejected is not remembered: it may be mended."""
        self._write({"key": key, "file": state, "measured": asdict(measured)})

    def _write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if time.monotonic() - self._synced_at > _SYNC_EVERY_S:
            os.fsync(self._file.fileno())
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Write to the disk and unlock."""
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> "Measurements":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
