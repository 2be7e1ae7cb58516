"""Owns a server in a thread, with a model that looks transcripts up, and requests to it by Python's own client."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from qasr_train.serving.app import build_app
from qasr_train.serving.engine import Engine
from qasr_train.serving.server import bind, server_of
from qasr_train.serving.settings import LimitsConfig
from qasr_train.timed.cues import CueLayout
from qasr_train.transcription.settings import DecodeConfig, Decoding
from tests.helpers import tone, wav_bytes
from tests.helpers_fake_model import FakeModel

LAYOUT = CueLayout(42, 2, 17.0, 1.0, 7.0)
BOUNDARY = "parts-end-here"


class PieceTexts(dict[int, str]):
    """Transcripts by the number of a piece, whatever the recording is called: `r7#1@` is 1."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(int(str(key).rpartition("#")[2].rstrip("@")), "")


def decoding(**changes: Any) -> Decoding:
    """Pieces of at most 5 s, one a batch, without overlap."""
    settings = {"max_duration_s": 5.0, "max_batch_rows": 1, "overlap_s": 0.0, "num_workers": 1} | changes
    return DecodeConfig(**settings).decoding(30.0)


def long_wav() -> bytes:
    """12 s of a tone with pauses around 4 and 8 s: three pieces."""
    waveform = tone(12.0)
    for moment_s in (4.0, 8.0):
        waveform[int((moment_s - 0.3) * 16000) : int((moment_s + 0.3) * 16000)] = 0.0
    return wav_bytes(waveform)


@dataclass
class Answer:
    """status, headers with lower-case names, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


@dataclass
class Served:
    """A server that listens at `port`."""

    port: int
    engine: Engine
    server: Any

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}), **options)
            got = connection.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()

    def transcribe(
        self, content: bytes | None, *fields: tuple[str, str], filename: str = "a.wav", **headers: str
    ) -> Answer:
        own = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self.ask("POST", "/v1/audio/transcriptions", form(content, fields, filename), own | headers)


def form(content: bytes | None, fields: Sequence[tuple[str, str]] = (), filename: str = "a.wav") -> bytes:
    """A body of multipart/form-data, by hand."""
    parts = [
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    if content is not None:
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


@contextmanager
def serving(
    model: FakeModel | None = None, *, names: Sequence[str] = (), limits: LimitsConfig | None = None, **engine: Any
) -> Iterator[Served]:
    """A server on a free port for as long as the context lasts."""
    limits = limits or LimitsConfig()
    made = Engine("tuned", model or FakeModel(), engine.pop("decoding", None) or decoding(), **engine)
    bound = bind("127.0.0.1", 0)
    server = server_of(build_app(made, limits, LAYOUT, names), idle_s=limits.idle_s)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])))
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield Served(bound.getsockname()[1], made, server)
    finally:
        server.should_exit = True
        thread.join(10)
        made.close()
        bound.close()


def wait_until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return once it is so; fail where it does not become so."""
    give_up_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_s, "it did not become so"
        time.sleep(0.01)
