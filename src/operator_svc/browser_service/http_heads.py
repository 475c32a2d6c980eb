"""HTTP/1.1 heads for a forward proxy: bounded reading, validation, hop-by-hop removal.

Bytes in, structs out. Chromium's requests must follow the grammar of RFC 9112; servers'
responses are read as leniently as browsers read them (bare line feeds, invalid header lines
dropped).
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_REQUEST_HEAD = 64 * 1024
MAX_RESPONSE_HEAD = 256 * 1024
"""Chromium's own limit for the head of a response."""

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]+) HTTP/1\.[01]")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] +([1-5][0-9]{2})(?: +([\t -~\x80-\xff]*))?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    }
)
"""RFC 9110, 7.6.1. ``Transfer-Encoding`` stays: bodies are forwarded unchanged."""


class BadHeadError(Exception):
    """A head that is not forwarded."""


class RequestHead(NamedTuple):
    """A request as the proxy forwards it. ``tunnel`` means CONNECT, which has no path."""

    tunnel: bool
    host: str
    port: int
    head: bytes
    """Bytes for the server; empty for a tunnel."""
    body: int | None
    """Length of the body in bytes; None where it is chunked."""


class ResponseHead(NamedTuple):
    """A response's status, and its head as Chromium gets it."""

    status: int
    head: bytes


async def read_lines(reader: asyncio.StreamReader, limit: int) -> list[bytes]:
    """Read the lines of a head up to the empty one; [] where the stream ends before any.

    Raises BadHeadError past ``limit`` bytes, or where the stream ends within the head.
    """
    lines: list[bytes] = []
    total = 0
    while True:
        try:
            line = await reader.readline()
        except ValueError:
            raise BadHeadError("a line is too long") from None
        total += len(line)
        if total > limit:
            raise BadHeadError("the head is too large")
        if not line.endswith(b"\n"):
            if not lines and not line:
                return []
            raise BadHeadError("the head was cut")
        line = line.rstrip(b"\r\n")
        if line:
            lines.append(line)
        elif lines:
            return lines


def parse_request(lines: list[bytes]) -> RequestHead:
    """Parse a proxy request (CONNECT, or an absolute ``http:`` URL); raises BadHeadError."""
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise BadHeadError("this is no request line")
    method, target = match.group(1), match.group(2).decode("ascii")
    if method == b"CONNECT":
        host, port = _authority(target, None)
        return RequestHead(True, host, port, b"", 0)
    url = urlsplit(target)
    if url.scheme != "http" or url.fragment:
        raise BadHeadError("only http is proxied")
    host, port = _authority(url.netloc, 80)
    headers = [_strict_header(line) for line in lines[1:]]
    path = (url.path or "/") + (f"?{url.query}" if "?" in target else "")
    kept = _without_hop_by_hop([(k, v) for k, v in headers if k.lower() != b"host"])
    head = b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (method, path.encode(), url.netloc.encode())
    return RequestHead(False, host, port, head + _render(kept), _body_length(headers))


def parse_response(lines: list[bytes]) -> ResponseHead:
    """Parse a server's response; raises BadHeadError where it is not HTTP/1."""
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise BadHeadError("this is no status line")
    matches = [_HEADER.fullmatch(line) for line in lines[1:]]
    headers = [(m.group(1), m.group(2)) for m in matches if m is not None]
    start = b"HTTP/1.1 %s %s\r\n" % (match.group(1), match.group(2) or b"")
    return ResponseHead(int(match.group(1)), start + _render(_without_hop_by_hop(headers)))


def _authority(text: str, default_port: int | None) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise BadHeadError("this is no host")
    port = int(match.group(2)) if match.group(2) else default_port
    if port is None or not 0 < port < 65536:
        raise BadHeadError("this is no port")
    return match.group(1), port


def _strict_header(line: bytes) -> tuple[bytes, bytes]:
    match = _HEADER.fullmatch(line)
    if match is None:
        raise BadHeadError("this is no header")
    return match.group(1), match.group(2)


def _without_hop_by_hop(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() in (b"connection", b"proxy-connection")
        for token in value.split(b",")
    } - {b"transfer-encoding", b"content-length"}
    return [h for h in headers if h[0].lower() not in _HOP_BY_HOP and h[0].lower() not in named]


def _render(headers: list[tuple[bytes, bytes]]) -> bytes:
    # One request a connection: no framing error can turn a body into a second request.
    lines = [b"%s: %s\r\n" % header for header in headers]
    return b"".join(lines) + b"Connection: close\r\n\r\n"


def _body_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
    if codings:
        if lengths or codings != [b"chunked"]:
            raise BadHeadError("the body's length is unclear")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise BadHeadError("the body's length is unclear")
    return int(lengths[0])
