"""Uploads over a real connection: what is answered in each format, what is refused, and that nothing is kept or told."""

import json
import logging
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("python_multipart", reason="needs the extra serve")

from qasr_train.alignment.text import Alignment
from qasr_train.audio.decode import AudioInfo, probe_audio
from qasr_train.errors import DataError
from qasr_train.models.settings import Capability
from qasr_train.serving.settings import LimitsConfig
from qasr_train.timed.base import TimedWord
from qasr_train.transcription.prompts import PromptForm
from tests.helpers import tone, wav_bytes
from tests.helpers_fake_model import FakeModel
from tests.serving.helpers import BOUNDARY, PieceTexts, Served, decoding, form, long_wav, serving, wait_until

TEXTS = PieceTexts({0: "one two", 1: "", 2: "three."})


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(FakeModel(texts=TEXTS)) as one:
        yield one


def verbose(*granularities: str) -> list[tuple[str, str]]:
    return [("response_format", "verbose_json"), *(("timestamp_granularities[]", one) for one in granularities)]


def test_each_format_has_the_text_of_all_pieces_and_their_times(served: Served) -> None:
    long = long_wav()
    plain = served.transcribe(long, ("model", "tuned"))
    assert (plain.status, plain.json) == (
        200,
        {"text": "one two three.", "usage": {"type": "duration", "seconds": 12}},
    )
    assert served.transcribe(long, ("response_format", "text")).text == "one two three.\n"
    answer = served.transcribe(long, *verbose()).json
    assert (answer["language"], answer["duration"], answer["text"]) == ("english", 12.0, "one two three.")
    assert [(one["id"], one["text"]) for one in answer["segments"]] == [(0, "one two"), (1, "three.")]
    assert [answer["segments"][n][key] for n in (0, 1) for key in ("start", "end")] == pytest.approx(
        [0.0, 3.7, 8.3, 12.0], abs=0.05
    )
    srt = served.transcribe(long, ("response_format", "srt"))
    assert srt.text.split("\n")[2::4] == ["one two", "three."] and srt.text.startswith("1\n00:00:00,000 --> 00:00:03,7")
    assert served.transcribe(long, ("response_format", "vtt")).text.startswith("WEBVTT\n\n00:00:00.000 --> ")


def align(waveform: np.ndarray, text: str, language: str | None) -> Alignment:
    """Every word half a second after the one before; "two" unplaced."""
    if language == "Russian":
        raise DataError("knows no Russian")
    words = [
        TimedWord(word, *((None, None) if word == "two" else (number / 2, number / 2 + 0.25)))
        for number, word in enumerate(text.split())
    ]
    return Alignment(tuple(words), 0.0)


def test_words_have_the_aligners_times_and_none_where_it_cannot_place_them() -> None:
    with serving(FakeModel(texts=TEXTS), align=align) as served:
        answer = served.transcribe(long_wav(), *verbose("word")).json
        assert "segments" not in answer
        assert answer["words"][:2] == [
            {"word": "one", "start": 0.0, "end": 0.25},
            {"word": "two", "start": None, "end": None},
        ]
        assert answer["words"][2]["start"] == pytest.approx(
            8.3 - 0.25,
            abs=0.05,  # the aligner hears a margin before it
        )
        both = served.transcribe(long_wav(), *verbose("word", "segment")).json
        assert both["words"] == answer["words"] and len(both["segments"]) == 2


@pytest.mark.parametrize(
    ("response_format", "num_aligned"), [("json", 0), ("text", 0), ("srt", 2), ("verbose_json", 0)]
)
def test_words_are_timed_where_the_answer_goes_by_them(response_format: str, num_aligned: int) -> None:
    aligned: list[str] = []

    def count(waveform: np.ndarray, text: str, language: str | None) -> Alignment:
        aligned.append(text)
        return align(waveform, text, language)

    with serving(FakeModel(texts=TEXTS), align=count) as served:
        assert served.transcribe(long_wav(), ("response_format", response_format)).status == 200
    assert len(aligned) == num_aligned


