"""The errors of a client."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec


class ClientError(Exception):
    """Operator refused something, or cannot be reached.

    ``code`` is one of Operator's error codes (``/errors/{code}`` explains them), or one of the
    client's own: ``unreachable`` where nothing answers, ``no_operator`` where something else does,
    ``refused`` and ``closed`` where a websocket is not let in, or ended for good. ``status`` is
    that of HTTP or the close code. ``retry_after`` are seconds, where Operator asks for a pause.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retryable: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{detail} ({code})")
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.status = status
        self.retry_after = retry_after


RETRYABLE = frozenset({429, 503, 504})
"""Statuses after which the same call may succeed."""


def refusal(status: int, headers: Mapping[str, str], content: bytes, url: str) -> ClientError:
    """The error of an answer that is none of the good ones: a problem (RFC 9457), or below
    ``/v1`` an error as OpenAI's SDKs know it. ``no_operator`` where it is neither."""
    code, detail = _told(content)
    if not code:
        return no_operator(url, status, headers)
    return ClientError(
        code,
        detail,
        retryable=status in RETRYABLE,
        status=status,
        retry_after=retry_after(headers),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that ``Retry-After`` asks for, which is a number or a date (RFC 9110)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for a year of many digits
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max((until - datetime.now(UTC)).total_seconds(), 0.0)


def reason(error: Exception) -> str:
    """A few words for a connection that failed, without the addresses that were tried."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, aiohttp.WSServerHandshakeError):
        return f"it answered with HTTP status {cause.status}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed ({cause.reason or type(cause).__name__})"
    if isinstance(cause, TimeoutError):
        return "no response in time"
    if isinstance(cause, socket.gaierror):
        return str(cause.strerror)
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return "the connection broke off"


def no_operator(url: str, status: int, headers: Mapping[str, str]) -> ClientError:
    """The error of an answer that Operator does not give. A proxy's 502, 503 or 504 may pass."""
    return ClientError(
        "no_operator",
        f"the server at {url} is not Operator",
        retryable=status in RETRYABLE or status == 502,
        status=status,
        retry_after=retry_after(headers),
    )


def _told(content: bytes) -> tuple[str, str]:
    try:
        body: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", ""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return str(error.get("code") or error.get("type") or ""), str(error.get("message", ""))
    return (error, str(body.get("detail", ""))) if isinstance(error, str) else ("", "")
