"""Owns the names of the ways in which a transcript is written, as settings name them. No torch."""

from collections.abc import Sequence
from enum import Enum

from qasr_train.errors import ConfigError


class Trait(str, Enum):
    """One way in which a transcript is written."""

    punctuation = "punctuation"
    capitals = "capitals"
    numbers = "numbers"  # digits or words
    units = "units"
    fillers = "fillers"


STYLE = (
    "names; how the output is written, held against the references: punctuation, capitals, numbers (digits or words), units, "
    "fillers. []: not told"
)


def check_traits(names: Sequence[str], key: str) -> None:
    """Refuse a name that is none, or stands twice; key: of the setting.

    Raises:
        ConfigError: names it and the choices.
    """
    known = [one.value for one in Trait]
    for name in names:
        if name not in known:
            raise ConfigError(f"{key}=[{name}]: unknown; choose among {', '.join(known)}")
        if list(names).count(name) > 1:
            raise ConfigError(f"{key}: {name} is named twice; once is enough")
