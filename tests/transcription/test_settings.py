"""The settings of decoding: names of languages, ranges, what bounds a pass."""

import pytest

from qasr_train.data.buckets import BatchBudget
from qasr_train.errors import ConfigError
from qasr_train.models.settings import Engine
from qasr_train.transcription.prompts import PromptForm
from qasr_train.transcription.settings import AUTO, REFERENCE, DecodeConfig, Decoding, LongAudio


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("auto", AUTO), ("Reference", REFERENCE), ("de", "German"), ("german", "German"), ("", AUTO), ("welsh", "Welsh")],
)
def test_decode_language_takes_names_and_codes(typed: str, meant: str) -> None:
    assert DecodeConfig(language=typed, new_languages=["Welsh"]).language == meant


def test_an_unknown_decode_language_is_refused_at_load() -> None:
    with pytest.raises(ConfigError, match="decode.language=klingon: unknown language; use auto, reference, or one of"):
        DecodeConfig(language="klingon")


def test_out_of_range_decode_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="decode.batch_seconds=0"):
        DecodeConfig(batch_seconds=0)
    with pytest.raises(ConfigError, match="decode.max_failed_fraction=1.5"):
        DecodeConfig(max_failed_fraction=1.5)


@pytest.mark.parametrize(("asked_s", "longest_s"), [(None, 30.0), (20.0, 20.0), (40.0, 30.0)])
def test_no_clip_of_a_pass_is_longer_than_the_model_takes(asked_s: float | None, longest_s: float) -> None:
    assert DecodeConfig(max_duration_s=asked_s).decoding(30.0).max_duration_s == longest_s


def test_every_setting_of_a_decoding_is_that_of_its_config() -> None:
    config = DecodeConfig(
        language="de",
        use_context=False,
        prompt=PromptForm.served,
        max_new_tokens=7,
        batch_seconds=33.0,
        max_batch_rows=3,
        long_audio=LongAudio.drop,
        overlap_s=1.0,
        engine=Engine.loop,
        max_failed_fraction=0.5,
        num_workers=2,
    )
    assert config.decoding(1200.0) == Decoding(
        language="German",
        use_context=False,
        prompt=PromptForm.served,
        long_audio=LongAudio.drop,
        overlap_s=1.0,
        budget=BatchBudget(33.0, 3),
        max_duration_s=1200.0,
        max_new_tokens=7,
        engine=Engine.loop,
        num_workers=2,
        max_failed_fraction=0.5,
    )