def test_a_language_that_the_aligner_does_not_know_and_a_text_without_its_end_are_told() -> None:
    model = FakeModel(texts=TEXTS, heard_language="Russian")
    with serving(model, align=align, decoding=decoding(max_new_tokens=1)) as served:
        answer = served.transcribe(long_wav(), *verbose("word", "segment")).json
    assert answer["words"] == [] and [one["text"] for one in answer["segments"]] == ["one", "three."]
    assert answer["untimed"] == "2 segments have no word times, the first since knows no Russian"
    assert answer["truncated"].startswith("2 segments met the limit of new tokens")


def test_language_and_prompt_reach_the_model(served: Served) -> None:
    collator = served.engine.model.collator
    collator.languages.clear()
    collator.contexts.clear()
    assert served.transcribe(wav_bytes(tone(1.0)), ("language", "de"), ("prompt", "Größe 42")).status == 200
    assert (collator.languages, collator.contexts) == (["German"], [["Größe 42"]])


def test_models_and_health(served: Served) -> None:
    [one] = served.ask("GET", "/v1/models").json["data"]
    assert (one["id"], one["object"]) == ("tuned", "model")
    assert served.ask("GET", "/v1/models/tuned").json == one
    assert served.ask("GET", "/v1/models/other").status == 404
    assert served.ask("GET", "/health").json == {"status": "ok"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", "the recording: damaged WAV file"),
        (b"<!doctype html><html>", "the recording: is a web page"),
        (b"", "the file is empty"),
        (None, "the form has no `file`"),
    ],
)
def test_what_is_no_recording_is_told_without_an_id(served: Served, content: bytes | None, message: str) -> None:
    answer = served.transcribe(content)
    assert (answer.status, answer.error["param"], answer.error["type"]) == (400, "file", "invalid_request_error")
    assert answer.error["message"].startswith(message)


