"""Problem details (RFC 9457). ``error`` is the code; ``request_id`` is also in the log;
``status_code`` and ``message`` repeat fields for older clients. The failure of a reply has its ids,
and that of a record has the record's fields.

The body also has ``error``, ``status_code`` and ``message``, which VX11's older clients read.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import headers
from operator_svc.protocol.closed_sets import Code

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "/errors/"
"""A problem's ``type`` is a reference to the page about its code."""
DEFAULT_RETRY_AFTER = {429: 1.0, 503: 5.0}
"""Seconds, where the failure itself does not know better."""


CODES: dict[int, ErrorCode] = {
    401: ErrorCode.AUTH_REQUIRED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    409: ErrorCode.CONFLICT,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    422: ErrorCode.VALIDATION_ERROR,
    429: ErrorCode.RATE_LIMITED,
}
"""The code for each status with which an HTTP library itself refuses a request."""


class FieldFault(msgspec.Struct, frozen=True):
    """A field of a request, and what is wrong with it."""

    field: str
    """The field's name."""
    reason: str
    """The reason why it is not valid."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Problem details (RFC 9457). ``error`` is the code; ``request_id`` stands in our log, too;
    ``status_code`` and ``message`` repeat what is there, for older clients. A failure that
    belongs to a reply has its ids, and one of a record has the record's fields."""

    type: str
    """A reference to the page about the error."""
    title: str
    """The kind of failure, for people."""
    status: int
    """The HTTP status."""
    detail: str
    """The failure, for people."""
    request_id: str
    """The request's id."""
    error: Code
    """The error's code."""
    status_code: int
    """The same as ``status``, for older clients."""
    message: str
    """The same as ``detail``, for older clients."""
    errors: list[FieldFault] | UnsetType = UNSET
    """The fields that are wrong."""


class ErrorKind(msgspec.Struct, frozen=True, kw_only=True):
    """An error code: its status and meaning, and whether trying again may help."""

    error: str
    """The error's code."""
    status: int
    """The HTTP status."""
    title: str
    """The kind of failure, for people."""
    retryable: bool
    """True where trying again may help."""


class ProblemResponse(NamedTuple):
    """An HTTP response that carries a problem, whichever library sends it."""

    status: int
    headers: dict[str, str]
    body: bytes


def kind_of(code: ErrorCode) -> ErrorKind:
    """The content of the page that a problem's ``type`` leads to."""
    return ErrorKind(
        error=str(code), status=code.status, title=code.summary, retryable=code.retryable
    )


def answer(error: OperatorError, request_id: str, status: int | None = None) -> ProblemResponse:
    """The whole answer to a call that failed with ``error``; ``status`` where it is not the
    code's own."""
    status = error.code.status if status is None else status
    sent = {**error.headers, "Content-Type": CONTENT_TYPE}
    retry_after = error.retry_after
    if retry_after is None:
        retry_after = DEFAULT_RETRY_AFTER.get(status)
    if retry_after is not None:
        sent["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if status == 401:
        sent["WWW-Authenticate"] = f"{headers.TOKEN}, {headers.BEARER}"
    return ProblemResponse(status, sent, msgspec.json.encode(body_of(error, request_id, status)))


def body_of(error: OperatorError, request_id: str, status: int | None = None) -> dict[str, Any]:
    """The members of the problem's JSON object."""
    code = error.code
    status = code.status if status is None else status
    shown = Problem(
        type=f"{TYPE_PREFIX}{code}",
        title=code.summary,
        status=status,
        detail=error.detail,
        request_id=request_id,
        error=str(code),
        status_code=status,
        message=error.detail,
        errors=[FieldFault(**fault) for fault in error.errors] if error.errors else UNSET,
    )
    body: dict[str, Any] = msgspec.to_builtins(shown)
    for name, value in error.extra.items():
        body.setdefault(name, value)
    return body
