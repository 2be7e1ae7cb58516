"""Owns listening: an address that is free, before a weight is read; then answering until Ctrl-C or SIGTERM.

Input: host, port; an ASGI application. Output: a bound socket; it returns where it was asked to stop.
"""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from qasr_train.errors import ConfigError

_GRACE_S = 2  # that an answer at work is waited for, once the server was asked to stop
_MAX_FRAME_BYTES = 2**20  # of a socket: six seconds of sound at the highest rate


def bind(host: str, port: int) -> socket.socket:
    """A socket at the address, which nobody can take from us any more; nobody is answered yet.

    Raises:
        ConfigError: the address is taken, may not be used, or is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"host={host}: no such address; give 127.0.0.1, or an address of this machine") from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigError(_sentence(host, port, error)) from None
    return bound


def url_of(bound: socket.socket) -> str:
    """http://127.0.0.1:8000"""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve_until_stopped(app: Any, bound: socket.socket, *, idle_s: float) -> None:
    """Answer until SIGINT or SIGTERM; what is at work then has a moment to end. A second Ctrl-C ends at once. As `server_of`."""
    server = server_of(app, idle_s=idle_s)
    with _stopping(server):
        asyncio.run(server.serve(sockets=[bound]))


def server_of(app: Any, *, idle_s: float) -> uvicorn.Server:
    """The server of an application. idle_s: seconds in which a connection must have sent its first request."""
    config = uvicorn.Config(
        app,
        http=_protocol(idle_s),
        ws="websockets-sansio",
        ws_max_size=_MAX_FRAME_BYTES,
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """Without signals of its own: it would raise the one it got a second time, behind its end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: `_stopping` does it."""
        yield


@contextmanager
def _stopping(server: uvicorn.Server) -> Iterator[None]:
    def stop(number: int, _: FrameType | None) -> None:
        server.force_exit = server.should_exit and number == signal.SIGINT
        server.should_exit = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _protocol(idle_s: float) -> type[H11Protocol]:
    class Impatient(H11Protocol):
        """Closes a connection on which no request has come; uvicorn itself waits for the first one for ever."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.loop.call_later(idle_s, self._close_if_nothing_came)

        def _close_if_nothing_came(self) -> None:
            is_socket = self.transport.get_protocol() is not self
            has_request = bool(self.cycle)
            if not (is_socket or has_request or self.transport.is_closing()):
                self.transport.close()

    return Impatient


def _sentence(host: str, port: int, error: OSError) -> str:
    reasons = {
        98: f"port={port}: another program listens there on {host}; give another port, or port=0 for a free one",
        13: f"port={port}: may be used by administrators alone; give one above 1023",
        99: f"host={host}: is no address of this machine; give 127.0.0.1, or 0.0.0.0 for all of its addresses",
    }
    return reasons.get(error.errno or 0, f"host={host} port={port}: cannot be listened at ({error.strerror})")
