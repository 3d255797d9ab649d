"""Every error is one document: `application/problem+json` with a stable `code`.

    {"type": "/problems/order_not_found", "title": …, "status": 404, "code": …, "detail": …,
     "errors": [{"field": "qty", "message": …}]}

`title` says what happened, `detail` what is safe and what to do. Nothing internal is shown: a
bug answers with a `reference` that the log also has, and the log has no token and no number.
"""

import logging
import re
import traceback
from collections.abc import Mapping
from secrets import token_hex
from typing import Any

import msgspec
from asyncpg.exceptions import InterfaceError, PostgresError
from litestar.connection import Request
from litestar.exceptions import HTTPException, ValidationException
from litestar.response import Response
from litestar.types import ExceptionHandlersMap
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.errors import BadInput, KaituanError, NotSignedIn, TooMany, Unavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

_encode = msgspec.json.Encoder().encode
_AT = re.compile(r"^(.*?)(?: - at `(?:key in )?\$\.?(.*)`)?$", re.DOTALL)


class FieldError(msgspec.Struct):
    """One wrong field: its path (`offers[0].total`, or empty) and what is wrong with it."""

    field: str
    message: str


class Problem(msgspec.Struct, omit_defaults=True):
    """The document that every error answers with; some codes add members of their own."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    errors: list[FieldError] = []


def document(
    status: int, code: str, title: str, detail: str = "", extra: Mapping[str, object] | None = None
) -> bytes:
    """The JSON of a problem; `extra` members come last."""
    body = Problem(f"/problems/{code}", title, status, code, detail)
    return _encode({**msgspec.to_builtins(body), **(extra or {})})


def headers_of(error: KaituanError) -> dict[str, str]:
    """`Retry-After` (whole seconds) where trying again is the thing to do, else how to sign in."""
    if isinstance(error, NotSignedIn):
        return {"WWW-Authenticate": "Bearer"}
    if not isinstance(error, Unavailable | TooMany):
        return {}
    wait_ms = error.extra.get("retry_after_ms")
    wait_s = -(-wait_ms // 1000) if isinstance(wait_ms, int) else RETRY_AFTER_S
    return {"Retry-After": str(wait_s)}


def field_error(text: str) -> FieldError:
    """msgspec's words ("Expected … - at `$.qty`") as a field and a message."""
    match = _AT.match(text)
    assert match is not None
    return FieldError(match[2] or "", match[1])


def bad_body(error: msgspec.MsgspecError | UnicodeDecodeError) -> BadInput:
    """The error of a body that is no JSON, or not the JSON that is wanted here."""
    if not isinstance(error, msgspec.ValidationError):
        return BadInput(
            "malformed_json",
            "The request's body is not JSON.",
            "Nothing was changed. Send a JSON object in UTF-8.",
        )
    wrong = field_error(str(error))
    where = f"`{wrong.field}`: " if wrong.field else ""
    return BadInput(
        "invalid_body",
        "The request's body does not fit.",
        f"{where}{wrong.message}. Nothing was changed.",
        errors=[wrong],
    )


def unreachable() -> Unavailable:
    """The answer while PostgreSQL (or the control client of the hot store) does not answer."""
    return Unavailable(
        "busy",
        "This cannot be looked up right now.",
        "Nothing was changed by this answer. Try again in a moment.",
    )


def is_store_trouble(error: BaseException) -> bool:
    """Whether a store did not answer (and not: refused what we sent, which would be a bug)."""
    cause: BaseException | None = error
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause = error.orig.__cause__ if error.orig is not None else None
    if isinstance(cause, PostgresError):
        # 08 connection, 53 resources, 57 shutdown, cancelled or still starting
        return str(cause.sqlstate)[:2] in ("08", "53", "57")
    return isinstance(cause, PoolTimeout | RedisError | OSError | EOFError | InterfaceError)


def internal(error: BaseException) -> KaituanError:
    """Log a bug under a reference and give the error that names only that.

    Only the frames and the kind are logged: an error's text can quote a row (a phone's hash, a
    key), and logs hold none of these. Our own errors carry no such text.
    """
    reference = token_hex(6)
    frames = "".join(traceback.format_tb(error.__traceback__))
    said = f": {error}" if isinstance(error, KaituanError | AssertionError) else ""
    log.error("%s %s%s\n%s", reference, type(error).__qualname__, said, frames)
    return KaituanError(
        "internal",
        "Something went wrong on our side.",
        "It has been written down under this reference. Orders and payments are safe.",
        reference=reference,
    )


def as_kaituan(error: BaseException) -> KaituanError:
    """Any exception as one of our errors."""
    if isinstance(error, KaituanError):
        return error
    return unreachable() if is_store_trouble(error) else internal(error)


def answer(error: KaituanError) -> Response[bytes]:
    """An error of the tree as the framework's response."""
    return Response(
        content=document(error.status, error.code, error.title, error.detail, error.extra),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=headers_of(error),
    )


def _on_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return answer(as_kaituan(error))


# What Litestar itself raises, in our words.
_HTTP: dict[int, tuple[str, str, str]] = {
    400: ("bad_request", "The request cannot be understood.", "Nothing was changed."),
    404: ("route_not_found", "There is nothing at this address.", "Check the path."),
    405: ("method_not_allowed", "This address does not take this method.", "See the Allow header."),
    413: ("body_too_large", "The request's body is too large.", "Nothing was changed."),
    415: ("unsupported_media_type", "This kind of body is not taken here.", "Send JSON."),
}


def _on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own errors; each known status has one code, other 4xx keep their status."""
    if isinstance(error, ValidationException):
        return answer(_invalid(error))
    status = error.status_code
    if status >= 500:
        return answer(internal(error))
    code, title, detail = _HTTP.get(status, _HTTP[400])
    return Response(
        content=document(status, code, title, detail),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=dict(error.headers or {}),
    )


def _invalid(error: ValidationException) -> BadInput:
    """Wrong parameters of path, query or header, each with its name."""
    found = error.extra if isinstance(error.extra, list) else []
    errors = [
        FieldError(str(item.get("key", "")), field_error(str(item.get("message", ""))).message)
        for item in found
        if isinstance(item, dict)
    ]
    detail = "; ".join(f"`{wrong.field}`: {wrong.message}" for wrong in errors)
    return BadInput(
        "invalid_request",
        "A parameter of this request does not fit.",
        f"{detail or error.detail}. Nothing was changed.",
        errors=errors,
    )


HANDLERS: ExceptionHandlersMap = {
    HTTPException: _on_http_error,
    KaituanError: _on_error,
    Exception: _on_error,
}
