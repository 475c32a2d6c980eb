"""Checks of settings that types cannot express: URLs of peers, and JSON in a variable.

``check-config`` and ``serve`` refuse the same values, because both read settings here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, get_args, get_origin
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^\s/?#@*]+(?::\*)?")
_HOST = re.compile(r"[^\s/\\?#@<>\"%{}|^`]+")
OWN_HEADERS = frozenset(
    {
        "accept", "accept-encoding", "connection", "content-length", "content-type", "host",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that say how Operator sends a call, and how it reads the answer."""
OWN_FIELDS = frozenset({"messages", "stream"})
"""Fields of a chat's body that are the chat itself."""
_SECRET_NAME = re.compile("key|token|sig|secret|pass|pwd|auth|code", re.IGNORECASE)
"""Parameters of an address that may be secrets."""


def split_url(url: str) -> SplitResult:
    """The parts of a peer's address; raises ValueError, with words for its user."""
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError("must not contain spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        raise ValueError("must name a host")
    if port == 0:
        raise ValueError("must not have the port 0")
    if parts.fragment:
        raise ValueError("must not have a fragment (#)")
    return parts


def jwks_url(url: str) -> None:
    """Check the URL of a key set; raises ValueError. Over plain HTTP, anybody on the way could
    replace the keys."""
    parts = split_url(url)
    if parts.scheme == "https" or is_loopback(parts.hostname or ""):
        return
    raise ValueError("must begin with https://, except for this machine's own")


def public_url(url: str) -> None:
    """Check the address that clients use; raises ValueError. A ``host:port`` will do, as the
    terminal takes the same variable."""
    parts = split_url(url if "://" in url else f"http://{url}")
    if parts.query:
        raise ValueError("must not have a query (?)")


def origins_of(text: str) -> frozenset[str]:
    """The origins of a list, as browsers write them; raises ValueError for what no page has, such
    as ``*``."""
    found = frozenset(one.strip().rstrip("/").lower() for one in text.split(","))
    for origin in sorted(found - {""}):
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"must be a list of origins such as https://app.example.org, not {origin!r}"
            )
    return found - {""}


def is_loopback(host: str) -> bool:
    """True for a name or an address of this machine's own."""
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def header_value(text: str) -> None:
    """Check a secret that is sent in a header; raises ValueError."""
    if not _HEADER_VALUE.fullmatch(text):
        raise ValueError("must be a one-line Latin-1 string, because it is sent in a header")


def headers_of(text: str) -> dict[str, str]:
    """The headers of a JSON object; raises ValueError, with words for its user."""
    headers = _object(text)
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"has {name!r}, which is not a valid header name")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"needs a one-line Latin-1 string for {name}")
        if name.lower() in OWN_HEADERS:
            raise ValueError(f"must not have {name}, which Operator sets itself")
    return headers


def body_of(text: str) -> dict[str, Any]:
    """The fields of a JSON object; raises ValueError, with words for its user."""
    fields = _object(text)
    for name in OWN_FIELDS & fields.keys():
        raise ValueError(f"must not have {name}, which Operator sets itself")
    return fields


def without_secrets(url: str) -> str:
    """``url`` as it may be shown: without its password, and secrets in its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    if "://" not in url:
        return "***" if "@" in url else url
    if parts.password is not None:
        host = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{parts.username}:***@{host}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if any(_SECRET_NAME.search(name) for name, _ in pairs):
        shown = [(name, "***" if _SECRET_NAME.search(name) else value) for name, value in pairs]
        parts = parts._replace(query=urlencode(shown, safe="*/:"))
    return urlunsplit(parts)


def _object(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("must be a JSON object") from None


def allowed_values(kind: Any) -> str:
    """The values that a setting of this type accepts, in a few words."""
    bounds: dict[str, Any] = {}
    while getattr(kind, "__metadata__", None) is not None:
        for meta in kind.__metadata__:
            bounds |= {
                name: getattr(meta, name)
                for name in ("ge", "gt", "le", "min_length")
                if getattr(meta, name) is not None
            }
        kind = kind.__origin__
    if get_origin(kind) is not None:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    name = {int: "integer", float: "number", str: "text"}[kind]
    if "min_length" in bounds:
        return f"{name}, not empty"
    low = f"{bounds['ge']:,}" if "ge" in bounds else f"over {bounds.get('gt', 0):,}"
    return f"{name}, {low} to {bounds['le']:,}" if bounds else name
