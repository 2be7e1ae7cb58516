"""Owns what tests of training share: a dozen clips, written once a module."""

import pytest

from qasr_train.manifest import Utterance
from tests.helpers_trainer import make_clips


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Twelve clips of 0.4 to 2.6 s, each its own tone and words."""
    return make_clips(tmp_path_factory.mktemp("clips"))
