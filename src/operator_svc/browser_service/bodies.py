"""What ``POST /navigate`` takes and answers, and how a request's body is checked."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from operator_svc.errors import OperatorError
from operator_svc.protocol.decoding import decode

MAX_BODY = 256 * 1024
"""Largest body of a request, in bytes."""

MAX_URL = 8192
MAX_TIMEOUT_MS = 120_000
MAX_TEXT = 200_000
MAX_SCRIPT = 64 * 1024

_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)")

WaitUntil = Literal["commit", "domcontentloaded", "load", "networkidle"]


class Viewport(msgspec.Struct, frozen=True):
    """The window's size in CSS pixels."""

    width: Annotated[int, Meta(ge=16, le=3840)] = 1280
    height: Annotated[int, Meta(ge=16, le=2160)] = 720


class NavigateRequest(msgspec.Struct, frozen=True):
    """A page to open. ``script`` is an expression; ``text_limit`` counts code points."""

    url: Annotated[str, Meta(min_length=1, max_length=MAX_URL)]
    timeout_ms: Annotated[int, Meta(ge=1, le=MAX_TIMEOUT_MS)] = 30_000
    wait_until: WaitUntil = "load"
    full_page: bool = False
    viewport: Viewport | None = None
    script: Annotated[str, Meta(max_length=MAX_SCRIPT)] | None = None
    text_limit: Annotated[int, Meta(ge=0, le=MAX_TEXT)] = 20_000

    @property
    def window(self) -> Viewport:
        """The size of the window: the one asked for, or the usual one."""
        return self.viewport or Viewport()

    @property
    def scheme(self) -> str:
        """The address's scheme, in lower case."""
        return self.url.partition(":")[0].lower()


class Link(msgspec.Struct, frozen=True):
    """A link of the page: its whole address and its text."""

    url: str
    text: str


Status = Literal["ok", "timeout", "error", "blocked"]


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """What came of opening a page. ``screenshot`` is a PNG in base64."""

    status: Status
    url: str
    final_url: str
    http_status: int | None = None
    title: str = ""
    text: str = ""
    links: list[Link] = []
    screenshot: str | None = None
    script_result: Any = None
    console: list[str] = []
    error: str | None = None
    duration_ms: int


def decode_request(body: bytes) -> NavigateRequest:
    """Read the body of ``POST /navigate``; unknown fields are ignored.

    Raises OperatorError: invalid_json, or validation_error that names each wrong field.
    """
    request = decode(body, NavigateRequest)
    request = msgspec.structs.replace(request, url=request.url.strip(" \t\r\n"))
    if (problem := _url_problem(request.url)) is not None:
        raise OperatorError.invalid("url", problem)
    return request


def _url_problem(url: str) -> str | None:
    """Why ``url`` is none; what Chromium may find beyond that, it says itself."""
    if _CONTROL.search(url):
        return "must not contain spaces or control characters"
    match = _SCHEME.fullmatch(url)
    if match is None:
        return "must be a whole address, like https://example.org/"
    if match.group(1).lower() in ("http", "https") and not match.group(2).strip("/\\"):
        return "has no host"
    return None
