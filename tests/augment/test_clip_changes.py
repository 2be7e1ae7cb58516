"""What changes clips from epoch to epoch is put together from the settings, the same wherever it is used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qasr_train.augment.clip_changes import NO_CHANGES, Changes, make_changes
from qasr_train.augment.settings import AugmentConfig, ContextConfig, GainConfig, NoiseConfig
from qasr_train.batch import Recording
from qasr_train.errors import ConfigError, DataError
from tests.helpers import utterance


def made(augment: AugmentConfig | None = None, context: ContextConfig | None = None) -> Changes:
    given = (augment or AugmentConfig(), context or ContextConfig())
    return make_changes(*given, seed=3, max_duration_s=5.0, max_target_tokens=50)


def test_nothing_asked_for_changes_nothing() -> None:
    assert made() == Changes() == NO_CHANGES and not NO_CHANGES.is_on
    rows, recording = [utterance(id="u")], Recording(utterance(id="u"), np.zeros(4, np.float32))
    assert NO_CHANGES.plan(rows, 1, source="a") is rows
    assert NO_CHANGES.recording(recording, 1) is recording


def test_the_sound_is_changed_before_the_context_is_drawn() -> None:
    changes = made(AugmentConfig(gain=GainConfig(1.0, min_db=-6.0, max_db=-6.0)), ContextConfig(own=0.0, empty=1.0))
    assert changes.is_on
    row = utterance(id="u", text="one", context="drug names")
    heard = changes.recording(Recording(row, np.full(4, 0.5, np.float32)), 1)
    np.testing.assert_allclose(heard.waveform, 0.5 * 10 ** (-6 / 20), rtol=1e-6)
    assert heard.utterance == replace(row, context=None)


def test_seed_and_limits_arrive() -> None:
    changes = made(AugmentConfig(gain=GainConfig(1.0)), ContextConfig(own=0.5, empty=0.5))
    assert changes.augmenter is not None and changes.augmenter.seed == 3
    assert (changes.augmenter.limits.max_duration_s, changes.augmenter.limits.max_target_tokens) == (5.0, 50)
    assert changes.contexts is not None and changes.contexts.seed == 3


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone"):
        made(AugmentConfig(noise=NoiseConfig(1.0, str(tmp_path / "gone"))))
    with pytest.raises(ConfigError, match=r"gone\.txt"):
        made(context=ContextConfig(own=0, distractors=1, terms=str(tmp_path / "gone.txt")))
