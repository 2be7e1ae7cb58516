"""Owns the nouns `TimedWord` and `TimedSegment`, and what the formats of them have in common: clock times, text of a file.

Input: seconds, or lines of a file. Output: the nouns; clock times as SRT and VTT write them. Imports no torch.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from unicodedata import east_asian_width

from qasr_train.errors import DataError

PAUSE_S = 0.8  # words further apart than this belong to different segments, where a format knows words alone

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?")


@dataclass(frozen=True, slots=True)
class TimedWord:
    """One word of a recording. start_s, end_s: seconds from the recording's start; None: it could not be placed.

    confidence: from 0 to 1; None: not known.
    """

    text: str
    start_s: float | None
    end_s: float | None
    confidence: float | None = None

    @property
    def is_placed(self) -> bool:
        """Whether both its times are known."""
        return self.start_s is not None and self.end_s is not None

    def moved(self, by_s: float) -> "TimedWord":
        """The word by so many seconds later, as far as its times are known: of a clip, with times of the recording."""
        start_s, end_s = (None if at is None else at + by_s for at in (self.start_s, self.end_s))
        return replace(self, start_s=start_s, end_s=end_s)


@dataclass(frozen=True, slots=True)
class TimedSegment:
    """A stretch of a recording with what was said in it: a piece between silences, a line of a subtitle, a turn.

    start_s, end_s: seconds from the recording's start. words: in order, or () where no word times are known.
    speaker: "" where it is not known. language: the model's name of it, None where it is not known.
    confidence: of the text, from 0 to 1, as whoever wrote it down tells; None: not known.
    """

    start_s: float
    end_s: float
    text: str
    words: tuple[TimedWord, ...] = ()
    speaker: str = ""
    language: str | None = None
    confidence: float | None = None


def clock(seconds: float, decimal_mark: str) -> str:
    """01:02:03,456 of seconds, rounded to the millisecond."""
    hours, rest = divmod(round(seconds * 1000), 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{decimal_mark}{rest % 1000:03d}"


def seconds_of_clock(text: str, where: str) -> float:
    """Seconds of a clock time; hours and milliseconds may be missing, a comma or a dot before the milliseconds.

    Raises:
        DataError: it is none; begins with `where`.
    """
    found = _CLOCK.fullmatch(text.strip())
    if not found:
        raise DataError(f"{where}: {text.strip()!r:.40} is no time; expected such as 00:01:02.345")
    hours, minutes, seconds, fraction = found.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + int((fraction or "").ljust(3, "0")) / 1000


def seconds_of(text: str, where: str) -> float:
    """Seconds of a plain number, 0 or more.

    Raises:
        DataError: it is none; begins with `where`.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise DataError(f"{where}: {text!r:.40} is no time; expected seconds, 0 or more")
    return value


def checked_span(start_s: float, end_s: float, where: str) -> tuple[float, float]:
    """The span as it is.

    Raises:
        DataError: it ends before it starts; begins with `where`.
    """
    if end_s < start_s:
        raise DataError(f"{where}: ends at {end_s:g} s, before its start at {start_s:g} s; correct its times")
    return start_s, end_s


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark, lines ended by "\\n".

    Raises:
        DataError: no such file, not readable, or in another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}); save it in UTF-8") from None


def one_line(text: str) -> str:
    """The text without line breaks, tabs and doubled spaces."""
    return " ".join(text.split())


def joined_lines(text: str) -> str:
    """The lines of a cue as one; without a space where both sides are written without (Chinese, Japanese)."""
    joined = ""
    for line in filter(None, map(one_line, text.split("\n"))):
        are_wide = bool(joined) and all(
            east_asian_width(c) in ("W", "F") and not "가" <= c <= "힣" for c in (joined[-1], line[0])
        )
        joined += ("" if are_wide or not joined else " ") + line
    return joined


def segments_of_words(words: Iterable[TimedWord], speaker: str = "", pause_s: float = PAUSE_S) -> list[TimedSegment]:
    """Words in their order as segments, parted where nobody speaks for `pause_s`; never beside a word that has no times."""
    parts: list[list[TimedWord]] = []
    end_s: float | None = None  # of the word before
    for word in words:
        is_new = word.start_s is not None and end_s is not None and word.start_s - end_s >= pause_s
        if is_new or not parts:
            parts.append([])
        parts[-1].append(word)
        end_s = word.end_s
    return [_segment_of(part, speaker) for part in parts if any(word.is_placed for word in part)]


def by_speaker(segments: Iterable[TimedSegment]) -> dict[str, list[TimedSegment]]:
    """The segments of each speaker, speakers in the order of their names."""
    ordered = sorted(segments, key=lambda one: (one.speaker, one.start_s, one.end_s))
    return {speaker: list(own) for speaker, own in groupby(ordered, key=lambda one: one.speaker)}


def _segment_of(words: list[TimedWord], speaker: str) -> TimedSegment:
    starts = [word.start_s for word in words if word.start_s is not None]
    ends = [word.end_s for word in words if word.end_s is not None]
    return TimedSegment(min(starts), max(ends), " ".join(word.text for word in words), tuple(words), speaker)
