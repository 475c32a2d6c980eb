"""Mapping of failures to answers: problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from aiohttp import web

from operator_svc.errors import ErrorCode, OperatorError, drop_frames
from operator_svc.protocol import headers, problems
from operator_svc.rest.openai import errors as openai_errors
from operator_svc.rest.request_context import request_id_of

log = structlog.get_logger(__name__)

INTERNAL_DETAIL = "the request failed inside Operator; its log knows why, under the request_id"


def as_operator_error(error: BaseException) -> OperatorError:
    """``error`` as one of ours. One that is not known is an internal_error that says nothing."""
    if isinstance(error, OperatorError):
        return error
    if isinstance(error, web.HTTPException) and 400 <= error.status < 500:
        code = problems.CODES.get(error.status, ErrorCode.INVALID_PARAMETER)
        fields = {}
        if isinstance(error, web.HTTPMethodNotAllowed):
            fields["Allow"] = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
        return OperatorError(code, code.summary, headers=fields)
    if isinstance(error, web.RequestPayloadError):
        return OperatorError(ErrorCode.INVALID_JSON, "the body could not be read")
    return OperatorError(ErrorCode.INTERNAL_ERROR, INTERNAL_DETAIL)


def problem(error: BaseException, request_id: str, path: str = "") -> web.Response:
    """The answer to a request that failed with ``error``; without a ``path`` it was not read."""
    if openai_errors.is_below(path):
        return openai_errors.answer(as_operator_error(error))
    status = None
    if isinstance(error, web.HTTPException) and 400 <= error.status < 500:
        status = error.status  # also a rare one without a code of its own, such as 417
    answer = problems.answer(as_operator_error(error), request_id, status)
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def failure(
    sent: Mapping[str, str], status: int, error: BaseException | None, message: str | None
) -> web.Response:
    """The response to malformed HTTP (400) or to an unexpected failure; it is logged. ``sent`` are
    the headers received so far."""
    request_id = request_id_of(sent)
    shown: BaseException = error or RuntimeError(message or "no cause is known")
    if status < 500:
        log.info("unreadable request", kind=type(error).__name__, request_id=request_id)
        shown = OperatorError(ErrorCode.INVALID_PARAMETER, "the request could not be read")
    else:
        log.error("request failed", exc_info=error, request_id=request_id)
    drop_frames(error)
    response = problem(shown, request_id)
    response.headers[headers.REQUEST_ID] = request_id
    response.headers[headers.CORRELATION_ID] = request_id
    response.headers["Server"] = "operator"
    return response
