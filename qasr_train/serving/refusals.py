"""Owns what a client is told where its request cannot be met: a status and a sentence, in the shape that OpenAI's clients read.

Input: what is wrong. Output: `RefusedError`, and its JSON.
"""

from http import HTTPStatus
from typing import Any

_TYPES = {
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
}


class RefusedError(Exception):
    """A request that is answered with an error. param: the field of the form it is about. retry_s: seconds to wait."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry_s = status, message, param, code, retry_s

    def headers(self) -> dict[str, str]:
        """Besides those of every answer."""
        return {} if self.retry_s is None else {"retry-after": str(self.retry_s)}

    def body(self) -> dict[str, Any]:
        """As OpenAI's clients read it."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def not_found(message: str) -> RefusedError:
    """404: nothing lies there."""
    return RefusedError(HTTPStatus.NOT_FOUND, message)


def bad(message: str, param: str | None = None, code: str | None = None) -> RefusedError:
    """400: the request itself is wrong."""
    return RefusedError(HTTPStatus.BAD_REQUEST, message, param=param, code=code)
