"""Owns the one model of a server and the thread that computes with it: whole recordings, a batch at a time, and live sessions.

Input: encoded recordings in memory; samples as they come. Output: `HeardRecording`s; updates. Between two batches of a long
recording whoever speaks is heard, so that a microphone is not silent for as long as somebody's upload lasts.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from qasr_train.audio.decode import AudioInfo, probe_audio
from qasr_train.errors import AudioError, DataError
from qasr_train.models.base import Recogniser
from qasr_train.models.settings import Capability
from qasr_train.streaming.session import StreamSession
from qasr_train.timed.base import TimedSegment
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.prompts import PromptForm
from qasr_train.transcription.recordings.find import FoundRecording
from qasr_train.transcription.recordings.hearing import HeardRecording, hear_pieces, heard_recording
from qasr_train.transcription.recordings.pieces import Channels, CutRecording, Cutting, cut_recording
from qasr_train.transcription.recordings.words import AlignsWords, sound_of
from qasr_train.transcription.settings import Decoding

Result = TypeVar("Result")


OpenLive = Callable[[str | None, str], StreamSession]  # of a language that is told (None: it is heard) and a context


@dataclass(frozen=True, slots=True)
class Ability:
    """What may be asked of the model. name: by which requests ask for it. new_languages: that its fine-tune added."""

    name: str
    takes_language: bool
    takes_context: bool
    times_words: bool
    listens: bool
    new_languages: tuple[str, ...] = ()


class Engine:
    """Loaded models and their thread."""

    def __init__(
        self,
        name: str,
        model: Recogniser,
        decoding: Decoding,
        *,
        new_languages: Sequence[str] = (),
        align: AlignsWords | None = None,
        open_live: OpenLive | None = None,
    ) -> None:
        self.model, self.decoding, self.align, self.open_live = model, decoding, align, open_live
        self.ability = Ability(
            name,
            takes_language=Capability.LANGUAGE in model.capabilities,
            takes_context=Capability.CONTEXT in model.capabilities
            and decoding.use_context
            and decoding.prompt is not PromptForm.no_turn,  # which has no place for one
            times_words=align is not None,
            listens=open_live is not None,
            new_languages=tuple(new_languages),
        )
        self._cutting = Cutting(Channels.mix, decoding.max_duration_s, decoding.overlap_s)
        self._thread = ThreadPoolExecutor(1, "compute")
        self._num_before, self._may_go_on = 0, asyncio.Event()
        self._may_go_on.set()
        self._readers = ThreadPoolExecutor(decoding.num_workers, "cut-uploads")

    async def compute(self, action: Callable[..., Result], *arguments: Any) -> Result:
        """Run something in the model's thread, after what others asked for before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: action(*arguments))

    async def probe(self, recording: FoundRecording) -> AudioInfo:
        """A recording's length and channels, by its header where that can be trusted; raises AudioError."""
        return await self._read(partial(probe_audio, name=recording.name_in_messages), recording.audio)

    async def hear(
        self,
        recording: FoundRecording,
        language: str | None,
        context: str | None,
        *,
        with_words: bool,
        info: AudioInfo | None = None,
        on_piece: Callable[[TimedSegment], None] = lambda _: None,
    ) -> HeardRecording:
        """What is said in a recording, by the engine of evaluation. Cancelled, it stops after the batch at work.

        Args:
            language: the model's name of it; None: as the settings say. with_words: whether the aligner times each word.
            info: what `probe` said, which may have decoded it all; None: ask.
            on_piece: called with each piece as soon as it is heard, in any order; where it meets the next one it may change yet.

        Raises:
            AudioError: it cannot be read. ConfigError: as `hear_pieces`.
        """
        cut = await self._read(_cut, recording, self._cutting, info)
        decoding = self.decoding if language is None else replace(self.decoding, language=language)
        spans = dict(cut.pieces())
        predictions: dict[str, Prediction] = {}
        pieces = hear_pieces(self.model, cut, decoding, context)
        try:
            while (batch := await self._next_batch(pieces)) is not None:
                predictions.update((one.id, one) for one in batch)
                for one in batch:
                    span = spans[one.id]
                    on_piece(TimedSegment(span.heard_start_s, span.heard_end_s, one.pred_text.strip()))
        finally:
            with suppress(RuntimeError):  # the server has ended
                self._thread.submit(pieces.close)
        heard = heard_recording(cut, predictions, decoding)
        return await self._with_words(cut, heard) if with_words and self.align is not None else heard

    def open_session(self, language: str | None, context: str) -> StreamSession:
        """Somebody begins to speak; the session is for the model's thread alone. language: as `hear`. context: "" for none.

        Raises:
            ConfigError: the model cannot be told the language or the context.
        """
        assert self.open_live is not None, "ability.listens says so"
        return self.open_live(language, context)

    def close(self) -> None:
        """Begin nothing more."""
        for pool in (self._thread, self._readers):
            pool.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def before_uploads(self) -> Iterator[None]:
        """While the context lasts, uploads wait after the batch at work: whoever speaks is heard first."""
        self._num_before += 1
        self._may_go_on.clear()
        try:
            yield
        finally:
            self._num_before -= 1
            if not self._num_before:
                self._may_go_on.set()

    async def _next_batch(self, pieces: Iterator[list[Prediction]]) -> list[Prediction] | None:
        await self._may_go_on.wait()
        return await self.compute(next, pieces, None)

    async def _with_words(self, cut: CutRecording, heard: HeardRecording) -> HeardRecording:
        assert self.align is not None
        segments, untimed = [], []
        for segment in heard.segments:
            try:
                waveform, begin_s = await self._read(sound_of, cut, segment)
                await self._may_go_on.wait()
                found = await self.compute(self.align, waveform, segment.text, segment.language)
                segments.append(replace(segment, words=found.moved(begin_s).words))
            except DataError as error:  # of a language that the aligner does not know
                segments.append(segment)
                untimed.append(str(error))
        return replace(heard, segments=tuple(segments), untimed=tuple(untimed))

    async def _read(self, action: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: action(*arguments))


def recording_of(content: bytes, name: str) -> FoundRecording:
    """Bytes of an encoded file as a recording. name: what messages call it; what its sender called it is told to nobody."""
    return FoundRecording(Path(name), name, content)


def _cut(recording: FoundRecording, cutting: Cutting, info: AudioInfo | None) -> CutRecording:
    cut = cut_recording(recording, cutting, info)
    if cut.failed is not None:
        raise AudioError(cut.failed)
    return cut
