"""The one mapper from failures to answers: problem details (RFC 9457) with our error codes.

The body also has ``error``, ``status_code`` and ``message``, which VX11's older clients read.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType
from multidict import CIMultiDict

from operator_svc.errors import ErrorCode, OperatorError

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "/errors/"
"""A problem's ``type`` is a reference to the page about its code."""
DEFAULT_RETRY_AFTER = {429: 1.0, 503: 5.0}
"""Seconds, where the failure itself does not know better."""
INTERNAL_DETAIL = "the request failed inside Operator; its log knows why, under the request_id"


class FieldFault(msgspec.Struct, frozen=True):
    """A field of a request, and what is wrong with it."""

    field: str
    reason: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Problem details (RFC 9457). ``error`` is the code; ``request_id`` stands in our log, too;
    ``status_code`` and ``message`` repeat what is there, for older clients. A failure that
    belongs to a reply has its ids, and one of a record has the record's fields."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    error: str
    status_code: int
    message: str
    errors: list[FieldFault] | UnsetType = UNSET


class ErrorKind(msgspec.Struct, frozen=True, kw_only=True):
    """What an error code stands for, and whether trying again may help."""

    error: str
    status: int
    title: str
    retryable: bool


def kind_of(code: ErrorCode) -> ErrorKind:
    """What the page of a problem's ``type`` says."""
    return ErrorKind(
        error=str(code), status=code.status, title=code.summary, retryable=code.retryable
    )


_BY_STATUS = {
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
_encode = msgspec.json.Encoder().encode


def as_operator_error(error: BaseException) -> OperatorError:
    """``error`` as one of ours. What is not known is an internal_error that says nothing."""
    if isinstance(error, OperatorError):
        return error
    if isinstance(error, web.HTTPException) and 400 <= error.status < 500:
        code = _BY_STATUS.get(error.status, ErrorCode.INVALID_PARAMETER)
        headers = {}
        if isinstance(error, web.HTTPMethodNotAllowed):
            headers["Allow"] = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
        return OperatorError(code, code.summary, headers=headers)
    if isinstance(error, web.RequestPayloadError):
        return OperatorError(ErrorCode.INVALID_JSON, "the body could not be read")
    return OperatorError(ErrorCode.INTERNAL_ERROR, INTERNAL_DETAIL)


def problem(error: BaseException, request_id: str) -> web.Response:
    """The answer to a request that failed with ``error``."""
    known = as_operator_error(error)
    status = known.code.status
    if isinstance(error, web.HTTPException) and status != error.status and error.status < 500:
        status = error.status  # a rare one without a code of its own, such as 417
    headers: CIMultiDict[str] = CIMultiDict(known.headers)
    headers["Content-Type"] = CONTENT_TYPE
    retry_after = known.retry_after
    if retry_after is None:
        retry_after = DEFAULT_RETRY_AFTER.get(status)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "X-VX11-Token"
    return web.Response(status=status, body=_encode(body_of(known, status, request_id)),
                        headers=headers)  # fmt: skip


def body_of(error: OperatorError, status: int, request_id: str) -> dict[str, Any]:
    """The members of the problem's JSON object."""
    code = error.code
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
