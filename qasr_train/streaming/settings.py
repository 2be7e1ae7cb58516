"""Owns the settings of streaming: how often the text is renewed, and how much of it is said anew each time. No torch.

Input: values of `decode.streaming`. Output: a checked StreamingConfig, and the `StreamPolicy` it means for a model.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.models.families import FAMILIES
from qasr_train.models.settings import Capability, Engine

if TYPE_CHECKING:
    from qasr_train.models.settings import ModelConfig

WINDOW_S = 30.0  # what is heard again with every chunk costs time, and Whisper takes no more


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """How a session renews its text.

    chunk_s: seconds of audio between two updates. unfixed_chunks: first updates of a window that are said without a beginning.
    unfixed_tokens: last tokens of an answer that do not become the beginning of the next. window_s: seconds of audio that are
    heard again at the most.
    """

    chunk_s: float = 2.0
    unfixed_chunks: int = 2
    unfixed_tokens: int = 5
    window_s: float = WINDOW_S


@dataclass
class StreamingConfig:
    """Hearing a recording as it comes. With every chunk the model hears all of the window again and goes on with its text."""

    is_opened_by_a_key: ClassVar[bool] = True  # `decode.streaming.chunk_s=1` alone turns it on

    chunk_s: float = setting(2.0, ge=0.1, help="seconds; audio that comes between two updates of the text")
    unfixed_chunks: int = setting(
        2, ge=0, help="updates; at the beginning of a window so many are said anew, without what was said before"
    )
    unfixed_tokens: int = setting(
        5,
        ge=0,
        help="tokens; the last ones of a text are said anew with the next chunk, all before them stays. 0: none is",
    )
    window_s: float | None = setting(
        None,
        ge=2,
        help="seconds; audio that is kept and heard again; past it the session cuts at a silence, and the text before the cut is "
        "final. null: 30, or what the model takes where that is less",
    )

    def __post_init__(self) -> None:
        check_settings(self, "decode.streaming")
        if self.window_s is not None:
            self._refuse_long_chunk(self.window_s)

    def policy(self, longest_s: float) -> StreamPolicy:
        """What a session goes by. longest_s: seconds; the longest clip of one pass.

        Raises:
            ConfigError: the window is longer than that, or shorter than a chunk.
        """
        if self.window_s is not None and self.window_s > longest_s:
            raise ConfigError(
                f"decode.streaming.window_s={self.window_s:g}: one pass takes {longest_s:g} s at most, by decode.max_duration_s "
                "or by what the model takes; lower it"
            )
        window_s = min(WINDOW_S, longest_s) if self.window_s is None else self.window_s
        self._refuse_long_chunk(window_s)
        return StreamPolicy(self.chunk_s, self.unfixed_chunks, self.unfixed_tokens, window_s)

    def _refuse_long_chunk(self, window_s: float) -> None:
        if self.chunk_s > window_s:
            raise ConfigError(
                f"decode.streaming.chunk_s={self.chunk_s:g}: longer than the window of {window_s:g} s that is heard at once; "
                "lower it, or raise decode.streaming.window_s as far as the model and decode.max_duration_s allow"
            )


def refuse_streaming(
    streaming: StreamingConfig | None, engine: Engine, model: "ModelConfig", max_duration_s: float | None = None
) -> None:
    """Refuse streaming with what cannot do it, before weights are read.

    Args:
        max_duration_s: seconds; `decode.max_duration_s` where it bounds windows too. None: the model alone does.

    Raises:
        ConfigError: a command, a family that does not go on with a beginning, transformers' `generate`, or a window or chunk
            longer than one pass takes.
    """
    if streaming is None:
        return
    known = FAMILIES.get(model.family)
    if known is None:
        raise ConfigError(
            "decode.streaming: a model.command gives whole texts, and cannot be heard while it goes; set decode.streaming=null"
        )
    if Capability.STREAMING not in known.capabilities:
        raise ConfigError(no_streaming(model.family))
    if engine is Engine.generate:
        raise ConfigError("decode.engine=generate: cannot stream; set decode.engine=auto, or decode.streaming=null")
    streaming.policy(min(max_duration_s or model.max_duration_s, model.max_duration_s))


def refuse_heard_as_it_comes(streaming: StreamingConfig | None, recipe: str) -> None:
    """Refuse (ConfigError) streaming in a recipe to which whole recordings are given."""
    if streaming is not None:
        raise ConfigError(
            f"decode.streaming: {recipe} hears whole recordings; leave it out, and measure streaming with recipes/evaluate.py"
        )


def no_streaming(family: str) -> str:
    """Why models of a family are refused, and what to do."""
    return (
        f"decode.streaming: {family} models do not go on with a beginning of a text; set decode.streaming=null, or use a "
        "Qwen3-ASR or a Whisper"
    )
