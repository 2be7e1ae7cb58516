"""Owns what surrounds every request: who may call, what a browser may do with the answer, the line of the log, our own bugs.

Input: an ASGI application. Output: the same behind the guard. A web page that somebody visits must reach neither the microphone's
socket nor a transcript: a foreign page is told by its Origin; one whose name was made to lead here (DNS rebinding) by the Host it
calls, which is neither an address in numbers nor a name of ours. The log holds ids, seconds and statuses, no word of a client's.
"""

import asyncio
import ipaddress
import json
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from qasr_train.serving.refusals import RefusedError

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

VISIT = "qasr_train.visit"  # where a scope holds its `Visit`
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; media-src blob:; connect-src 'self' ws://{host} "
        "wss://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(slots=True)
class Visit:
    """One request or socket. what: "" for nothing worth a line. sound_s: seconds of sound in it; None: not known.

    status: how a socket ended, which has none of its own; None: the client went away.
    """

    id: str
    what: str = ""
    sound_s: float | None = None
    status: int | None = None


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: App, names: Collection[str]) -> None:
        """names: host names by which the server may be called, besides localhost and addresses in numbers."""
        self.app = app
        self.names = {"localhost", *(name.lower() for name in names)}
        self.numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or socket."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        visit = scope[VISIT] = Visit(f"r{next(self.numbers)}")
        headers = _headers(scope)
        refused = caller_refusal(headers, self.names)
        answered = _Answered(send, visit, headers.get("host", "") if refused is None else "")
        started_s = time.monotonic()
        try:
            if refused is None:
                await self.app(scope, receive, answered)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": "not from here"})
                answered.status = int(refused.status)
            else:
                await _send_refusal(answered, refused)
        except asyncio.CancelledError:  # the server was asked to stop, and does not wait for long
            if scope["type"] == "http" and answered.status is None:
                stopping = RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the server is being stopped")
                await _send_refusal(answered, stopping)
            raise
        # A bug of ours; the application has answered. Its message may hold what a client said, so the log has the place alone.
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            logger.error("%s: %s at %s:%s", visit.id, type(error).__name__, place.filename, place.lineno)
        finally:
            _log(visit, answered.status or visit.status, time.monotonic() - started_s)


class _Answered:
    """`send` that remembers the status and puts our headers on. host: as the caller has it."""

    def __init__(self, send: Send, visit: Visit, host: str) -> None:
        self.send, self.visit, self.host = send, visit, host
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {**_HEADERS, "x-request-id": self.visit.id}
            lines = [
                (name.encode(), value.replace("{host}", self.host).encode("latin-1")) for name, value in own.items()
            ]
            message["headers"] = [*message.get("headers", ()), *lines]
        await self.send(message)


def caller_refusal(headers: dict[str, str], names: Collection[str]) -> RefusedError | None:
    """Why whoever sends these headers may not call (403); None where they may. names: host names of ours, in lower case."""
    host = headers.get("host", "")
    if not _is_ours(host, names):
        return RefusedError(
            HTTPStatus.FORBIDDEN,
            f"Host {host:.80}: this server has another name; call it by its address, or start it with allowed_hosts=[NAME]",
        )
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        return RefusedError(HTTPStatus.FORBIDDEN, f"Origin {origin:.80}: pages of other sites may not call this server")
    return None


def _is_ours(host: str, names: Collection[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def _send_refusal(send: Send, refusal: RefusedError) -> None:
    headers = {"content-type": "application/json", **refusal.headers()}
    start = {
        "type": "http.response.start",
        "status": int(refusal.status),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await send(start)
    await send({"type": "http.response.body", "body": json.dumps(refusal.body()).encode()})


def _log(visit: Visit, status: int | None, seconds: float) -> None:
    if not visit.what and (status or 0) < 400:
        return
    sound = "" if visit.sound_s is None else f", {visit.sound_s:.1f} s of sound"
    ended = "client gone" if status is None else str(status)
    logger.info("%s %s %s%s in %.1f s", visit.id, visit.what or "other", ended, sound, seconds)
