"""Tests of clients install packages and take minutes, so they run where they are asked for by their marker alone."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip them everywhere else."""
    if "interop" in (config.getoption("markexpr") or ""):
        return
    for item in items:
        if item.get_closest_marker("interop"):
            item.add_marker(pytest.mark.skip(reason="installs clients, takes minutes: runs with `make test-interop`"))