def test_a_body_that_is_no_form_a_wrong_method_and_a_wrong_path_are_told_in_the_same_shape(served: Served) -> None:
    assert "multipart/form-data" in served.ask("POST", "/v1/audio/transcriptions", b"{}").error["message"]
    cut = served.ask(
        "POST", "/v1/audio/transcriptions", b"x", {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    )
    assert (cut.status, cut.error["type"]) == (400, "invalid_request_error")
    assert served.ask("GET", "/v1/audio/transcriptions").status == 405
    assert served.ask("GET", "/v2").error["type"] == "not_found_error"


def test_a_model_without_language_or_context_refuses_them() -> None:
    with serving(FakeModel(capabilities=frozenset(Capability) - {Capability.LANGUAGE, Capability.CONTEXT})) as served:
        for field in (("language", "de"), ("prompt", "x")):
            assert served.transcribe(wav_bytes(tone(1.0)), field).error["param"] == field[0]


def test_a_prompt_without_a_system_turn_has_no_place_for_a_context() -> None:
    """The page asks what the server takes before it offers a field for it; its microphone refuses what an upload does."""
    with serving(decoding=decoding(prompt=PromptForm.no_turn)) as served:
        assert served.transcribe(wav_bytes(tone(1.0)), ("prompt", "x")).error["param"] == "prompt"
        facts = served.ask("GET", "/page.json").json
        assert facts["takes_language"] and not facts["takes_context"]


def test_a_recording_that_is_too_long_is_not_decoded() -> None:
    model = FakeModel()
    with serving(model, limits=LimitsConfig(max_audio_s=2.0)) as served:
        answer = served.transcribe(long_wav())
    assert (answer.status, model.batches) == (400, [])
    assert "lasts 12 s, more than the 2 s" in answer.error["message"]


def test_the_length_is_asked_for_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only ffmpeg reads is decoded to tell it."""
    probed: list[str] = []

    def probe(audio: bytes, *, name: str = "") -> AudioInfo:
        probed.append(name)
        return probe_audio(audio, name=name)

    for module in ("qasr_train.serving.engine", "qasr_train.transcription.recordings.pieces"):
        monkeypatch.setattr(f"{module}.probe_audio", probe)
    assert served.transcribe(wav_bytes(tone(1.0))).status == 200 and len(probed) == 1


def test_a_large_upload_is_refused_while_it_is_still_being_sent() -> None:
    """Chunked, and never ended: who waited for its end would wait for ever."""
    with serving(limits=LimitsConfig(max_upload_mb=0.1)) as served:
        stated = served.transcribe(bytes(1_000_000))
        assert (stated.status, stated.error["param"]) == (413, "file")
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as raw:
            raw.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
                b"content-type: multipart/form-data; boundary=" + BOUNDARY.encode() + b"\r\n\r\n"
            )
            part = form(bytes(900_000))[:-30]
            raw.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            assert raw.recv(200).startswith(b"HTTP/1.1 413")
        within = served.transcribe(wav_bytes(tone(3.0)))  # 96 kB
        assert within.status == 200


def test_a_client_that_stops_sending_is_given_up_and_so_is_one_that_never_asks() -> None:
    with serving(limits=LimitsConfig(idle_s=0.3)) as served:
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as raw:
            raw.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000\r\n"
                b"content-type: multipart/form-data; boundary=" + BOUNDARY.encode() + b"\r\n\r\n"
            )
            assert raw.recv(200).startswith(b"HTTP/1.1 408")
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as raw:
            raw.sendall(b"GET /hea")  # no whole request
            assert raw.recv(10) == b""


def test_more_requests_than_places_are_sent_away_and_come_again() -> None:
    may_go, at_work = threading.Event(), threading.Event()

    def wait(_: list[str]) -> None:
        at_work.set()
        assert may_go.wait(20)

    with serving(FakeModel(before_batch=wait), limits=LimitsConfig(max_requests=1)) as served:
        first = threading.Thread(target=lambda: served.transcribe(wav_bytes(tone(1.0))))
        first.start()
        assert at_work.wait(20)
        refused = served.transcribe(wav_bytes(tone(1.0)))
        assert (refused.status, refused.headers["retry-after"]) == (429, "5")
        assert (refused.error["type"], refused.error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        may_go.set()
        first.join()
        assert served.transcribe(wav_bytes(tone(1.0))).status == 200


def test_a_client_that_goes_away_frees_its_place_and_the_rest_of_its_recording_is_left() -> None:
    may_go, at_work = threading.Event(), threading.Event()

    def wait(_: list[str]) -> None:
        at_work.set()
        assert may_go.wait(20)

    model = FakeModel(before_batch=wait)
    with serving(model, limits=LimitsConfig(max_requests=1)) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as raw:
            body = form(long_wav())  # three pieces
            raw.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary="
                + f"{BOUNDARY}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert at_work.wait(20)
        # The place is free while its batch still computes.
        wait_until(lambda: served.transcribe(b"").status != 429)
        may_go.set()
        assert served.transcribe(wav_bytes(tone(1.0))).status == 200
    assert len(model.batches) == 2  # one of the three, and the later recording


def test_who_waits_when_the_server_is_stopped_is_told() -> None:
    at_work, may_go, answers = threading.Event(), threading.Event(), []

    def wait(_: list[str]) -> None:
        at_work.set()
        assert may_go.wait(20)

    with serving(FakeModel(before_batch=wait)) as served:
        asking = threading.Thread(target=lambda: answers.append(served.transcribe(wav_bytes(tone(1.0)))))
        asking.start()
        assert at_work.wait(20)
        served.server.config.timeout_graceful_shutdown = 0.2
        served.server.should_exit = True
        asking.join(20)
        may_go.set()
    assert [(one.status, one.error["message"]) for one in answers] == [(503, "the server is being stopped")]


def test_no_other_page_and_no_foreign_name_is_answered(served: Served) -> None:
    short = wav_bytes(tone(1.0))
    foreign = served.transcribe(short, origin="http://elsewhere.example")
    assert (foreign.status, foreign.error["type"]) == (403, "permission_error")
    assert served.transcribe(short, origin=f"http://127.0.0.1:{served.port}").status == 200
    rebound = served.ask("GET", "/health", headers={"host": f"rebound.example:{served.port}"})
    assert rebound.status == 403
    headers = served.ask("GET", "/health").headers
    assert "access-control-allow-origin" not in headers and "default-src 'none'" in headers["content-security-policy"]


SECRETS = ["zebra", "walnut", "parsnip", "quagmire"]


def test_nothing_is_stored_and_nothing_but_ids_seconds_and_statuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Planted: in the transcript, the prompt, the file's name, a path, a header, the message of a bug of ours."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rolled: list[None] = []
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda _: rolled.append(None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("qasr_train"), "propagate", True)
    caplog.set_level(logging.DEBUG)
    model = FakeModel(texts=PieceTexts({0: "zebra quagmire"}))
    with serving(model) as served:
        heard = served.transcribe(wav_bytes(tone(70.0)), ("prompt", "walnut"), filename="parsnip.wav")
        assert (heard.status, heard.json["text"]) == (200, "zebra quagmire")

        def fail(_: list[str]) -> None:
            raise RuntimeError("zebra quagmire")

        model.before_batch = fail
        broken = served.transcribe(wav_bytes(tone(1.0)), ("prompt", "walnut"), filename="parsnip.wav")
        assert (broken.status, broken.error["type"]) == (500, "server_error")
        served.transcribe(b"<html>quagmire", ("walnut", "zebra"), filename="parsnip.wav")
        served.ask("GET", "/zebra?walnut=parsnip", headers={"user-agent": "quagmire"})
        served.ask("GET", "/", headers={"host": "zebra.walnut"})
    said = "".join(capfd.readouterr()) + caplog.text
    assert "r1 transcriptions 200, 70.0 s of sound in" in said and "RuntimeError at" in said
    assert [word for word in SECRETS if word in said + broken.text] == []
    assert (list(tmp_path.rglob("*")), rolled) == ([], [])


def test_the_engine_is_that_of_evaluation_overlaps_join_as_they_do_there(served: Served) -> None:
    """Two pieces that both heard "two three": it stands once."""
    texts = PieceTexts({0: "one two three", 1: "two three four", 2: "four five"})
    noise = (0.1 * np.random.default_rng(3).standard_normal(12 * 16000)).astype(np.float32)
    with serving(FakeModel(texts=texts), decoding=decoding(overlap_s=1.0)) as overlapping:
        assert json.loads(overlapping.transcribe(wav_bytes(noise)).body)["text"] == "one two three four five"


def test_the_page_and_what_it_asks_are_there_and_load_nothing_from_elsewhere(served: Served) -> None:
    page = served.ask("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert named == ["data:,", "/page/page.css", "/page/page.js"]
    files = [served.ask("GET", path) for path in (*named[1:], "/page/microphone.js")]
    assert [one.status for one in files] == [200] * 3
    assert not re.search("https?://", "".join(one.text for one in (page, *files)))
    assert f"ws://127.0.0.1:{served.port} " in page.headers["content-security-policy"]
    assert served.ask("GET", "/page/../app.py").status == 404
    facts = served.ask("GET", "/page.json").json
    assert (facts["name"], facts["takes_language"], facts["times_words"], facts["listens"]) == (
        "tuned",
        True,
        False,
        False,
    )
    assert "Arabic" in facts["languages"]


def test_the_pages_uploads_come_piece_by_piece(served: Served) -> None:
    own = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    answer = served.ask("POST", "/page/transcriptions", form(long_wav(), verbose()), own)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["kind"] for one in lines] == ["piece"] * 3 + ["final"]
    assert {one["text"] for one in lines[:3]} == {"one two", "", "three."} and lines[0]["duration"] == 12.0
    alone = served.transcribe(long_wav(), *verbose()).json
    assert lines[-1] | {"usage": alone["usage"]} == {"kind": "final", "num_words": [0, 0]} | alone
    [wrong] = served.ask("POST", "/page/transcriptions", form(b"<html>", verbose()), own).text.splitlines()
    assert json.loads(wrong)["error"]["message"].startswith("the recording: is a web page")
    assert served.ask("POST", "/page/transcriptions", form(b"x"), own).error["param"] == "response_format"


def test_a_place_is_free_again_after_the_pages_uploads_however_they_end() -> None:
    own = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    with serving(limits=LimitsConfig(max_requests=1)) as served:
        for body in (form(b"x"), form(b"<html>", verbose()), form(wav_bytes(tone(1.0)), verbose()), b"no form"):
            assert served.ask("POST", "/page/transcriptions", body, own).status in (200, 400)
            wait_until(lambda: served.transcribe(b"").status == 400)  # not 429
