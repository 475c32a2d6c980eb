"""Failures of calls under ``/v1``, in the form that OpenAI's SDKs read."""

from __future__ import annotations

import math

import msgspec
from aiohttp import web

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import problems
from operator_svc.protocol.faults import missing_field
from operator_svc.protocol.headers import BEARER, SHOULD_RETRY
from operator_svc.protocol.openai_answers import ErrorAnswer, ErrorBody
from operator_svc.services.auth import WrongTokenError

BASE = "/v1"
MOST_RETRY_AFTER = 120
"""Seconds; SDKs that are told more choose a wait of their own."""
BAD_REQUESTS = frozenset({400, 404, 405, 409, 413, 415, 422})
CODES = {
    ErrorCode.AUTH_REQUIRED: "invalid_api_key",
    ErrorCode.RATE_LIMITED: "rate_limit_exceeded",
}


NAMED_BY_FIELD: dict[tuple[ErrorCode, str | None], str] = {
    (ErrorCode.INVALID_PARAMETER, "previous_response_id"): "previous_response_not_found",
}
"""Codes of OpenAI's for failures of a certain field."""


def is_below(path: str) -> bool:
    """True for a path whose failures have this form, the unknown ones among them too."""
    return path == BASE or path.startswith(f"{BASE}/")


def status_of(error: OperatorError) -> int:
    """The HTTP status: a wrong token is 401 here, and a body that is not valid 400."""
    if isinstance(error, WrongTokenError):
        return 401
    return 400 if error.code is ErrorCode.VALIDATION_ERROR else error.code.status


def body_of(error: OperatorError) -> ErrorAnswer:
    """The answer's body, which a stream sends as an event."""
    status = status_of(error)
    param = None
    if error.errors:
        param, _ = missing_field((error.errors[0]["field"], error.errors[0]["reason"]))
    code = CODES.get(error.code) or NAMED_BY_FIELD.get((error.code, param), str(error.code))
    if status == 401:
        code = "invalid_api_key"
    return ErrorAnswer(
        ErrorBody(
            message=error.detail,
            type=_type(status),
            param=param,
            code=code,
        )
    )


def _type(status: int) -> str:
    match status:
        case 401:
            return "authentication_error"
        case 403:
            return "permission_error"
        case 429:
            return "rate_limit_error"
    return "invalid_request_error" if status in BAD_REQUESTS else "server_error"


def answer(error: OperatorError) -> web.Response:
    """The whole answer to a call that failed."""
    status = status_of(error)
    headers = {**error.headers, "Content-Type": "application/json"}
    retry_after = error.retry_after
    if retry_after is None:
        retry_after = problems.DEFAULT_RETRY_AFTER.get(status)
    if retry_after is not None:
        headers["Retry-After"] = str(min(max(1, math.ceil(retry_after)), MOST_RETRY_AFTER))
    if status == 409 or (status >= 500 and "reply_id" in error.extra):
        # The message is stored: to ask again would be another call to the engine.
        headers[SHOULD_RETRY] = "false"
    if status == 401:
        headers["WWW-Authenticate"] = BEARER
    return web.Response(status=status, body=msgspec.json.encode(body_of(error)), headers=headers)
