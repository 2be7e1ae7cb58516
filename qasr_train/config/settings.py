"""Owns how one setting is declared: its default, its unit and meaning, and its range; checked the same way everywhere.

Input: dataclass fields made with `setting(...)`. Output: a ConfigError that names key, value and range; the text of `--help`.
Imports neither torch nor Hydra, so every module can keep its config dataclass beside the class it configures.
"""

import copy
import dataclasses
import math
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

from qasr_train.errors import ConfigError

MISSING: Any = "???"  # what OmegaConf calls a value the user must give; `setting()` without a default has it


def setting(
    default: Any = MISSING,
    *,
    help: str,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """A dataclass field with unit, meaning and range. Without a default the user must give a value.

    Args:
        default: lists, dicts and config dataclasses are copied for each instance.
        help: "unit; meaning", e.g. "seconds; a longer clip is dropped and counted. null: no limit".
        ge, gt, le, lt: range of a number (at least, more than, at most, less than), of every number in a list or dict.
            None (off) is always allowed if the type allows it; infinity and NaN never are.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    metadata = {"help": help, "bounds": {name: bound for name, bound in bounds.items() if bound is not None}}
    if isinstance(default, list | dict) or (dataclasses.is_dataclass(default) and not isinstance(default, type)):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def check_settings(config: Any, prefix: str) -> None:
    """Refuse a number outside the range its `setting` states; for `__post_init__`.

    Args:
        config: an instance of a config dataclass.
        prefix: the key the instance stands under, e.g. "trainer".

    Raises:
        ConfigError: names the first such key, its value and the range.
    """
    for field in dataclasses.fields(config):
        check_value(f"{prefix}.{field.name}", getattr(config, field.name), field)


def check_value(key: str, value: Any, field: "dataclasses.Field[Any]") -> None:
    """Refuse `value` if a number in it is outside the range of `field`; nested config dataclasses check themselves."""
    bounds = field.metadata.get("bounds", {})
    for inner_key, number in _numbers(key, value):
        if not math.isfinite(number) or not _is_within(number, bounds):
            raise ConfigError(
                f"{inner_key}={number}: expected {_range_text(bounds) or 'a finite number'}{_unit(field)}"
            )


def range_of(field: "dataclasses.Field[Any]") -> str:
    """The range as a person reads it ("at least 1"), or "" where none is set."""
    return _range_text(field.metadata.get("bounds", {}))


def choices_of(annotation: Any) -> list[str]:
    """The names a user may give for an Enum (or optional Enum) setting; [] for any other type."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Enum):
            return [member.name for member in candidate]
    return []


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield key, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(f"{key}[{index}]", item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _numbers(f"{key}.{name}", item)


def _is_within(number: float, bounds: dict[str, float]) -> bool:
    return (
        number >= bounds.get("ge", -math.inf)
        and number > bounds.get("gt", -math.inf)
        and number <= bounds.get("le", math.inf)
        and number < bounds.get("lt", math.inf)
    )


def _range_text(bounds: dict[str, float]) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return " and ".join(f"{words[name]} {bound}" for name, bound in bounds.items())


def _unit(field: "dataclasses.Field[Any]") -> str:
    help_text = field.metadata.get("help", "")
    return f" ({help_text})" if help_text else ""
