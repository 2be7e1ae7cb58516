"""Owns the table of formats that hold timed segments, and reading and writing files of them.

Input: a path whose suffix names the format, or segments and a format's name. Output: segments, or the file, written whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qasr_train.errors import DataError
from qasr_train.files import write_whole
from qasr_train.timed import ctm, jsonl, srt, stm, tsv, txt, vtt
from qasr_train.timed.base import TimedSegment, read_text
from qasr_train.timed.tiers import elan, textgrid
from qasr_train.timed.tiers.choice import KEY


@dataclass(frozen=True, slots=True)
class TimedFormat:
    """One format. text_of: of segments and the recording's name. segments_of: of a file's text and its name; None: written only.

    suffix: of its files, as they are written.
    """

    suffix: str
    text_of: Callable[[Sequence[TimedSegment], str], str]
    segments_of: Callable[[str, str], list[TimedSegment]] | None = None


FORMATS = {
    "txt": TimedFormat(".txt", txt.text_of),
    "jsonl": TimedFormat(".jsonl", jsonl.text_of, jsonl.segments_of),
    "srt": TimedFormat(".srt", srt.text_of, srt.segments_of),
    "vtt": TimedFormat(".vtt", vtt.text_of, vtt.segments_of),
    "ctm": TimedFormat(".ctm", ctm.text_of, ctm.segments_of),
    "stm": TimedFormat(".stm", stm.text_of, stm.segments_of),
    "tsv": TimedFormat(".tsv", tsv.text_of, tsv.segments_of),
    "textgrid": TimedFormat(".TextGrid", textgrid.text_of, textgrid.segments_of),
}

# By suffix, in lower case; those that are read by the names of their tiers too.
_OF_TIERS = {".textgrid": textgrid.segments_of, ".eaf": elan.segments_of}


def write_timed(path: Path, segments: Sequence[TimedSegment], format_name: str, recording: str) -> None:
    """Write the segments of one recording, all or nothing. recording: its name, for the formats that hold it.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, FORMATS[format_name].text_of(segments, recording))


def read_timed(path: Path, tiers: Sequence[str] = ()) -> list[TimedSegment]:
    """The segments of a file about one recording; its suffix names the format, in any case, ELAN's (.eaf) among them.

    tiers: names or patterns of those that are taken, of a format that has tiers; (): those that can be told.

    Raises:
        DataError: no format of that suffix is read, or the file is broken, or has no such tiers; names it and the line.
    """
    readers = {one.suffix.lower(): one.segments_of for one in FORMATS.values() if one.segments_of}
    suffix = path.suffix.lower()
    if suffix in _OF_TIERS:
        return _OF_TIERS[suffix](read_text(path), str(path), tiers)
    read = readers.get(suffix)
    if read is None:
        expected = ", ".join(dict.fromkeys([*readers, *_OF_TIERS]))
        raise DataError(f"{path}: is no file of timed segments that is read; expected one of {expected}")
    if tiers:
        raise without_tiers(path)
    return read(read_text(path), str(path))


def without_tiers(path: Path | str) -> DataError:
    """What to say where tiers are named of what has none."""
    return DataError(f"{path}: has no tiers; leave {KEY} out, which is for files of {' and '.join(_OF_TIERS)}")
