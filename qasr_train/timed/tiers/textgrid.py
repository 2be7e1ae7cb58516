"""Owns Praat's TextGrid: tiers of intervals, in its long text form; the short form is read too.

Input: segments; or the text of a file. Output: the other of the two. Each speaker has a tier of segments and one of words, named
as the Montreal Forced Aligner names them (NAME, NAME - words; "segments", "words" where no speaker is known). Words without
times stand together in a third tier, "unplaced", over their segment.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, by_speaker, checked_span, one_line
from qasr_train.timed.tiers.choice import JOINED, SEGMENTS, UNPLACED, WORDS, Tier, segments_of_tiers

_SHORTEST_S = 0.001  # Praat takes no interval without length
# Praat reads strings, numbers and flags that stand free, and passes over all else.
_TOKEN = re.compile(r'"(?:[^"]|"")*"|(?<!\S)<[^<>\s]*>|(?<!\S)[-+]?[\d.]+(?:[eE][-+]?\d+)?(?=\s|$)')


def text_of(segments: Sequence[TimedSegment], recording: str = "") -> str:
    """The file's text. Where segments of a speaker overlap, the later begins where the earlier ends. recording: not named."""
    tiers = [tier for speaker, own in by_speaker(segments).items() for tier in _tiers_of(speaker, own)]
    tiers = [replace(tier, spans=_apart(tier.spans)) for tier in tiers] or [Tier(SEGMENTS, [])]
    ends = [interval[1] for tier in tiers for interval in tier.spans]
    end_s = max([*ends, _SHORTEST_S])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_number(end_s)}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, tier in enumerate(tiers, 1):
        lines += [f"    item [{number}]:", *(f"        {line}" for line in _tier_lines(tier, end_s))]
    return "".join(f"{line}\n" for line in lines)


def segments_of(text: str, where: str, wanted: Sequence[str] = ()) -> list[TimedSegment]:
    """The segments of all speakers by time, with their words; tiers of points are passed over.

    wanted: names or patterns of the tiers that are taken; (): those that can be told, see `segments_of_tiers`.

    Raises:
        DataError: it is no TextGrid, or ends too early; which tiers are meant cannot be told. Begins with `where`.
    """
    return segments_of_tiers(_read_tiers(text, where), wanted, where)


def _tiers_of(speaker: str, segments: Sequence[TimedSegment]) -> Iterator[Tier]:
    head = one_line(speaker) + JOINED if speaker else ""
    spans = [(one.start_s, one.end_s, one_line(one.text)) for one in segments]
    yield Tier(one_line(speaker) or SEGMENTS, [span for span in spans if span[2]])
    words = [word for one in segments for word in one.words]
    placed = [
        (word.start_s, word.end_s, word.text) for word in words if word.start_s is not None and word.end_s is not None
    ]
    if words:
        yield Tier(head + WORDS, [(start, end, text) for start, end, text in placed])
    unplaced = [
        (one.start_s, one.end_s, " ".join(word.text for word in one.words if not word.is_placed)) for one in segments
    ]
    if any(text for _, _, text in unplaced):
        yield Tier(head + UNPLACED, [span for span in unplaced if span[2]])


def _apart(intervals: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """The intervals to the millisecond, none overlapping the one before, none without length."""
    apart: list[tuple[float, float, str]] = []
    reached_s = 0.0
    for start, end, text in intervals:
        start_s = max(round(start, 3), reached_s)
        reached_s = round(max(end, start_s + _SHORTEST_S), 3)
        apart.append((start_s, reached_s, text))
    return apart


def _tier_lines(tier: Tier, end_s: float) -> Iterator[str]:
    """A tier in the long form; what lies between its intervals is intervals without text, as Praat demands."""
    intervals, reached_s = list[tuple[float, float, str]](), 0.0
    for start, end, text in tier.spans:
        intervals += [(reached_s, start, "")] * (start > reached_s) + [(start, end, text)]
        reached_s = end
    intervals += [(reached_s, end_s, "")] * (end_s > reached_s)
    yield from ('class = "IntervalTier"', f"name = {_quoted(tier.name)}", "xmin = 0", f"xmax = {_number(end_s)}")
    yield f"intervals: size = {len(intervals)}"
    for number, (start, end, text) in enumerate(intervals, 1):
        yield f"intervals [{number}]:"
        yield from (f"    xmin = {_number(start)}", f"    xmax = {_number(end)}", f"    text = {_quoted(text)}")


def _read_tiers(text: str, where: str) -> list[Tier]:
    """The tiers of intervals; of either text form."""
    tokens = iter(_TOKEN.findall(text))
    if [next(tokens, ""), next(tokens, "")] != ['"ooTextFile"', '"TextGrid"']:
        raise DataError(f"{where}: is no TextGrid of text; save it in Praat by 'Save as text file...'")
    tiers = []
    try:
        _, _, exists = float(next(tokens)), float(next(tokens)), next(tokens)
        count = int(next(tokens)) if exists == "<exists>" else 0
        for _ in range(count):
            kind, name, _, _, size = next(tokens), _text(next(tokens)), next(tokens), next(tokens), int(next(tokens))
            is_points = kind == '"TextTier"'
            rows = [_interval(tokens, is_points, where) for _ in range(size)]
            tiers += [] if is_points else [Tier(name, rows)]
    except (StopIteration, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{where}: ends too early, or holds text where a number belongs; save it in Praat again"
        ) from None
    return tiers


def _interval(tokens: Iterator[str], is_point: bool, where: str) -> tuple[float, float, str]:
    start_s = float(next(tokens))
    end_s = start_s if is_point else float(next(tokens))
    text = _text(next(tokens))
    return *checked_span(start_s, end_s, where), text


def _quoted(text: str) -> str:
    return '"' + one_line(text).replace('"', '""') + '"'


def _text(token: str) -> str:
    if not token.startswith('"'):
        raise ValueError(token)
    return one_line(token[1:-1].replace('""', '"'))


def _number(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") or "0"
