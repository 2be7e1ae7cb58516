"""Owns a streaming session: audio as it comes, a text that grows, and how much of that text is certain to stay.

Input: samples in any portions. Output: `Update`s. The policy is that of the report on Qwen3-ASR and of qwen-asr 0.0.6: with
every chunk all audio of the window is heard again, and the answer goes on after a beginning that stays. The beginning is kept
as tokens, ends with a whole letter and never shrinks, so that `num_stable` is a promise; see docs/streaming.md.
"""

import codecs
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.audio.silences import SEARCHED_FRACTION, SHORTEST_PIECE_S, quietest_sample
from qasr_train.batch import Recording
from qasr_train.errors import ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.base import Answer, Continuer, Hypothesis, Recogniser
from qasr_train.models.blocks.greedy import NOTHING_SAID, RowTokens, token_limit
from qasr_train.models.blocks.joined_text import separator_of
from qasr_train.models.settings import Capability, Engine
from qasr_train.streaming.settings import StreamPolicy, no_streaming
from qasr_train.text.tokens import has_loop


@dataclass(frozen=True, slots=True)
class Update:
    """What a session shows after so much audio.

    heard_s: seconds of audio since its beginning. text: all of it so far. num_stable: characters of it that no later update
    changes. language: the model's name of it, None where it has told none. compute_s: seconds the update took to make.
    """

    heard_s: float
    text: str
    num_stable: int
    language: str | None
    compute_s: float


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is told with every update.

    language: the model's name of it, None: it tells. context: for the prompt. has_system_turn: see `Recording`.
    """

    language: str | None = None
    context: str = ""
    has_system_turn: bool = True


def open_stream(
    model: Recogniser,
    policy: StreamPolicy,
    *,
    language: str | None = None,
    context: str = "",
    has_system_turn: bool = True,
    max_new_tokens: int | None = None,
    engine: Engine = Engine.auto,
) -> "StreamSession":
    """A session of a loaded model.

    Args:
        language, context, has_system_turn: see `Prompt`.
        max_new_tokens: of the answer to a window; None: `token_limit` of its length.
        engine: what decodes; not `generate`.

    Raises:
        ConfigError: the model cannot stream, or cannot be told the language or the context.
    """
    if not isinstance(model, Continuer) or Capability.STREAMING not in model.capabilities:
        raise ConfigError(no_streaming(model.family))
    if language is not None and Capability.LANGUAGE not in model.capabilities:
        raise ConfigError(f"language={language}: {model.family} models cannot be told the language; leave it out")
    if context and Capability.CONTEXT not in model.capabilities:
        raise ConfigError(f"context: {model.family} models take none; leave it out")
    return StreamSession(
        model, policy, Prompt(language, context, has_system_turn), max_new_tokens=max_new_tokens, engine=engine
    )


class StreamSession:
    """One recording that is being heard. Not to be used by several threads at once.

    It holds at most `window_s` and a chunk of audio, and what was said: some hundred bytes a token.
    """

    def __init__(
        self, model: Continuer, policy: StreamPolicy, prompt: Prompt, *, max_new_tokens: int | None, engine: Engine
    ) -> None:
        self.model, self.policy, self.prompt = model, policy, prompt
        self.max_new_tokens, self.engine = max_new_tokens, engine
        self.finals: list[tuple[Hypothesis, tuple[int, int]]] = []  # with the range of samples that each is of
        self.is_finished = False
        self._chunk = round(policy.chunk_s * SAMPLE_RATE_HZ)
        self._most = round(policy.window_s * SAMPLE_RATE_HZ)
        self._pending = np.zeros(0, dtype=np.float32)
        self._window = _Window(0)
        self._final_text = ""
        self._language = self._written_language = prompt.language  # the latter is that by which texts are joined
        parameter = next(model.module.parameters(), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device

    @property
    def heard_s(self) -> float:
        """Seconds of audio that updates were made of."""
        return (self._window.start + len(self._window.waveform)) / SAMPLE_RATE_HZ

    def feed(self, samples: np.ndarray) -> list[Update]:
        """Take audio, float32 [S] at 16 kHz, of any length; an update for every chunk that is complete now.

        Raises:
            DataError: it is no such array, or holds numbers that are not finite.
        """
        self._refuse_finished()
        _refuse_other_samples(samples)
        return list(self._updates(samples))

    def finish(self) -> Update:
        """Hear what is left, shorter than a chunk. All of the text is final then, and no audio can be fed any more."""
        self._refuse_finished()
        self.is_finished = True
        started_s = time.perf_counter()
        if len(self._pending) or self._window.start == len(self._window.waveform) == 0:
            self._hear(self._pending)  # an empty clip too is heard, as it is offline
        if (said := self._window.last) is not None:
            self._keep_final(said, len(self._window.waveform))
        self._pending = np.zeros(0, dtype=np.float32)
        text = self._final_text
        return Update(self.heard_s, text, len(text), self._language, time.perf_counter() - started_s)

    def _updates(self, samples: np.ndarray) -> Iterator[Update]:
        audio = np.concatenate([self._pending, samples])
        end = len(audio) // self._chunk * self._chunk
        self._pending = audio[end:].copy()
        for begin in range(0, end, self._chunk):
            started_s = time.perf_counter()
            self._hear(audio[begin : begin + self._chunk])
            text, num_stable = self._shown()
            yield Update(self.heard_s, text, num_stable, self._language, time.perf_counter() - started_s)

    def _hear(self, chunk: np.ndarray) -> None:
        """Hear a chunk with the window before it. An answer that met its limit is not shown where another is."""
        if len(self._window.waveform) + len(chunk) > self._most:
            self._cut(len(chunk))
        window = self._window
        window.waveform = np.concatenate([window.waveform, chunk])
        answer = self._answer(window.waveform, window.begun)
        window.num_heard += 1
        window.last = answer.said
        if window.said is None or not answer.said.is_truncated:
            window.said, window.tokens = answer.said, answer.tokens
        self._language = self.prompt.language or answer.said.language or self._language
        # A loop is not carried on: neither one that met the limit nor one that came to an end.
        is_sound = not answer.said.is_truncated and not has_loop(
            [*map(str, answer.tokens.ids[len(window.begun.ids) :])]
        )
        if window.num_heard >= self.policy.unfixed_chunks and is_sound:
            kept = self._without_unfixed(answer.tokens)
            window.begun = max(kept, window.begun, key=lambda one: len(one.ids))
        window.marks.append((len(window.waveform), len(window.begun.ids)))

    def _cut(self, num_coming: int) -> None:
        """Make the text before a silence final, and let go of its audio. num_coming: samples that need room in the window."""
        window, num_held = self._window, len(self._window.waveform)
        first = max(int((1 - SEARCHED_FRACTION) * num_held), num_held + num_coming - self._most)
        last = num_held - round(SHORTEST_PIECE_S * SAMPLE_RATE_HZ)
        cut = first + quietest_sample(window.waveform[first:last]) if first < last else num_held
        # Only what was said of audio before the cut may be the beginning of what is said of it.
        said = self._answer(window.waveform[:cut], window.begun.first(window.num_begun_at(cut))).said
        self._keep_final(said, cut)
        self._window = _Window(window.start + cut, window.waveform[cut:].copy())

    def _keep_final(self, said: Hypothesis, num_samples: int) -> None:
        start = self._window.start
        self.finals.append((said, (start, start + num_samples)))
        if not self._final_text:
            self._written_language = said.language or self._language
        self._final_text = self._after_final(said.text)

    def _after_final(self, text: str) -> str:
        parts = [part for part in (self._final_text, text.strip()) if part]
        return separator_of(self._written_language).join(parts)

    def _shown(self) -> tuple[str, int]:
        """The text so far, and how many characters of it stay."""
        window = self._window
        if window.said is None or not window.said.text:
            return self._final_text, len(self._final_text)
        text = self._after_final(window.said.text)
        num_left = len(window.said.text) - self._num_stable(window)
        return text, max(len(text) - num_left, len(self._final_text))

    def _num_stable(self, window: "_Window") -> int:
        """Characters of a window's text that its beginning holds, as far as no cut can fall before what they were heard in."""
        assert window.said is not None
        num_at_cut = len(window.waveform) + (self._most - len(window.waveform)) // self._chunk * self._chunk
        ids = window.begun.ids[: window.num_begun_at(int((1 - SEARCHED_FRACTION) * num_at_cut))]
        written, all_written = self._written(ids), self._written(window.tokens.ids)
        begin = len(all_written.rstrip()) - len(window.said.text)
        if not all_written.startswith(written) or not all_written.rstrip().endswith(window.said.text):
            return 0  # the text is not what the tokens wrote
        return min(max(len(written) - begin, 0), len(window.said.text))

    def _without_unfixed(self, tokens: RowTokens) -> RowTokens:
        """The beginning of an answer that stays: without its last tokens, nor part of a letter at its end."""
        num_kept = max(0, len(tokens.ids) - self.policy.unfixed_tokens)
        while num_kept and not _is_whole(b"".join(map(self.model.token_bytes, tokens.ids[:num_kept]))):
            num_kept -= 1
        return tokens.first(num_kept)

    def _written(self, ids: list[int]) -> str:
        return b"".join(map(self.model.token_bytes, ids)).decode("utf-8", "replace")

    def _answer(self, waveform: np.ndarray, begun: RowTokens) -> Answer:
        """What the model says of a clip after a beginning; its `num_tokens` are those of the whole answer."""
        language = self.prompt.language
        if begun.ids and Capability.SAYS_LANGUAGE not in self.model.capabilities:
            # The language stands in the prompt, and what was begun was begun in it.
            language = self._language if Capability.LANGUAGE in self.model.capabilities else None
        utterance = Utterance(id="stream", audio="stream", context=self.prompt.context or None)
        recording = Recording(utterance, waveform, has_system_turn=self.prompt.has_system_turn)
        batch = self.model.collator.for_transcription([recording], language=language, use_context=True)
        most = self.max_new_tokens or token_limit(len(waveform) / SAMPLE_RATE_HZ)
        limits = [max(1, most - len(begun.ids))]
        [answer] = self.model.continue_rows(batch.to(self._device), [begun], max_new_tokens=limits, engine=self.engine)
        num_tokens = len(answer.tokens.ids) + (not answer.said.is_truncated)
        return replace(answer, said=replace(answer.said, num_tokens=num_tokens))

    def _refuse_finished(self) -> None:
        if self.is_finished:
            raise DataError("the stream is finished and takes no more audio; open another")


