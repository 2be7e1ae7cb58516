"""What tests of the leaderboard's rules share."""

from collections.abc import Callable
from importlib.util import find_spec

import pytest

HAS_MANDARIN = find_spec("opencc") is not None and find_spec("wetext") is not None


def needs_mandarin(test: Callable) -> Callable:
    """Mark a test as reading the extra `mandarin`: it skips where that is not installed."""
    return pytest.mark.skipif(not HAS_MANDARIN, reason='needs pip install "qasr_train[mandarin]"')(test)
