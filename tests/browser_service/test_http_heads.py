"""Parsing of HTTP heads, without a browser."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.browser_service import http_heads


def request(text: str) -> http_heads.RequestHead:
    return http_heads.parse_request(text.encode("latin-1").split(b"\r\n"))


def test_request_is_parsed_without_hop_by_hop_headers() -> None:
    read = request(
        "GET http://a.test:81/p?q HTTP/1.1\r\nHost: evil\r\nProxy-Connection: keep-alive\r\n"
        "Proxy-Authorization: Basic x\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nTE: trailers\r\n"
        "Keep-Alive: 1\r\nUpgrade: h2c\r\nAccept: */*\r\nCookie: a=b"
    )
    assert read == http_heads.RequestHead(
        False,
        "a.test",
        81,
        b"GET /p?q HTTP/1.1\r\nHost: a.test:81\r\nAccept: */*\r\nCookie: a=b\r\n"
        b"Connection: close\r\n\r\n",
        0,
    )
    assert request("GET http://a.test HTTP/1.1").head.startswith(b"GET / HTTP/1.1\r\nHost: a.test")
    assert request("GET http://a.test? HTTP/1.1").head.startswith(b"GET /? ")
    assert request("CONNECT [::1]:443 HTTP/1.1") == http_heads.RequestHead(
        True, "[::1]", 443, b"", 0
    )
    assert request("POST http://a.test/ HTTP/1.1\r\nContent-Length: 7").body == 7
    chunked = request("POST http://a.test/ HTTP/1.1\r\nTransfer-Encoding: chunked")
    assert chunked.body is None
    assert b"Transfer-Encoding: chunked" in chunked.head


@pytest.mark.parametrize(
    "text",
    [
        "GET / HTTP/1.1\r\nHost: a.test",
        "GET http://a.test/",
        "GET http://a.test/ HTTP/2",
        "GET  http://a.test/ HTTP/1.1",
        "GET http://a.test/\t HTTP/1.1",
        "GET https://a.test/ HTTP/1.1",
        "GET ftp://a.test/ HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://user@a.test/ HTTP/1.1",
        "GET http://a.test:0/ HTTP/1.1",
        "GET http://a.test:99999/ HTTP/1.1",
        "GET http://a.test/#f HTTP/1.1",
        "GET http://a.test\\@b.test/ HTTP/1.1",
        "CONNECT a.test HTTP/1.1",
        "CONNECT a.test:443/ HTTP/1.1",
        "CONNECT http://a.test:443 HTTP/1.1",
        "CONNECT user@a.test:443 HTTP/1.1",
        "POST http://a.test/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        "POST http://a.test/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        "POST http://a.test/ HTTP/1.1\r\nContent-Length: +1",
        "POST http://a.test/ HTTP/1.1\r\nContent-Length: -1",
        "POST http://a.test/ HTTP/1.1\r\nContent-Length: 0x1",
        "POST http://a.test/ HTTP/1.1\r\nTransfer-Encoding: chunked, gzip",
        "GET http://a.test/ HTTP/1.1\r\nBad Header: x",
        "GET http://a.test/ HTTP/1.1\r\nX: a\x00b",
        "GET http://a.test/ HTTP/1.1\r\nX: a\nY: b",
        "GET http://a.test/ HTTP/1.1\r\n folded",
    ],
)
def test_ambiguous_request_is_refused(text: str) -> None:
    with pytest.raises(http_heads.BadHeadError):
        request(text)


def test_response_is_parsed_leniently_without_hop_by_hop_headers() -> None:
    answer = http_heads.parse_response(
        [b"HTTP/1.0 200 OK", b"Content-Length: 3", b"Connection: keep-alive, X-Hop", b"X-Hop: 1",
         b"Proxy-Authenticate: Basic", b"no header", b" folded", b"Set-Cookie: \xff=1", b"A:  b "]
    )  # fmt: skip
    assert answer == http_heads.ResponseHead(
        200,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nSet-Cookie: \xff=1\r\nA: b\r\n"
        b"Connection: close\r\n\r\n",
    )
    assert http_heads.parse_response([b"HTTP/1.1 404"]).status == 404
    for line in (b"SSH-2.0-x", b"HTTP/1.1 999 x", b"HTTP/2 200", b"HTTP/1.1 20", b""):
        with pytest.raises(http_heads.BadHeadError):
            http_heads.parse_response([line])


async def read(data: bytes, limit: int = 100, line_limit: int = 60) -> list[bytes]:
    reader = asyncio.StreamReader(limit=line_limit)
    reader.feed_data(data)
    reader.feed_eof()
    return await http_heads.read_lines(reader, limit)


async def test_head_past_a_limit_is_refused() -> None:
    assert await read(b"") == []
    assert await read(b"\r\nA\r\nB\n\nbody") == [b"A", b"B"]
    for cut in (b"A", b"A\r\n", b"A\r\nB"):
        with pytest.raises(http_heads.BadHeadError, match="cut"):
            await read(cut)
    with pytest.raises(http_heads.BadHeadError, match="large"):
        await read(b"A: 1\r\n" * 20)
    with pytest.raises(http_heads.BadHeadError, match="long"):
        await read(b"A" * 90 + b"\r\n\r\n")
