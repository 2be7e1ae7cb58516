"""Owns the routes of the server: OpenAI's /v1/audio/transcriptions and /v1/models, /health; those of the page are beside it.

Input: an `Engine`, limits, the layout of subtitles, host names. Output: an ASGI application.
"""

import asyncio
import time
from collections.abc import Awaitable, Collection
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from qasr_train.serving.answers import answer
from qasr_train.serving.engine import Engine
from qasr_train.serving.fields import parse_fields
from qasr_train.serving.guard import VISIT, Guard, Visit
from qasr_train.serving.live import add_live
from qasr_train.serving.page import add_page
from qasr_train.serving.refusals import RefusedError, not_found
from qasr_train.serving.settings import LimitsConfig
from qasr_train.serving.transcriptions import Places, hear_upload
from qasr_train.serving.uploads import read_form
from qasr_train.timed.cues import CueLayout

Result = TypeVar("Result")


def build_app(engine: Engine, limits: LimitsConfig, layout: CueLayout, names: Collection[str] = ()) -> Guard:
    """The application. names: host names it may be called by, see `Guard`."""
    # No pages of FastAPI's own: they load their script from another site.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    places = Places(
        limits.max_requests,
        f"{limits.max_requests} recordings are being read, wait or are transcribed, and no more are taken; send it again later",
    )
    _add_errors(app)
    _add_openai(app, engine, limits, layout, places)
    add_page(app, engine, limits, places)
    add_live(app, engine, limits)
    return Guard(app, names)


def _add_openai(app: FastAPI, engine: Engine, limits: LimitsConfig, layout: CueLayout, places: Places) -> None:
    created = int(time.time())

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(request: Request) -> Response:
        visit: Visit = request.scope[VISIT]
        visit.what = "transcriptions"
        with places.taken():
            fields, content = await read_form(request, max_bytes=limits.max_upload_bytes, idle_s=limits.idle_s)
            asked = parse_fields(fields, content, engine.ability)
            heard = await _unless_gone(request, hear_upload(engine, asked, visit, limits))
        body, media_type = answer(heard, asked, layout)
        return Response(body, media_type=media_type)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(engine, created)]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name != engine.ability.name:
            raise not_found(f"no such model here; this server has {engine.ability.name}")
        return _model(engine, created)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}


def _add_errors(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return JSONResponse(error.body(), int(error.status), headers=error.headers())

    async def no_such_route(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = RefusedError(
            HTTPStatus(error.status_code), f"{error.detail}; see /v1/audio/transcriptions, /v1/models, /"
        )
        return JSONResponse(told.body(), error.status_code, headers=error.headers)

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # nginx's number for it; nobody reads it but the log

    async def bug(_: Request, __: Exception) -> Response:  # `Guard` tells the log where it is
        failed = RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; see its log")
        return JSONResponse(failed.body(), int(failed.status))

    app.add_exception_handler(Exception, bug)
    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(HTTPException, no_such_route)
    app.add_exception_handler(ClientDisconnect, gone)


def _model(engine: Engine, created: int) -> dict[str, Any]:
    return {"id": engine.ability.name, "object": "model", "created": created, "owned_by": "qasr_train"}


async def _unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """What `work` gives; it is cancelled where the client goes away before.

    Raises:
        ClientDisconnect: the client has gone.
    """
    doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        doing.cancel()
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
