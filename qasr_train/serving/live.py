"""Owns the socket of the page's microphone: sound as it comes, a text that grows, limits, and its end.

Input, from the client: `{"sample_rate_hz": 48000, "language": null, "context": ""}`, then frames of sound (16-bit, little-endian,
mono), then `{"end": true}`. Output: `{"kind": "ready"}`, `update`s, one `final`; or, at any time, an `error` with a sentence.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import numpy as np
import soxr
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect

from qasr_train.audio.decode import MAX_RATE_HZ, MIN_RATE_HZ, SAMPLE_RATE_HZ
from qasr_train.errors import UserError
from qasr_train.files import parse_json, without_lone_surrogates
from qasr_train.serving.engine import Engine
from qasr_train.serving.fields import parse_context, parse_language
from qasr_train.serving.guard import VISIT, Visit
from qasr_train.serving.refusals import RefusedError, bad
from qasr_train.serving.settings import LimitsConfig
from qasr_train.serving.transcriptions import Places
from qasr_train.serving.uploads import MAX_FIELD_BYTES
from qasr_train.streaming.session import StreamSession, Update

_OVER, _REFUSED, _LATER = 1000, 1008, 1013  # codes of a socket's end


def add_live(app: FastAPI, engine: Engine, limits: LimitsConfig) -> None:
    """Put the socket's route into an application."""
    places = Places(
        limits.max_live_sessions,
        f"{limits.max_live_sessions} microphones are heard already, and no more are taken; try again later",
    )

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        visit: Visit = socket.scope[VISIT]
        visit.what = "live"
        await socket.accept()
        try:
            if not engine.ability.listens:
                raise bad(
                    f"model {engine.ability.name} hears whole recordings alone; send them to /v1/audio/transcriptions"
                )
            with places.taken():
                await _Live(socket, engine, limits, visit).run()
            visit.status = int(HTTPStatus.OK)
            await socket.close(_OVER)
        except RefusedError as refused:
            visit.status = int(refused.status)
            with suppress(WebSocketDisconnect):
                await _send(socket, "error", {"message": refused.message})
                await socket.close(_REFUSED if refused.retry_s is None else _LATER)
        except WebSocketDisconnect:
            return


class _Live:
    """One session. Sound is taken in by one task and heard by another, so that what comes is never held up."""

    def __init__(self, socket: WebSocket, engine: Engine, limits: LimitsConfig, visit: Visit) -> None:
        self.socket, self.engine, self.limits, self.visit = socket, engine, limits, visit
        self.waiting: list[np.ndarray] = []  # float32 [S] at 16 kHz, not heard yet
        self.num_waiting = self.num_taken = 0
        self.has_ended = False  # no more sound comes
        self.note: str | None = None
        self.came = asyncio.Event()

    async def run(self) -> None:
        """From the first message to the last.

        Raises:
            RefusedError: what the client is told. WebSocketDisconnect: it has gone.
        """
        rate_hz, language, context = _parse_start(await self._next_message(), self.engine)
        try:
            session = self.engine.open_session(language, context)  # which computes nothing yet
        except UserError as error:
            raise bad(str(error)) from None
        await _send(self.socket, "ready", {})
        taking = asyncio.ensure_future(self._take(rate_hz))
        hearing = asyncio.ensure_future(self._hear(session))
        try:
            await asyncio.wait({taking, hearing}, return_when=asyncio.FIRST_EXCEPTION)
            for task in (taking, hearing):
                if task.done():
                    task.result()
        finally:
            taking.cancel()
            hearing.cancel()
            await asyncio.gather(taking, hearing, return_exceptions=True)
        final: Update = await self._compute(session.finish)
        note = {} if self.note is None else {"note": self.note}
        await _send(self.socket, "final", asdict(final) | note)

    async def _take(self, rate_hz: int) -> None:
        """Sound until the client ends it, or has said enough."""
        stream = None if rate_hz == SAMPLE_RATE_HZ else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
        while not self.has_ended:
            message = await self._next_message()
            self.has_ended = _is_end(message)
            if (self.num_taken + self.num_waiting) >= self.limits.max_live_s * SAMPLE_RATE_HZ:
                self.has_ended = True
                self.note = f"a session ends after {self.limits.max_live_s:g} s (`serve limits.max_live_s=...`)"
            samples = _samples_of(message)
            if stream is not None:
                samples = stream.resample_chunk(samples, last=self.has_ended)
            self.waiting.append(samples)
            self.num_waiting += len(samples)
            self.came.set()
            if self.num_waiting > self.limits.max_behind_s * SAMPLE_RATE_HZ:
                raise RefusedError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"the model is more than {self.limits.max_behind_s:g} s behind: it is too slow on this machine, or busy with "
                    "others; longer chunks cost less (`serve decode.streaming.chunk_s=4`)",
                )

    async def _hear(self, session: StreamSession) -> None:
        """What has come, a chunk at a time, until nothing is left and nothing more comes."""
        num_a_chunk = round(session.policy.chunk_s * SAMPLE_RATE_HZ)
        while True:
            await self.came.wait()
            self.came.clear()
            with self.engine.before_uploads():
                while (samples := self._some(num_a_chunk)) is not None:
                    for update in await self._compute(session.feed, samples):
                        behind = {"behind_s": round(self.num_waiting / SAMPLE_RATE_HZ, 3)}
                        await _send(self.socket, "update", asdict(update) | behind)
            if self.has_ended and not self.num_waiting:
                return

    def _some(self, num_a_chunk: int) -> np.ndarray | None:
        """The next chunk; None where it is not whole yet. At the end what is left."""
        if not self.num_waiting or (self.num_waiting < num_a_chunk and not self.has_ended):
            return None
        waiting = self.waiting[0] if len(self.waiting) == 1 else np.concatenate(self.waiting)
        num_given = min(len(waiting), num_a_chunk)
        self.waiting = [waiting[num_given:]]
        self.num_waiting = len(waiting) - num_given
        self.num_taken += num_given
        self.visit.sound_s = self.num_taken / SAMPLE_RATE_HZ
        return waiting[:num_given]

    async def _next_message(self) -> str | bytes:
        try:
            async with asyncio.timeout(self.limits.idle_s):  # not wait_for: in Python 3.11 it may lose a cancellation
                message = await self.socket.receive()
        except TimeoutError:
            raise RefusedError(
                HTTPStatus.REQUEST_TIMEOUT, f"no sound came for {self.limits.idle_s:g} s; speak again when you like"
            ) from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", _OVER))
        text: str | None = message.get("text")
        return message["bytes"] if text is None else text

    async def _compute(self, action: Any, *arguments: Any) -> Any:
        try:
            return await self.engine.compute(action, *arguments)
        except UserError as error:
            raise bad(str(error)) from None


