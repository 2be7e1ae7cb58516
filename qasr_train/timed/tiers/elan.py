"""Owns reading ELAN's annotation files (.eaf), as linguists and archives keep them.

Input: the text of a file. Output: the annotations of tiers that stand on their own, or of those that are named; one that depends
on an annotation of another tier (a translation, a gloss) has its times. The speaker is the tier's participant, or its name.
"""

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, checked_span, one_line, seconds_of
from qasr_train.timed.tiers.choice import Tier, segments_of_tiers

_Span = tuple[float, float]

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")


def segments_of(text: str, where: str, wanted: Sequence[str] = ()) -> list[TimedSegment]:
    """The annotations by time; one whose time was never set is passed over.

    wanted: names or patterns of tiers, dependent ones too; (): all independent tiers, where they do not lie over one another.

    Raises:
        DataError: it is no ELAN file, an annotation names what is not there, or which tiers are meant cannot be told; begins with
            `where`.
    """
    try:
        root = ElementTree.fromstring(_DECLARATION.sub("", text))  # it is decoded already, whatever it declares
    except ElementTree.ParseError as error:
        raise DataError(f"{where}:{error.position[0]}: is no XML ({error.msg}); save it in ELAN again") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise DataError(f"{where}: is no ELAN file (its first element is {root.tag}); expected ANNOTATION_DOCUMENT")
    times = {slot.get("TIME_SLOT_ID", ""): _slot_s(slot, where) for slot in root.iter("TIME_SLOT")}
    spans = {str(one.get("ANNOTATION_ID")): _span(one, times, where) for one in root.iter("ALIGNABLE_ANNOTATION")}
    depends_on = {str(one.get("ANNOTATION_ID")): str(one.get("ANNOTATION_REF")) for one in root.iter("REF_ANNOTATION")}
    by_name = {tier.get("TIER_ID"): tier for tier in root.iter("TIER")}
    tiers = [
        Tier(
            one_line(name or ""),
            sorted(_annotations(tier, spans, depends_on, where)),
            _speaker(tier, by_name),
            is_dependent=bool(tier.get("PARENT_REF")),
        )
        for name, tier in by_name.items()
    ]
    return segments_of_tiers(tiers, wanted, where)


def _speaker(tier: ElementTree.Element, by_name: Mapping[str | None, ElementTree.Element]) -> str:
    """The participant of a tier, or of those it depends on; else the name of the first of them, "" where it is that itself."""
    top, seen = tier, set[str]()
    while not top.get("PARTICIPANT") and (parent := top.get("PARENT_REF")) in by_name and str(parent) not in seen:
        seen.add(str(parent))
        top = by_name[parent]
    return one_line(top.get("PARTICIPANT") or ("" if top is tier else top.get("TIER_ID") or ""))


def _annotations(
    tier: ElementTree.Element, spans: Mapping[str, _Span | None], depends_on: Mapping[str, str], where: str
) -> list[tuple[float, float, str]]:
    """(start, end, text) of a tier's annotations; those that share the times of one of another tier are one, in their order."""
    found: dict[str, list[str]] = {}
    for one in tier.iter():
        if one.tag in ("ALIGNABLE_ANNOTATION", "REF_ANNOTATION"):
            key = _with_times(str(one.get("ANNOTATION_ID")), spans, depends_on, where)
            found.setdefault(key, []).append(one_line(one.findtext("ANNOTATION_VALUE") or ""))
    return [(*span, " ".join(filter(None, texts))) for key, texts in found.items() if (span := spans[key]) is not None]


def _with_times(key: str, spans: Mapping[str, _Span | None], depends_on: Mapping[str, str], where: str) -> str:
    """The annotation whose times one has: itself, or the one it depends on at last."""
    first, seen = key, set[str]()
    while key not in spans:
        if key in seen or key not in depends_on:
            raise DataError(f"{where}: annotation {first} depends on one that is not there; save it in ELAN again")
        seen.add(key)
        key = depends_on[key]
    return key


def _span(annotation: ElementTree.Element, times: Mapping[str, float | None], where: str) -> _Span | None:
    """(start, end) in seconds; None: never set."""
    at = f"{where}: annotation {annotation.get('ANNOTATION_ID')}"
    start_s, end_s = (_time(times, annotation.get(name), at) for name in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"))
    return None if start_s is None or end_s is None else checked_span(start_s, end_s, at)


def _slot_s(slot: ElementTree.Element, where: str) -> float | None:
    """Seconds of a time slot; None: it was never set."""
    value = slot.get("TIME_VALUE")
    return None if value is None else seconds_of(value, f"{where}: time slot {slot.get('TIME_SLOT_ID')}") / 1000


def _time(times: Mapping[str, float | None], slot: str | None, where: str) -> float | None:
    if slot is None or slot not in times:
        raise DataError(f"{where}: names the time {slot!r}, which the file does not have; save it in ELAN again")
    return times[slot]
