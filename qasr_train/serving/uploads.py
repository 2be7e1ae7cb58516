"""Owns reading the form of an upload: into memory alone, refused as soon as it is too large, given up where nothing comes.

Input: a request with a body of multipart/form-data. Output: its fields, and the bytes of `file`. What the sender calls its file
is not kept. It is built on the parser of Starlette, which by itself limits all but the size of files.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from http import HTTPStatus

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from qasr_train.serving.refusals import RefusedError, bad

MAX_FIELD_BYTES = 16 * 1024  # of what is no file
_MAX_FIELDS = 32
_FRAME_BYTES = _MAX_FIELDS * MAX_FIELD_BYTES  # that a form may hold besides its file


class _InMemory(MultiPartParser):
    """Files stay in memory, where Starlette would put those over 1 MB on the disk."""

    spool_max_size = sys.maxsize


async def read_form(request: Request, *, max_bytes: int, idle_s: float) -> tuple[list[tuple[str, str]], bytes | None]:
    """(the fields that are no files, the bytes of `file` or None).

    Args:
        max_bytes: of the file. idle_s: seconds after which a client that stopped sending is given up.

    Raises:
        RefusedError: 400 no such form, 408 nothing came, 413 too large. ClientDisconnect: the client has gone.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise bad("the body is no form; send multipart/form-data with the recording as `file`")
    limit = max_bytes + _FRAME_BYTES
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > limit:
        raise _too_large(max_bytes)
    body = _limited(request, limit, max_bytes, idle_s)
    parser = _InMemory(request.headers, body, max_files=1, max_fields=_MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise bad(f"the form cannot be read: {error.message.rstrip('.')}") from None
    fields, content = [], None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            content = await _bytes_of(name, value, max_bytes)
        elif name == "file":
            raise bad("`file` came as text; send it as a file of the form, with a file name", "file")
        else:
            fields.append((name, value))
    return fields, content


async def _bytes_of(name: str, upload: UploadFile, max_bytes: int) -> bytes:
    if name != "file":
        raise bad(f"the file came as field {name[:40]!r}; send it as `file`", "file")
    content = await upload.read()
    await upload.close()
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


async def _limited(request: Request, limit: int, max_bytes: int, idle_s: float) -> AsyncGenerator[bytes, None]:
    chunks = request.stream()
    num_read = 0
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RefusedError(
                HTTPStatus.REQUEST_TIMEOUT, f"nothing came for {idle_s:g} s in the midst of the upload; send it again"
            ) from None
        num_read += len(chunk)
        if num_read > limit:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> RefusedError:
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the recording is larger than {max_bytes / 1e6:g} MB; send a shorter or a compressed one (`serve "
        "limits.max_upload_mb=...` allows more)",
        param="file",
    )
