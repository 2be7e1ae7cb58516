"""Owns NIST's CTM: a word a line, "recording channel start duration word confidence".

Input: segments with words; or the text of a file. Output: the other of the two. The channel is the speaker ("1" where none is
known). A word without times is a comment, ";; unplaced ...", which other readers pass over and this one gives back. A segment
without words gives each of its words the times of the whole segment, and a comment says so.
"""

from collections.abc import Iterable

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, TimedWord, seconds_of, segments_of_words

_COMMENT, _UNPLACED = ";;", ";; unplaced"
NO_CHANNEL = "1"
NO_WORDS = ";; segments without word times: each of their words carries the times of its segment"


def text_of(segments: Iterable[TimedSegment], recording: str) -> str:
    """The file's text, words in the order of the segments. recording: its first column; blanks in it become "_"."""
    lines, name = list[str](), field(recording, "recording")
    for segment in segments:
        channel = field(segment.speaker, NO_CHANNEL)
        if not segment.words and segment.text.strip() and NO_WORDS not in lines:
            lines.insert(0, NO_WORDS)
        for word in segment.words or words_of_segment(segment):
            lines.append(_line(word, f"{name} {channel}"))
    return "".join(f"{line}\n" for line in lines)


def recordings_of(text: str, where: str) -> dict[str, list[TimedSegment]]:
    """The segments of each recording: a channel's words, parted at pauses; recordings and channels in the file's order.

    Raises:
        DataError: a line of other than five or six fields, or with times that are none; begins with `where`, names the line.
    """
    words: dict[str, dict[str, list[TimedWord]]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        if line.startswith(_UNPLACED) and len(fields) == 5:
            fields = [*fields[2:4], "", "", fields[4]]
        elif not fields or line.startswith(_COMMENT):
            continue
        name, channel, word = _word_of(fields, f"{where}:{number}")
        words.setdefault(name, {}).setdefault(channel, []).append(word)
    return {name: _segments(channels) for name, channels in words.items()}


def segments_of(text: str, where: str) -> list[TimedSegment]:
    """The segments of a file about one recording.

    Raises:
        DataError: as `recordings_of`; several recordings.
    """
    return one_recording(recordings_of(text, where), where)


def one_recording(recordings: dict[str, list[TimedSegment]], where: str) -> list[TimedSegment]:
    """The segments of the only recording.

    Raises:
        DataError: there are several; begins with `where`.
    """
    if len(recordings) > 1:
        raise DataError(
            f"{where}: is about {len(recordings)} recordings ({', '.join(list(recordings)[:3])}, ...); expected one"
        )
    return next(iter(recordings.values()), [])


def field(text: str, empty: str) -> str:
    """Text as one field of a line whose fields are parted by blanks; `empty` for none."""
    return "_".join(text.split()) or empty


def words_of_segment(segment: TimedSegment) -> list[TimedWord]:
    """The words between blanks of a segment's text, each with the segment's times."""
    return [TimedWord(word, segment.start_s, segment.end_s) for word in segment.text.split()]


def _line(word: TimedWord, head: str) -> str:
    text = field(word.text, "<eps>")
    if word.start_s is None or word.end_s is None:
        return f"{_UNPLACED} {head} {text}"
    confidence = "" if word.confidence is None else f" {word.confidence:.4f}"
    return f"{head} {word.start_s:.3f} {word.end_s - word.start_s:.3f} {text}{confidence}"


def _word_of(fields: list[str], where: str) -> tuple[str, str, TimedWord]:
    """(recording, channel, word) of the fields of a line; "" for the times of a word that has none."""
    if len(fields) not in (5, 6):
        raise DataError(
            f"{where}: has {len(fields)} fields; expected recording, channel, start, duration, word, confidence"
        )
    name, channel, start, duration, text = fields[:5]
    if not start:
        return name, channel, TimedWord(text, None, None)
    start_s, confidence = seconds_of(start, where), seconds_of(fields[5], where) if len(fields) == 6 else None
    end_s = round(start_s + seconds_of(duration, where), 6)
    return name, channel, TimedWord(text, start_s, end_s, confidence)


def _segments(channels: dict[str, list[TimedWord]]) -> list[TimedSegment]:
    is_unnamed = list(channels) == [NO_CHANNEL]
    segments = [
        segment
        for channel, words in channels.items()
        for segment in segments_of_words(words, "" if is_unnamed else channel)
    ]
    return sorted(segments, key=lambda one: one.start_s)