def _parse_start(message: str | bytes, engine: Engine) -> tuple[int, str | None, str]:
    """(sample rate in Hz, the model's name of the language or None, context)."""
    if len(message) > MAX_FIELD_BYTES:  # as a form's `prompt`: the model hears the context with every chunk
        raise bad(f"the first message is longer than the {MAX_FIELD_BYTES} characters taken; shorten its context")
    start = _object_of(message)
    rate_hz = start.pop("sample_rate_hz", None)
    language, context = start.pop("language", None), start.pop("context", None)
    if start:
        raise bad("the first message knows sample_rate_hz, language and context alone; leave out the rest")
    if not isinstance(rate_hz, int | float) or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise bad(
            f"sample_rate_hz: expected a number from {MIN_RATE_HZ} to {MAX_RATE_HZ}, the rate of the sound that follows"
        )
    if not isinstance(language, str | None) or not isinstance(context, str | None):
        raise bad("language and context: expected text, or null")
    language, context = (one and without_lone_surrogates(one) for one in (language, context))
    ability = engine.ability
    return int(rate_hz), parse_language(language, ability), parse_context(context, ability) or ""


def _is_end(message: str | bytes) -> bool:
    if isinstance(message, bytes):
        return False
    if _object_of(message) != {"end": True}:
        raise bad('expected sound in frames of bytes, or {"end": true}')
    return True


def _samples_of(message: str | bytes) -> np.ndarray:
    """float32 [S] at the client's rate; of the message that ends the sound none."""
    if isinstance(message, str):
        return np.zeros(0, np.float32)
    if len(message) % 2:
        raise bad(
            f"a frame of {len(message)} bytes holds no whole samples of 16 bits; send 16-bit little-endian mono sound"
        )
    return np.frombuffer(message, "<i2").astype(np.float32) / 32768


def _object_of(message: str | bytes) -> dict[str, Any]:
    try:
        content = parse_json(message)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise bad('the first message is JSON, such as {"sample_rate_hz": 48000, "language": null, "context": ""}')
    return content


async def _send(socket: WebSocket, kind: str, content: dict[str, Any]) -> None:
    await socket.send_text(json.dumps({"kind": kind} | content, ensure_ascii=False))
