"""The settings of streaming: what they mean for a model, and each contradiction as one sentence."""

from typing import Any

import pytest

from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import load_config
from qasr_train.models.settings import Engine
from qasr_train.streaming.settings import StreamingConfig, StreamPolicy
from qasr_train.transcription.settings import DecodeConfig, LongAudio

EVALUATE = ["model=tiny", "suite=own", "suite.manifest=x.jsonl", "out=x"]


def test_the_window_is_what_the_model_takes_and_no_more_than_half_a_minute() -> None:
    assert StreamingConfig().policy(1200.0) == StreamPolicy(2.0, 2, 5, 30.0)
    assert StreamingConfig(window_s=60.0, chunk_s=4.0).policy(1200.0).window_s == 60.0
    assert StreamingConfig().policy(20.0).window_s == 20.0
    assert DecodeConfig(streaming=StreamingConfig(), max_duration_s=10.0).decoding(1200.0).streaming == StreamPolicy(
        window_s=10.0
    )


def test_one_key_turns_it_on_and_without_it_recordings_are_heard_whole() -> None:
    assert load_config("evaluate", EVALUATE).decode.streaming is None
    config = load_config("evaluate", [*EVALUATE, "decode.streaming.chunk_s=1.5"])
    assert config.decode.streaming == StreamingConfig(chunk_s=1.5)
    assert config.decode.decoding(1200.0).budget.max_rows == 1, "a stream has no companions"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["decode.streaming.chunk_s=0"], "chunk_s=0.0: expected at least 0.1"),
        (["decode.streaming.chunk_s=31"], "longer than the window of 30 s"),
        (["decode.streaming.chunk_s=9", "decode.streaming.window_s=8"], "longer than the window of 8 s"),
        (["decode.streaming.window_s=2000"], "one pass takes 1200 s at most"),
        (["model=whisper_base", "decode.streaming.window_s=31"], "one pass takes 30 s at most"),
        (
            ["decode.streaming.window_s=20", "decode.max_duration_s=10"],
            "one pass takes 10 s at most, by decode.max_duration_s",
        ),
        (["decode.streaming.chunk_s=15", "decode.max_duration_s=10"], "longer than the window of 10 s"),
        (["decode.streaming.chunk_s=1", "decode.engine=generate"], "engine=generate: cannot stream"),
        (["decode.streaming.chunk_s=1", "decode.long_audio=drop"], "long_audio=drop: a stream of any length"),
        (["decode.streaming.chunk_s=1", "model=canary_qwen_2.5b"], "canary_qwen models do not go on"),
        (["decode.streaming.chunk_s=1", "model=command", "model.command=cat {manifest} {predictions}"], "whole texts"),
    ],
)
def test_contradictions_are_refused_before_anything_is_read(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("evaluate", [*EVALUATE, *overrides])


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("transcribe", ["files=[x.wav]"]),
        ("check_transcripts", ["source.path=x.jsonl", "out=x"]),
        ("pseudo_label", ["source.path=x.jsonl", "out=x"]),
    ],
)
def test_recipes_that_are_given_whole_recordings_refuse_it(recipe: str, overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=f"{recipe} hears whole recordings"):
        load_config(recipe, ["model=tiny", *overrides, "decode.streaming.chunk_s=1"])


def test_the_defaults_are_those_of_the_report() -> None:
    defaults: dict[str, Any] = vars(StreamingConfig())
    assert defaults == {"chunk_s": 2.0, "unfixed_chunks": 2, "unfixed_tokens": 5, "window_s": None}
    assert DecodeConfig().engine is Engine.auto and DecodeConfig().long_audio is LongAudio.split
