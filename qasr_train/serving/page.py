"""Owns the routes of the page: its files, what it must know, and uploads answered piece by piece, as they are heard.

Input: an `Engine`, limits, the places of uploads. Output: routes of an application. An upload's answer is lines of JSON:
`{"kind": "piece", ...}` each, whose text may change yet, then `{"kind": "final", ...}`, a `verbose_json` that also tells how many
of its words each segment has, or `{"kind": "error", ...}`.
"""

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from qasr_train.serving.answers import verbose_answer
from qasr_train.serving.engine import Engine
from qasr_train.serving.fields import Asked, parse_fields
from qasr_train.serving.guard import VISIT, Visit
from qasr_train.serving.refusals import RefusedError, bad, not_found
from qasr_train.serving.settings import LimitsConfig
from qasr_train.serving.transcriptions import Places, hear_upload
from qasr_train.serving.uploads import read_form
from qasr_train.text.languages import LANGUAGES
from qasr_train.timed.base import TimedSegment

_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "serve"
_FILES = {"page.css": "text/css", "page.js": "text/javascript", "microphone.js": "text/javascript"}


def add_page(app: FastAPI, engine: Engine, limits: LimitsConfig, places: Places) -> None:
    """Put the page's routes into an application."""

    @app.get("/")
    async def page() -> Response:
        return FileResponse(_FOLDER / "page.html", media_type="text/html")

    @app.get("/page/{name}")
    async def file(name: str) -> Response:
        if name not in _FILES:
            raise not_found("the page has no such file")
        return FileResponse(_FOLDER / name, media_type=_FILES[name])

    @app.get("/page.json")
    async def facts() -> dict[str, Any]:
        ability = engine.ability
        languages = [*LANGUAGES, *ability.new_languages] if ability.takes_language else []
        own = {"max_upload_mb": limits.max_upload_mb, "max_audio_s": limits.max_audio_s}
        return dataclasses.asdict(ability) | {"languages": languages} | own

    @app.post("/page/transcriptions")
    async def transcriptions(request: Request) -> Response:
        visit: Visit = request.scope[VISIT]
        visit.what = "page transcriptions"
        place = places.take()  # for as long as its lines are sent
        try:
            fields, content = await read_form(request, max_bytes=limits.max_upload_bytes, idle_s=limits.idle_s)
            asked = parse_fields(fields, content, engine.ability)
            if asked.response_format != "verbose_json":
                raise bad("the page's uploads are answered as verbose_json alone", "response_format")
        except BaseException:
            place.free()
            raise
        lines = _lines(engine, asked, visit, limits)
        return StreamingResponse(place.kept_by(lines), media_type="application/x-ndjson")


async def _lines(engine: Engine, asked: Asked, visit: Visit, limits: LimitsConfig) -> AsyncGenerator[str, None]:
    pieces: asyncio.Queue[TimedSegment | None] = asyncio.Queue()
    doing = asyncio.ensure_future(hear_upload(engine, asked, visit, limits, on_piece=pieces.put_nowait))
    doing.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        while (piece := await pieces.get()) is not None:
            told = {"start": round(piece.start_s, 3), "end": round(piece.end_s, 3), "text": piece.text}
            yield _line("piece", told | {"duration": visit.sound_s})
        heard = doing.result()
        num_words = [len(segment.words) for segment in heard.segments]
        yield _line("final", verbose_answer(heard, asked.granularities) | {"num_words": num_words})
    except RefusedError as refused:
        yield _line("error", refused.body())
    finally:
        doing.cancel()


def _line(kind: str, content: dict[str, Any]) -> str:
    return json.dumps({"kind": kind} | content, ensure_ascii=False) + "\n"
