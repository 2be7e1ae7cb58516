"""Owns the layout of subtitles: segments as cues that fit the screen and can be read in their time.

Input: segments of any length, with word times or without. Output: segments whose text has its line breaks, for SRT and VTT. Where
no word times are known, a segment's time is shared out by the length of its text.
Rules as broadcasters have them (line length, lines, reading speed, shortest and longest time on screen).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qasr_train.timed.base import TimedSegment, TimedWord, one_line
from qasr_train.timed.text_units import Unit, text_units, width

SUBTITLES = ("srt", "vtt")  # formats whose text is laid out
_SENTENCE_ENDS = tuple(".!?。！？…؟۔।")
_CLAUSE_ENDS = tuple(",;:、，；：،؛—–")
_CLOSING = "\"'”’»）」』)]"
_PAUSE_S = 0.5  # between two words: a good place to end a cue
_FASTEST = 40.0  # columns a second; fast speech has some 25
_NUM_NEXT = 50  # cues looked at for the next one of the same speaker


@dataclass(frozen=True, slots=True)
class CueLayout:
    """What a cue may be. Widths are in columns: a Chinese, Japanese or Korean character takes two.

    max_line_length: columns. max_lines: of a cue. max_characters_per_s: columns a second that can be read; a cue that is faster
    stays as long as the next one lets it. min_duration_s, max_duration_s: seconds on screen.
    """

    max_line_length: int
    max_lines: int
    max_characters_per_s: float
    min_duration_s: float
    max_duration_s: float


@dataclass(frozen=True, slots=True)
class _Timed:
    """A unit of text with its time in seconds."""

    unit: Unit
    start_s: float
    end_s: float


def laid_out(segments: Iterable[TimedSegment], layout: CueLayout) -> list[TimedSegment]:
    """Cues by time. Every character of the segments is in one of them; only white space becomes line breaks or is dropped."""
    cues = [cue for segment in segments for cue in _cues_of(segment, layout)]
    cues.sort(key=lambda cue: (cue.start_s, cue.end_s))
    return _readable(cues, layout)


def num_too_fast(cues: Iterable[TimedSegment], layout: CueLayout) -> int:
    """How many cues need more columns a second than can be read."""
    limit = layout.max_characters_per_s
    return sum(width(one_line(cue.text)) > limit * (cue.end_s - cue.start_s) + 0.5 for cue in cues)


def _cues_of(segment: TimedSegment, layout: CueLayout) -> list[TimedSegment]:
    units = text_units(one_line(segment.text), layout.max_line_length)
    timed = _times(segment, units)
    cues = []
    while timed:
        number = _num_of_first_cue(timed, layout)
        part, timed = timed[:number], timed[number:]
        lines = _lines([one.unit for one in part], layout)
        end_s = min(max(one.end_s for one in part), part[0].start_s + layout.max_duration_s)
        cues.append(replace(segment, start_s=part[0].start_s, end_s=end_s, text="\n".join(lines), words=()))
    return cues


def _num_of_first_cue(timed: Sequence[_Timed], layout: CueLayout) -> int:
    """Units of the next cue: as many as fit, back to the best place to stop; what fits into two cues is shared evenly."""
    fitting = 1
    while fitting < len(timed):
        part = timed[: fitting + 1]
        is_long = part[-1].end_s - part[0].start_s > layout.max_duration_s
        if is_long or len(_wrapped([one.unit for one in part], layout.max_line_length)) > layout.max_lines:
            break
        fitting += 1
    if fitting == len(timed):
        return fitting
    is_second_last = len(timed) < 2 * fitting
    fewest, wanted = (len(timed) - fitting, len(timed) / 2) if is_second_last else (1 + fitting // 2, fitting)
    return max(
        range(max(1, fewest), fitting + 1), key=lambda number: (_stop_value(timed, number), -abs(number - wanted))
    )


def _stop_value(timed: Sequence[_Timed], number: int) -> int:
    """How good a place to end a cue is after `number` units: a sentence, a clause, a pause, none."""
    text = timed[number - 1].unit.text.rstrip().rstrip(_CLOSING)
    if text.endswith(_SENTENCE_ENDS):
        return 3
    if text.endswith(_CLAUSE_ENDS):
        return 2
    return int(timed[number].start_s - timed[number - 1].end_s >= _PAUSE_S)


def _times(segment: TimedSegment, units: Sequence[Unit]) -> list[_Timed]:
    """Each unit's time, from those of the words in the segment's text; what lies between them is shared out by columns."""
    text = "".join(unit.text for unit in units)
    columns = np.cumsum([0.0, *(width(character) for character in text)])  # before each character
    places, seconds = [0.0], [segment.start_s]
    for word, begin in _found_words(text, segment.words):
        assert word.start_s is not None and word.end_s is not None
        places += [columns[begin], columns[begin + len(one_line(word.text))]]
        seconds += [word.start_s, word.end_s]
    places.append(max(columns[-1], 1.0))
    seconds = _sayable(places, list(np.maximum.accumulate([*seconds, segment.end_s])))
    timed, begin = [], 0
    for unit in units:
        first, last = begin + len(unit.text) - len(unit.text.lstrip()), begin + len(unit.text)
        start_s, end_s = np.interp([columns[first], columns[last]], places, seconds)
        timed.append(_Timed(unit, float(start_s), float(end_s)))
        begin = last
    return timed


def _sayable(places: Sequence[float], seconds: Sequence[float]) -> list[float]:
    """The times of places in the text, moved as little as it takes that nobody says more columns a second than anybody can.

    Words that an aligner put on one spot would make cues of no length. Left as they are where the whole segment is that fast.
    """
    moved = list(seconds)
    if places[-1] - places[0] > _FASTEST * (moved[-1] - moved[0]):
        return moved
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + (places[i] - places[i - 1]) / _FASTEST)
    moved[-1] = seconds[-1]
    for i in range(len(moved) - 2, 0, -1):
        moved[i] = min(moved[i], moved[i + 1] - (places[i + 1] - places[i]) / _FASTEST)
    return moved


def _found_words(text: str, words: Sequence[TimedWord]) -> Iterator[tuple[TimedWord, int]]:
    """The words with times that stand in the text, in its order, each with its first character; the others are passed over."""
    lower, position = text.lower(), 0
    for word in words:
        wanted = one_line(word.text).lower()
        found = lower.find(wanted, position) if wanted and len(lower) == len(text) else -1
        if found >= 0:
            position = found + len(wanted)
            if word.is_placed:
                yield word, found


def _lines(units: Sequence[Unit], layout: CueLayout) -> list[str]:
    """Lines of about one length; of two lines the first ends with a sentence or clause where that is near the middle."""
    number, limit = len(_wrapped(units, layout.max_line_length)), layout.max_line_length
    if number == 2:
        halves = [(_line(units[:place]), _line(units[place:])) for place in range(1, len(units))]
        fitting = [pair for pair in halves if max(map(width, pair)) <= limit]
        if fitting:
            return list(min(fitting, key=lambda pair: _break_cost(*pair)))
    while limit > 1 and len(_wrapped(units, limit - 1)) <= number:
        limit -= 1
    return _wrapped(units, limit)


def _line(units: Sequence[Unit]) -> str:
    return "".join(unit.text for unit in units).strip()


def _break_cost(first: str, second: str) -> int:
    """Columns by which the two lines differ, less where the first is a whole."""
    end = first.rstrip(_CLOSING)
    whole = 16 if end.endswith(_SENTENCE_ENDS) else 10 if end.endswith(_CLAUSE_ENDS) else 0
    return abs(width(first) - width(second)) - whole


def _wrapped(units: Sequence[Unit], limit: int) -> list[str]:
    """Units put into lines of at most `limit` columns, each line as full as it goes; a wider unit has a line of its own."""
    lines = [""]
    for unit in units:
        if lines[-1] and width((lines[-1] + unit.text).strip()) > limit:
            lines.append("")
        lines[-1] += unit.text
    return [line.strip() for line in lines if line.strip()]


def _readable(cues: Sequence[TimedSegment], layout: CueLayout) -> list[TimedSegment]:
    """Cues that stay on screen until they are read, as far as the next one lets them; those of one speaker never overlap."""
    shown = []
    for index, cue in enumerate(cues):
        wanted_s = max(layout.min_duration_s, width(one_line(cue.text)) / layout.max_characters_per_s)
        later = [other for other in cues[index + 1 : index + 1 + _NUM_NEXT] if other.start_s > cue.start_s]
        next_s = min((other.start_s for other in later), default=math.inf)
        own_next_s = min((other.start_s for other in later if other.speaker == cue.speaker), default=math.inf)
        longer_s = min(cue.start_s + min(wanted_s, layout.max_duration_s), next_s)
        end_s = min(max(cue.end_s, longer_s), own_next_s)
        shown.append(replace(cue, end_s=max(end_s, cue.start_s + 0.001)))
    return shown
