"""The microphone's socket: sound in, a growing text out, limits, and ends of all kinds."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("python_multipart", reason="needs the extra serve")
pytest.importorskip("websockets", reason="needs the extra serve")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from qasr_train.errors import DataError
from qasr_train.serving.settings import LimitsConfig
from qasr_train.streaming.session import Update
from qasr_train.streaming.settings import StreamPolicy
from tests.helpers import tone, wav_bytes
from tests.helpers_fake_model import FakeModel
from tests.serving.helpers import Served, serving, wait_until

WORDS = "one two three four five six seven eight nine ten".split()


class Counting:
    """A session that says a word a second; all but the last one stay. Remembers what it was fed."""

    policy = StreamPolicy(chunk_s=0.5)

    def __init__(self, before_chunk: Callable[[], None] = lambda: None) -> None:
        self.fed: list[np.ndarray] = []
        self.num_told, self.before_chunk = 0, before_chunk

    @property
    def heard(self) -> np.ndarray:
        return np.concatenate(self.fed)

    def feed(self, samples: np.ndarray) -> list[Update]:
        self.before_chunk()
        self.fed.append(samples)
        updates = []
        while (self.num_told + 1) * 16000 <= len(self.heard):
            self.num_told += 1
            updates.append(self._update(len(" ".join(WORDS[: self.num_told - 1]))))
        return updates

    def finish(self) -> Update:
        return self._update(len(" ".join(WORDS[: self.num_told])))

    def _update(self, num_stable: int) -> Update:
        text = " ".join(WORDS[: self.num_told])
        return Update(float(self.num_told), text, num_stable, "English", 0.1)


@contextmanager
def listening(session: Any = None, **limits: Any) -> Iterator[tuple[Served, list[tuple[str | None, str]]]]:
    """A server whose sessions are all `session`, and what each was opened with."""
    opened: list[tuple[str | None, str]] = []

    def open_live(language: str | None, context: str) -> Any:
        opened.append((language, context))
        return session or Counting()

    with serving(open_live=open_live, limits=LimitsConfig(**limits)) as served:
        yield served, opened


def dial(served: Served, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{served.port}/live", **options)


def begin(socket: ClientConnection, rate_hz: float = 16000, **start: Any) -> dict[str, Any]:
    socket.send(json.dumps({"sample_rate_hz": rate_hz} | start))
    return json.loads(socket.recv(timeout=20))


def pcm(waveform: np.ndarray) -> bytes:
    return (waveform * 32767).astype("<i2").tobytes()


def say(socket: ClientConnection, waveform: np.ndarray, samples_a_frame: int = 1600) -> None:
    for first in range(0, len(waveform), samples_a_frame):
        socket.send(pcm(waveform[first : first + samples_a_frame]))


def rest(socket: ClientConnection) -> list[dict[str, Any]]:
    """All messages until the server closes, for whatever reason."""
    messages = []
    with suppress(ConnectionClosed):
        while True:
            messages.append(json.loads(socket.recv(timeout=20)))
    return messages


def test_text_grows_with_what_stays_and_ends_with_all_of_it() -> None:
    session = Counting()
    with listening(session) as (served, opened), dial(served) as socket:
        assert begin(socket, language="de", context="Numbers") == {"kind": "ready"}
        say(socket, tone(3.3))
        socket.send('{"end": true}')
        *updates, final = rest(socket)
        assert socket.close_code == 1000
    assert opened == [("German", "Numbers")]
    assert [(one["kind"], one["text"], one["num_stable"]) for one in updates] == [
        ("update", "one", 0),
        ("update", "one two", 3),
        ("update", "one two three", 7),
    ]
    assert (final["kind"], final["text"], final["num_stable"]) == ("final", "one two three", 13)
    assert {"heard_s", "language", "compute_s", "behind_s"} < set(updates[0])
    assert np.abs(session.heard - tone(3.3)).max() < 2 / 32768  # nothing is lost, and only rounded


@pytest.mark.parametrize("rate_hz", [48000, 44100, 8000])
def test_sound_of_another_rate_is_the_same_sound(rate_hz: int) -> None:
    session = Counting()
    with listening(session) as (served, _), dial(served) as socket:
        begin(socket, rate_hz)
        say(socket, tone(2.0, sample_rate_hz=rate_hz), 441)
        socket.send('{"end": true}')
        assert rest(socket)[-1]["kind"] == "final"
    heard = session.heard
    assert len(heard) == pytest.approx(32000, abs=2)
    assert np.abs(heard[800:31200] - tone(2.0)[800:31200]).max() < 0.01  # but for the edges


def test_more_microphones_than_places_wait_their_turn() -> None:
    with listening(max_live_sessions=1) as (served, _):
        with dial(served) as first:
            begin(first)
            with dial(served) as second:
                [refused] = rest(second)
                assert second.close_code == 1013
            assert refused["kind"] == "error" and refused["message"].startswith("1 microphones are heard already")
        wait_until(lambda: not is_refused(served))


def is_refused(served: Served) -> bool:
    with dial(served) as socket, suppress(ConnectionClosed):
        return begin(socket)["kind"] == "error"
    return True


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([b"\0\0"], "the first message is JSON"),
        (["[1]"], "the first message is JSON"),
        (['{"sample_rate_hz": 100}'], "sample_rate_hz: expected a number from 4000"),
        (['{"sample_rate_hz": null}'], "sample_rate_hz: expected a number"),
        (['{"sample_rate_hz": 16000, "language": "xx-nope"}'], "language=xx-nope: not known"),
        (['{"sample_rate_hz": 16000, "language": "\\ud800"}'], "language=\ufffd: not known"),
        (
            ['{"sample_rate_hz": 16000, "context": "' + "a " * 10_000 + '"}'],
            "the first message is longer than the 16384",
        ),
        (['{"sample_rate_hz": 16000, "langage": "en"}'], "the first message knows"),
        (['{"sample_rate_hz": 16000, "context": 3}'], "language and context: expected text"),
        (['{"sample_rate_hz": 16000}', b"\0\0\0"], "a frame of 3 bytes"),
        (['{"sample_rate_hz": 16000}', '{"stop": 1}'], "expected sound"),
    ],
)
def test_messages_that_mean_nothing_are_told(messages: list[Any], sentence: str) -> None:
    with listening() as (served, _), dial(served) as socket:
        for message in messages:
            socket.send(message)
        told = rest(socket)[-1]
        assert told["kind"] == "error" and told["message"].startswith(sentence)
        assert socket.close_code == 1008


def test_half_a_character_of_a_context_reaches_no_tokenizer() -> None:
    with listening() as (served, opened), dial(served) as socket:
        begin(socket, context="Ana \ud800")
    assert opened == [(None, "Ana \ufffd")]


def test_silence_on_the_line_length_and_slowness_end_a_session_in_a_sentence() -> None:
    with listening(idle_s=0.3) as (served, _), dial(served) as socket:
        begin(socket)
        assert "no sound came for 0.3 s" in rest(socket)[-1]["message"]
    with listening(max_live_s=2.0) as (served, _), dial(served) as socket:
        begin(socket)
        say(socket, tone(3.0))
        last = rest(socket)[-1]
        assert (last["kind"], last["text"]) == ("final", "one two") and "after 2 s" in last["note"]
    may_go = threading.Event()
    slow = Counting(before_chunk=lambda: may_go.wait(20) and None)
    with listening(slow, max_behind_s=1.0) as (served, _), dial(served) as socket:
        begin(socket)
        say(socket, tone(2.0))
        try:
            assert "more than 1 s behind" in rest(socket)[-1]["message"]
        finally:
            may_go.set()


def test_whoever_speaks_is_heard_before_the_rest_of_an_upload() -> None:
    """Two pieces of an upload: the first computes while sound comes; the second waits until that is heard."""
    order: list[str] = []
    at_work, may_go = threading.Event(), threading.Event()

    def piece(ids: list[str]) -> None:
        order.append("piece")
        at_work.set()
        assert may_go.wait(20)

    session = Counting(before_chunk=lambda: order.append("chunk"))
    with serving(FakeModel(before_batch=piece), open_live=lambda *_: session) as served:
        upload = threading.Thread(target=lambda: served.transcribe(wav_bytes(tone(8.0))))
        upload.start()
        assert at_work.wait(20)
        with dial(served) as socket:
            assert begin(socket) == {"kind": "ready"}
            say(socket, tone(2.0))
            wait_until(lambda: served.engine._num_before == 1)
            may_go.set()
            socket.send('{"end": true}')
            assert rest(socket)[-1]["text"] == "one two"
        upload.join(20)
    assert order[:2] == ["piece", "chunk"] and sorted(order) == ["chunk"] * 4 + ["piece"] * 2


def test_what_the_model_refuses_is_told() -> None:
    def refuse() -> None:
        raise DataError("it holds numbers that are not finite")

    with listening(Counting(before_chunk=refuse)) as (served, _), dial(served) as socket:
        begin(socket)
        say(socket, tone(0.5))
        assert rest(socket)[-1] == {"kind": "error", "message": "it holds numbers that are not finite"}


def test_a_model_that_cannot_listen_says_so() -> None:
    with serving() as served, dial(served) as socket:
        assert "hears whole recordings alone" in rest(socket)[-1]["message"]


def test_no_other_page_reaches_the_microphones_socket() -> None:
    with listening() as (served, opened):
        with pytest.raises(InvalidStatus) as caught:
            dial(served, origin="http://evil.example")
        assert caught.value.response.status_code == 403
        upgrade = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
        rebound = upgrade | {"host": "rebound.example", "sec-websocket-key": "bm90IGEgc2VjcmV0ISEhIQ=="}
        assert served.ask("GET", "/live", headers=rebound).status == 403
        with dial(served, origin=f"http://127.0.0.1:{served.port}") as socket:
            assert begin(socket) == {"kind": "ready"}
    assert len(opened) == 1


def test_a_client_that_goes_away_and_a_bug_of_ours_leave_place_and_no_word(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("zebra quagmire")

    logging.getLogger("qasr_train").propagate, before = True, logging.getLogger("qasr_train").propagate
    caplog.set_level(logging.DEBUG, "qasr_train")
    try:
        with listening(Counting(before_chunk=fail), max_live_sessions=1) as (served, _):
            with dial(served) as socket:
                begin(socket, context="walnut parsnip")
            wait_until(lambda: not is_refused(served))
            with dial(served) as socket:
                begin(socket, context="walnut parsnip")
                say(socket, tone(0.5))
                with pytest.raises(ConnectionClosed):
                    socket.recv(timeout=20)
            wait_until(lambda: not is_refused(served))
    finally:
        logging.getLogger("qasr_train").propagate = before
    assert "live client gone" in caplog.text and "RuntimeError at" in caplog.text
    assert not {"zebra", "quagmire", "walnut", "parsnip"} & set(caplog.text.replace(".", " ").split())
