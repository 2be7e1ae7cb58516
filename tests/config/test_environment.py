"""What a recipe sets for the libraries under it."""

import os
import sys
import types

import pytest

from qasr_train.config import environment
from qasr_train.config.environment import prepare_environment


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from an environment that says nothing, and restore it."""
    for name in (*environment._ALWAYS, *environment._QUIET, "QASR_DEBUG"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_telemetry_is_off_also_for_a_library_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = types.SimpleNamespace(HF_HUB_DISABLE_TELEMETRY=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", constants)
    prepare_environment()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert constants.HF_HUB_DISABLE_TELEMETRY is True


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    prepare_environment()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
    assert os.environ["DATASETS_VERBOSITY"] == "error"


def test_debugging_lets_the_libraries_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QASR_DEBUG", "1")
    prepare_environment()
    assert "TRANSFORMERS_VERBOSITY" not in os.environ
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
