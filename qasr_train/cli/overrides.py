"""Owns how settings given in Python become overrides as a command line has them, so that both are checked by the same code.

Input: overrides as typed ("trainer.max_steps=100") and keywords (trainer={"max_steps": 100}). Output: overrides.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from qasr_train.config.positional import quoted


def overrides_of(typed: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """What was typed, then a `key=value` for each setting; a mapping gives one for each of its entries, with a dot between.

    Text is taken as it stands: commas, brackets and equals signs in it mean nothing.
    """
    return [*typed, *(f"{key}={_text(value)}" for key, value in _flat("", settings))]


def _flat(prefix: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> str:
    """A value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    return quoted(str(value))
