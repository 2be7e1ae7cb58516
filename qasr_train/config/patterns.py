"""Owns the patterns a user may give for names: globs (`fsdd_*`), or regular expressions after `re:`, on the whole name."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from qasr_train.errors import ConfigError

REGEX = "re:"


def matches(key: str, pattern: str, name: str) -> bool:
    """Whether a name matches; the case counts.

    Raises:
        ConfigError: what follows `re:` is no regular expression; names the key it was given for.
    """
    if not pattern.startswith(REGEX):
        return fnmatchcase(name, pattern)
    try:
        return re.fullmatch(pattern.removeprefix(REGEX), name) is not None
    except re.error as error:
        raise ConfigError(f"{key}: {pattern!r} is no regular expression ({error}); correct it") from error


def matches_any(key: str, patterns: Iterable[str], name: str) -> bool:
    """Whether a name matches one of several patterns; raises as `matches`."""
    return any(matches(key, pattern, name) for pattern in patterns)
