"""``POST /navigate`` of the browser service: its request and its answer.

Operator and the browser service both read their limits here, so that a page that Operator
takes is one that the service takes, too.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from operator_svc.errors import OperatorError

DEFAULT_TIMEOUT_MS = 30_000
"""Time of a page whose caller sets none."""

Url = Annotated[str, Meta(min_length=1, max_length=8192)]
TimeoutMs = Annotated[int, Meta(ge=1, le=120_000)]
Script = Annotated[str, Meta(max_length=64 * 1024)]
"""A JavaScript expression."""
TextLimit = Annotated[int, Meta(ge=0, le=200_000)]
"""Code points of a page's text that are kept."""
WaitUntil: TypeAlias = Annotated[
    Literal["commit", "domcontentloaded", "load", "networkidle"], Meta(title="WaitUntil")
]
PageStatus: TypeAlias = Annotated[
    Literal["ok", "timeout", "error", "blocked"], Meta(title="PageStatus")
]

_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)")


class Viewport(msgspec.Struct, frozen=True):
    """The window's size in CSS pixels."""

    width: Annotated[int, Meta(ge=16, le=3840)] = 1280
    """Width in CSS pixels."""
    height: Annotated[int, Meta(ge=16, le=2160)] = 720
    """Height in CSS pixels."""


class NavigateRequest(msgspec.Struct, frozen=True):
    """A page to open."""

    url: Url
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS
    wait_until: WaitUntil = "load"
    full_page: bool = False
    viewport: Viewport | None = None
    script: Script | None = None
    text_limit: TextLimit = 20_000

    @property
    def window(self) -> Viewport:
        """The size of the window: the one asked for, or the usual one."""
        return self.viewport or Viewport()

    @property
    def scheme(self) -> str:
        """The address's scheme, in lower case."""
        return self.url.partition(":")[0].lower()


PAGE_FIELDS = NavigateRequest.__struct_fields__[1:]
"""The fields of a request beside its address; all have defaults."""


class Link(msgspec.Struct, frozen=True):
    """A link of the page: its whole address and its text."""

    url: str
    text: str


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: a page as it was seen. ``screenshot`` is a PNG, in base64 where it travels."""

    status: PageStatus
    url: str
    final_url: str
    http_status: int | None = None
    title: str = ""
    text: str = ""
    links: list[Link] = []
    screenshot: bytes | None = None
    script_result: Any = None
    console: list[str] = []
    error: str | None = None
    duration_ms: int


def checked_url(url: str) -> str:
    """``url`` without white space around it.

    Raises OperatorError(validation_error) for what cannot be read as an address. One that may
    not be opened passes: its visit ends as ``blocked``.
    """
    url = url.strip(" \t\r\n")
    if (fault := _url_fault(url)) is not None:
        raise OperatorError.invalid("url", fault)
    return url


def _url_fault(url: str) -> str | None:
    if _CONTROL.search(url):
        return "must not contain spaces or control characters"
    match = _SCHEME.fullmatch(url)
    if match is None:
        return "must be a whole address, like https://example.org/"
    if match.group(1).lower() in ("http", "https") and not match.group(2).strip("/\\"):
        return "has no host"
    return None