@dataclass
class _Window:
    """The audio that is heard again, from sample `start` of the session.

    num_heard: how often it was heard. said, tokens: what is shown of it. last: what was said last, shown or not.
    begun: what the next answer begins with. marks: after each hearing, its samples and how many tokens were to begin with.
    """

    start: int
    waveform: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    num_heard: int = 0
    said: Hypothesis | None = None
    tokens: RowTokens = NOTHING_SAID
    last: Hypothesis | None = None
    begun: RowTokens = NOTHING_SAID
    marks: list[tuple[int, int]] = field(default_factory=list)

    def num_begun_at(self, sample: int) -> int:
        """Tokens of the beginning that were heard in the audio before a sample."""
        return max((num_begun for num_samples, num_begun in self.marks if num_samples <= sample), default=0)


def _is_whole(data: bytes) -> bool:
    """Whether bytes are UTF-8 that does not end inside a letter."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    return not decoder.getstate()[0]


def _refuse_other_samples(samples: np.ndarray) -> None:
    if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype != np.float32:
        what = f"{samples.dtype} {list(samples.shape)}" if isinstance(samples, np.ndarray) else type(samples).__name__
        raise DataError(f"a stream takes float32 [S] at 16 kHz, one channel; got {what}")
    if not np.isfinite(samples).all():
        raise DataError("a stream was given samples that are not finite numbers; look at what reads the audio")
