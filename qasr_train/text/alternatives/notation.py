"""Owns how a transcript states several right spellings: sclite's `{ a / b / @ }`, and a lattice `[["a"], ["b", "c d"]]` as JSON.

Input: a transcript as it stands. Output: its slots, each with every text that is right there; or the first ones alone.
Source: NIST sclite's documentation (infmts, "alternate_words"): `@` is nothing, groups nest; marks stand apart by white space.
"""

import ast
import itertools
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from qasr_train.errors import DataError

Slot = tuple[str, ...]  # what is right in one place, the first as written; "": nothing

MAX_VARIANTS = 1000  # of one slot, once nested groups are written out
_MAX_DEPTH = 8
_NOTHING = "@"
_MARK = re.compile(r"((?<!\S)\{(?=\s)|(?<=\s)\}|(?<=\s)/(?=\s))")
_OPENING, _GOING_ON = re.compile(r"(?<!\S)\{(?=\s)"), re.compile(r"\s[/}]")


def has_alternatives(text: str) -> bool:
    """Whether a transcript states alternatives; one that merely holds a brace does not."""
    opened = _OPENING.search(text) if "{" in text else None
    return bool(opened and _GOING_ON.search(text, opened.end())) or is_lattice(text)


def is_lattice(text: str) -> bool:
    """Whether a transcript is a list of lists of spellings."""
    return _lattice(text) is not None


def lattice_text(value: Any) -> str | None:
    """The transcript that says what a column of lattices holds in a row (lists of lists of strings); None of any other value."""
    return json.dumps(value, ensure_ascii=False) if _are_slots(value) else None


def parse_alternatives(text: str, where: str = "") -> list[Slot]:
    """The slots of a transcript; of one without alternatives, itself as the only text of the only slot.

    Args:
        where: what to name in the error, "file:line" or an id.

    Raises:
        DataError: a group that is not closed, is nested too deeply, or comes to too many texts.
    """
    where = where or repr(text[:60])
    if (lattice := _lattice(text)) is not None:
        return [_checked(slot, where) for slot in lattice]
    if not has_alternatives(text):
        return [(text,)]
    slots, place = _sequence(_MARK.split(text), 0, where, depth=0)
    assert place is None
    return slots


def first_spelling(text: str) -> str:
    """The transcript with the first spelling in every place; without alternatives, as it is. Raises as `parse_alternatives`."""
    if not has_alternatives(text):
        return text
    return " ".join(slot[0] for slot in parse_alternatives(text) if slot[0])


def _lattice(text: str) -> list[Slot] | None:
    """The slots of a list of lists of strings, as JSON or as Python prints it; None of any other text."""
    if not text.lstrip().startswith("[["):
        return None
    try:
        content = json.loads(text)
    except ValueError:
        try:
            content = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    except RecursionError:
        return None
    if not _are_slots(content):
        return None
    slots = [tuple(dict.fromkeys(one.strip() for one in slot if one.strip())) for slot in content]
    return [slot for slot in slots if slot]


def _are_slots(content: Any) -> bool:
    is_nested = isinstance(content, list) and all(isinstance(slot, list) for slot in content)
    return is_nested and all(isinstance(one, str) for slot in content for one in slot)


def _sequence(pieces: Sequence[str], place: int, where: str, depth: int) -> tuple[list[Slot], int | None]:
    """(slots up to the mark that ends an alternative, the place of that mark); None: the text ended."""
    slots: list[Slot] = []
    while place < len(pieces):
        piece = pieces[place]
        if piece == "{":
            slot, place = _group(pieces, place + 1, where, depth + 1)
            slots.append(slot)
            continue
        if depth and piece in ("/", "}"):
            return slots, place
        if piece.strip():  # a slash or a closing brace outside of groups is text
            slots.append((piece.strip(),))
        place += 1
    return slots, None


def _group(pieces: Sequence[str], start: int, where: str, depth: int) -> tuple[Slot, int]:
    if depth > _MAX_DEPTH:
        raise DataError(f"{where}: alternatives are nested more than {_MAX_DEPTH} deep; write them out")
    texts: list[str] = []
    place: int | None = start - 1
    while place == start - 1 or (place is not None and pieces[place] == "/"):
        slots, place = _sequence(pieces, place + 1, where, depth)
        texts += _written_out(slots, where)
    if place is None:
        raise DataError(
            f"{where}: an alternative is opened by `{{` and not closed; write {{ a / b / @ }}, with spaces around each mark"
        )
    return _checked(tuple(dict.fromkeys(texts)), where), place + 1


def _checked(slot: Slot, where: str) -> Slot:
    if len(slot) > MAX_VARIANTS:
        raise DataError(f"{where}: a place has {len(slot)} alternatives, more than {MAX_VARIANTS}; write fewer")
    return slot


def _written_out(slots: Sequence[Slot], where: str) -> list[str]:
    if math.prod(map(len, slots)) > MAX_VARIANTS:
        raise DataError(f"{where}: nested alternatives come to more than {MAX_VARIANTS} texts; write fewer")
    texts = (" ".join(part for part in parts if part) for parts in itertools.product(*slots))
    return ["" if text == _NOTHING else text for text in texts]
