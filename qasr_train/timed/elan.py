"""Owns reading ELAN's annotation files (.eaf), as linguists and archives keep them.

Input: the text of a file. Output: the annotations of tiers that stand on their own; a tier that depends on another (translation,
glosses, words) is passed over. The speaker is the tier's participant, or its name.
"""

import re
from xml.etree import ElementTree

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, checked_span, one_line, seconds_of

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")


def segments_of(text: str, where: str) -> list[TimedSegment]:
    """The annotations of all independent tiers, by time; one whose time was never set is passed over.

    Raises:
        DataError: it is no ELAN file, or an annotation names a time that is not there; begins with `where`.
    """
    try:
        root = ElementTree.fromstring(_DECLARATION.sub("", text))  # it is decoded already, whatever it declares
    except ElementTree.ParseError as error:
        raise DataError(f"{where}:{error.position[0]}: is no XML ({error.msg}); save it in ELAN again") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise DataError(f"{where}: is no ELAN file (its first element is {root.tag}); expected ANNOTATION_DOCUMENT")
    times = {slot.get("TIME_SLOT_ID", ""): _slot_s(slot, where) for slot in root.iter("TIME_SLOT")}
    segments = []
    for tier in root.iter("TIER"):
        if tier.get("PARENT_REF"):
            continue
        speaker = one_line(tier.get("PARTICIPANT") or tier.get("TIER_ID") or "")
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            at = f"{where}: annotation {annotation.get('ANNOTATION_ID')}"
            start_s, end_s = (_time(times, annotation.get(name), at) for name in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"))
            if start_s is not None and end_s is not None:
                said = one_line(annotation.findtext("ANNOTATION_VALUE") or "")
                segments.append(TimedSegment(*checked_span(start_s, end_s, at), said, speaker=speaker))
    return sorted(segments, key=lambda one: (one.start_s, one.end_s))


def _slot_s(slot: ElementTree.Element, where: str) -> float | None:
    """Seconds of a time slot; None: it was never set."""
    value = slot.get("TIME_VALUE")
    return None if value is None else seconds_of(value, f"{where}: time slot {slot.get('TIME_SLOT_ID')}") / 1000


def _time(times: dict[str, float | None], slot: str | None, where: str) -> float | None:
    if slot not in times:
        raise DataError(f"{where}: names the time {slot!r}, which the file does not have; save it in ELAN again")
    return times[slot]
