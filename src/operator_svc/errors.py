"""The one list of errors that Operator answers with, and the exception that carries them.

HTTP answers, websocket results and stored failures all use the same codes, so a client
learns them once. The list and its statuses are part of the published contract.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

EXIT_CONFIGURATION = 2
"""Exit status of a process whose settings do not allow a start; click's own for wrong usage."""
EXIT_TEMPORARY = 75
"""Exit status of what may work when it is tried again (EX_TEMPFAIL of sysexits.h)."""


class _Kind(NamedTuple):
    status: int
    summary: str
    retryable: bool


class ErrorCode(enum.StrEnum):
    """A stable error code; ``status``, ``summary`` and ``retryable`` belong to it."""

    status: int
    summary: str
    retryable: bool

    def __new__(cls, code: str, kind: _Kind) -> ErrorCode:
        member = str.__new__(cls, code)
        member._value_ = code
        member.status, member.summary, member.retryable = kind
        return member

    @classmethod
    def named(cls, code: object) -> ErrorCode | None:
        """The member of this code, or None where there is none."""
        return next((member for member in cls if member == code), None)

    INVALID_JSON = "invalid_json", _Kind(400, "The body is not valid JSON", False)
    INVALID_PARAMETER = "invalid_parameter", _Kind(400, "A parameter is not valid", False)
    AUTH_REQUIRED = "auth_required", _Kind(401, "A token is required", False)
    FORBIDDEN = "forbidden", _Kind(403, "This is not allowed", False)
    SESSION_NOT_FOUND = "session_not_found", _Kind(404, "There is no such session", False)
    MESSAGE_NOT_FOUND = "message_not_found", _Kind(404, "There is no such message", False)
    REPLY_NOT_FOUND = "reply_not_found", _Kind(404, "There is no such reply", False)
    TASK_NOT_FOUND = "task_not_found", _Kind(404, "There is no such task", False)
    TOOL_CALL_NOT_FOUND = "tool_call_not_found", _Kind(404, "There is no such tool call", False)
    ADJUSTMENT_NOT_FOUND = "adjustment_not_found", _Kind(404, "There is no such adjustment", False)
    MODEL_NOT_FOUND = "model_not_found", _Kind(404, "There is no such model", False)
    NOT_FOUND = "not_found", _Kind(404, "There is nothing at this address", False)
    METHOD_NOT_ALLOWED = (
        "method_not_allowed",
        _Kind(405, "This method is not allowed here", False),
    )
    CONFLICT = "conflict", _Kind(409, "The request conflicts with the current state", False)
    PAYLOAD_TOO_LARGE = "payload_too_large", _Kind(413, "The body is too large", False)
    UNSUPPORTED_MEDIA_TYPE = (
        "unsupported_media_type",
        _Kind(415, "The body must be application/json", False),
    )
    VALIDATION_ERROR = "validation_error", _Kind(422, "A field is not valid", False)
    RATE_LIMITED = "rate_limited", _Kind(429, "Too many requests", True)
    INTERNAL_ERROR = "internal_error", _Kind(500, "Operator had an internal error", True)
    SWITCH_ERROR = "switch_error", _Kind(502, "Switch returned no usable response", True)
    NO_ANSWER = "no_answer", _Kind(502, "The engine ended its reply without text", True)
    CONTENT_FILTERED = "content_filtered", _Kind(502, "A filter withheld the reply", False)
    REPLY_TOO_LARGE = "reply_too_large", _Kind(502, "The reply is too large", False)
    PEER_ERROR = "peer_error", _Kind(502, "A peer returned no usable response", True)
    SWITCH_UNAVAILABLE = "switch_unavailable", _Kind(503, "Switch cannot be reached", True)
    SWITCH_BUSY = "switch_busy", _Kind(503, "Switch has too many requests", True)
    REPLY_INTERRUPTED = "reply_interrupted", _Kind(503, "The reply was interrupted", True)
    BROWSER_UNAVAILABLE = (
        "browser_unavailable",
        _Kind(503, "The browser service cannot be reached", True),
    )
    PEER_UNAVAILABLE = "peer_unavailable", _Kind(503, "A peer cannot be reached", True)
    AUTH_UNAVAILABLE = (
        "auth_unavailable",
        _Kind(503, "The keys of signed tokens are unavailable", True),
    )
    DATABASE_UNAVAILABLE = (
        "database_unavailable",
        _Kind(503, "The database cannot be reached", True),
    )
    DRAINING = "draining", _Kind(503, "This process is stopping", True)
    SWITCH_TIMEOUT = "switch_timeout", _Kind(504, "Switch did not answer in time", True)
    PEER_TIMEOUT = "peer_timeout", _Kind(504, "A peer did not answer in time", True)


class OperatorError(Exception):
    """A failure that is shown to a client, by its code and a ``detail`` that is safe to show.

    ``errors`` names the fields of a validation error as ``{"field", "reason"}``;
    ``retry_after`` is in seconds; ``extra`` is put into the answer's body as it is.
    What must not reach a client (an upstream's own words, a driver's message) belongs
    into ``__cause__`` or the log, never into ``detail``.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.headers = headers or {}
        self.extra = extra or {}

    @classmethod
    def invalid(cls, field: str, reason: str) -> OperatorError:
        """A validation error of one field."""
        return cls(
            ErrorCode.VALIDATION_ERROR,
            f"{field}: {reason}",
            errors=[{"field": field, "reason": reason}],
        )


class ConfigurationError(Exception):
    """The settings do not allow a start; one line of ``problems`` for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class NoTokenError(ConfigurationError):
    """The settings name no token, and do not say that callers need none."""


def drop_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error that was dealt with, and of those that it came from.

    Who keeps such an error (a body's reader, a route that does not match) would keep by its frames
    the whole request, in a cycle that waits for the garbage collector.
    """
    errors = [error]
    dropped: set[int] = set()  # an error may come from one that came from it
    while errors:
        one = errors.pop()
        if one is not None and id(one) not in dropped:
            dropped.add(id(one))
            one.__traceback__ = None
            errors += [one.__cause__, one.__context__]
