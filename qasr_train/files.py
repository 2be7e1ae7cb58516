"""Owns writing a text file all or nothing: as NAME.part beside it, which takes the name once everything is written; or by lines.

Input: a path, and text or rows. Output: the file; where writing fails, what stood there before. Errors stay OSErrors, since only
the caller knows which setting named the path.
"""

import errno
import io
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO


@contextmanager
def whole_file(path: Path, *, errors: str = "strict", is_synced: bool = False) -> Iterator[TextIO]:
    """A UTF-8 file to write to; it stands under `path` when the block ends without an error.

    Args:
        errors: what becomes of text that is no Unicode (half a surrogate pair), as `open` understands it.
        is_synced: wait until it is on the disk, so that it outlives a power cut too.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w", encoding="utf-8", errors=errors) as out:
            yield out
            if is_synced:
                out.flush()
                os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


log = logging.getLogger(__name__)

# Control characters but tab and line feed, what turns the direction of text, halves of surrogate pairs.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with escapes (`\\x1b`, `\\u202e`) for characters that would command a terminal, or show text that is not there."""
    return _INVISIBLE.sub(_escape, text)


class Styled(str):
    """Text with colours of ours, whose other parts its writer has made `visible`; to be written, as `print` makes it plain."""


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


TOO_DEEP = "nested too deep"


def without_lone_surrogates(text: str) -> str:
    """JSON may escape half a character ("\\ud800"), which no file can hold; it becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parse_json(text: str | bytes) -> Any:
    """What JSON from outside says; the one way to read it, as `json.loads` has three ways of its own to fail.

    Raises:
        JSONDecodeError: no JSON, no UTF-8, nested deeper than Python reads, or a whole number of thousands of digits.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError(TOO_DEEP, "", 0) from None
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError(f"no UTF-8 text: {error.reason} at byte {error.start}", "", 0) from None
    except ValueError:
        raise json.JSONDecodeError("a whole number of thousands of digits", "", 0) from None


def write_whole(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write a text file all or nothing; a Markdown page, which people read raw, with control characters as escapes."""
    text = visible(text) if path.suffix == ".md" else text
    with whole_file(path, errors=errors) as out:
        out.write(text)


def write_json(path: Path, content: Mapping[str, Any], *, errors: str = "strict", allow_nan: bool = True) -> None:
    """Write an indented JSON file all or nothing.

    Args:
        errors: as of `whole_file`.
        allow_nan: write NaN and infinities, which JSON does not have, as Python does; else they are a ValueError.
    """
    write_whole(path, json.dumps(content, ensure_ascii=False, indent=2, allow_nan=allow_nan) + "\n", errors=errors)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], *, is_synced: bool = False) -> int:
    """Write JSON lines all or nothing; returns how many."""
    count = 0
    with whole_file(path, is_synced=is_synced) as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def open_lines(path: Path) -> TextIO:
    """A file of JSON lines opened for appending; a last line that a kill cut short is ended, else the next were lost with it."""
    file = open(path, "a+b")  # noqa: SIM115
    is_cut_short = file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
    lines = io.TextIOWrapper(file, encoding="utf-8", newline="")
    if is_cut_short:
        lines.write("\n")
    return lines


def without_moving_links(path: str) -> str:
    """A path of a folder with the folders themselves in the place of links beside them, as a run's `last` and `best` are.

    Such a link leads elsewhere tomorrow. Links to other places stay: a disk that is mounted there may be mounted elsewhere.
    """
    parts = Path(path).parts
    if not Path(path).expanduser().is_dir():
        return path
    known, is_changed = Path(), False
    for part in parts:
        link = (known / part).expanduser()
        target = str(link.readlink()) if link.is_symlink() else part
        is_beside = os.sep not in target and target not in (os.curdir, os.pardir)
        known, is_changed = known / (target if is_beside else part), is_changed or (is_beside and target != part)
    return str(known) if is_changed else path


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files of these suffixes in and below a folder, by name; folders behind links too, each once.

    What is hidden is left out and counted in the log: `._a.wav` beside `a.wav` comes from a Mac and holds no sound.

    Raises:
        PermissionError: a folder may not be read; what it holds would be lost without a word.
    """
    found, hidden, seen = list[Path](), list[str](), set[str]()
    for place, folders, names in os.walk(folder, onerror=_refuse_closed, followlinks=True):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        real = os.path.realpath(place)
        if real in seen:  # a link to where it came from
            folders.clear()
            continue
        seen.add(real)
        wanted = [name for name in names if Path(name).suffix.lower() in suffixes and Path(place, name).is_file()]
        hidden += [name for name in wanted if _is_hidden(name)]
        found += [Path(place, name) for name in wanted if not _is_hidden(name)]
    if hidden:
        log.info("%s: %d hidden files are left out, such as %s", folder, len(hidden), sorted(hidden)[0])
    return sorted(found)


class FreeNames:
    """Gives names out, each once: one that is taken gets the first number from 2 on that makes it another."""

    def __init__(self) -> None:
        self._taken, self._numbers = set[str](), Counter[str]()

    def take(self, wanted: str) -> str:
        """The name wanted, or `wanted-2`, `wanted-3`, ... where it is taken."""
        name = wanted
        while name in self._taken:
            self._numbers[wanted] += 1
            name = f"{wanted}-{self._numbers[wanted] + 1}"
        self._taken.add(name)
        return name


def _refuse_closed(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def os_error_sentence(error: OSError, path: Path | None = None) -> str | None:
    """What to tell of a full disk, or of a place that may not be read or written; None for any other OSError.

    Args:
        path: what was being written; an error in the middle of a file does not name it.
    """
    name = error.filename if error.filename is not None else path or "a file"
    if error.errno in _NO_SPACE:
        return f"{name}: no space left on the disk; free some, or choose another output folder"
    if error.errno in _NO_PERMISSION:
        return f"{name}: cannot be read or written ({error.strerror}); choose a place where you may"
    if error.errno in _IN_THE_WAY:
        return f"{name}: {_IN_THE_WAY[error.errno]}; choose another path"
    return None


_IN_THE_WAY = {errno.EISDIR: "is a folder", errno.ENOTDIR: "lies below a file", errno.EEXIST: "exists and is a file"}


_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
