"""What changes clips from epoch to epoch is put together from the settings, the same wherever it is used."""

from pathlib import Path

import pytest

from qasr_train.augment.clip_changes import Changes, make_changes
from qasr_train.augment.contexts import ContextDrawer
from qasr_train.augment.settings import AugmentConfig, ContextConfig, GainConfig, NoiseConfig
from qasr_train.errors import ConfigError, DataError


def made(augment: AugmentConfig | None = None, context: ContextConfig | None = None) -> Changes:
    given = (augment or AugmentConfig(), context or ContextConfig())
    return make_changes(*given, seed=3, max_duration_s=5.0, max_target_tokens=50)


def test_nothing_asked_for_changes_nothing() -> None:
    assert made() == Changes(None, ())


def test_seed_and_limits_arrive() -> None:
    changes = made(AugmentConfig(gain=GainConfig(1.0)), ContextConfig(own=0.5, empty=0.5))
    assert changes.augment is not None and changes.augment.seed == 3
    assert (changes.augment.limits.max_duration_s, changes.augment.limits.max_target_tokens) == (5.0, 50)
    [contexts] = changes.transforms
    assert isinstance(contexts, ContextDrawer) and contexts.seed == 3


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone"):
        made(AugmentConfig(noise=NoiseConfig(1.0, str(tmp_path / "gone"))))
    with pytest.raises(ConfigError, match=r"gone\.txt"):
        made(context=ContextConfig(own=0, distractors=1, terms=str(tmp_path / "gone.txt")))
