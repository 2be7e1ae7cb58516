"""Owns one upload from its form to what was heard, and how many may be under way.

Input: what was asked, an `Engine`, limits. Output: `HeardRecording`, or why there is none, for the client.
"""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from qasr_train.errors import UserError
from qasr_train.serving.engine import Engine, recording_of
from qasr_train.serving.fields import Asked
from qasr_train.serving.guard import Visit
from qasr_train.serving.refusals import RefusedError, bad
from qasr_train.serving.settings import LimitsConfig
from qasr_train.timed.base import TimedSegment
from qasr_train.transcription.recordings.hearing import HeardRecording

_RETRY_S = 5


class Places:
    """So many at a time, and no more."""

    def __init__(self, number: int, refusal: str) -> None:
        """refusal: the sentence for those who find none free."""
        self.num_free, self.refusal = number, refusal

    def take(self) -> "Place":
        """One of them; raises RefusedError (429) where none is free."""
        if self.num_free <= 0:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, self.refusal, code="rate_limit_exceeded", retry_s=_RETRY_S)
        self.num_free -= 1
        return Place(self)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """`take`, for as long as the context lasts."""
        place = self.take()
        try:
            yield
        finally:
            place.free()


class Place:
    """One of `Places`, until it is freed."""

    def __init__(self, places: Places) -> None:
        self._places: Places | None = places

    def free(self) -> None:
        """Give it back, once."""
        if self._places is not None:
            self._places.num_free += 1
            self._places = None

    async def kept_by(self, lines: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """The same lines; the place is free when they end, or when nobody reads them any more."""
        try:
            async for line in lines:
                yield line
        finally:
            self.free()
            await lines.aclose()


async def hear_upload(
    engine: Engine,
    asked: Asked,
    visit: Visit,
    limits: LimitsConfig,
    *,
    on_piece: Callable[[TimedSegment], None] = lambda _: None,
) -> HeardRecording:
    """What is said in an upload; on_piece: as `Engine.hear`.

    Raises:
        RefusedError: it is no recording, or too long; the model cannot be told what was asked.
    """
    recording = recording_of(asked.content, visit.id)
    try:
        info = await engine.probe(recording)
        visit.sound_s = info.duration_s
        if visit.sound_s > limits.max_audio_s:
            raise bad(
                f"the recording lasts {visit.sound_s:.0f} s, more than the {limits.max_audio_s:g} s taken here; cut it (`serve "
                "limits.max_audio_s=...` allows more)",
                "file",
            )
        return await engine.hear(
            recording, asked.language, asked.context, with_words=asked.needs_words, info=info, on_piece=on_piece
        )
    except UserError as error:
        raise bad(_without_id(str(error), visit.id), "file") from None


def _without_id(message: str, visit_id: str) -> str:
    """A message about the recording, whose sender knows no id of ours: `r3: is ...`, `r3#0@: is ...`."""
    name, colon, rest = message.partition(": ")
    return f"the recording: {rest}" if colon and name.startswith(visit_id) else message
