"""The rules without a browser: addresses, the allow list, names, heads, the queue."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operator_svc.browser_service import http_heads
from operator_svc.browser_service.addresses import AllowList, is_metadata, refusal
from operator_svc.browser_service.admission_queue import AdmissionQueue
from operator_svc.browser_service.egress_policy import (
    EgressPolicy,
    SystemResolver,
    UnreachableError,
)
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError

OPEN = ["1.1.1.1", "93.184.215.14", "100.63.255.255", "172.32.0.1", "198.17.255.255",
        "223.255.255.255", "2606:4700:4700::1111", "2a00::1", "2620:4f:8000::1"]  # fmt: skip


@pytest.mark.parametrize("address", OPEN)
def test_the_open_internet_is_open(address: str) -> None:
    assert refusal(ip_address(address)) is None


addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.integers(0, 2**125 - 1).map(lambda n: IPv6Address((1 << 125) | n)),
    st.integers(0, 2**32 - 1).map(lambda n: IPv6Address((0xFFFF << 32) | n)),
    st.integers(0, 2**112 - 1).map(lambda n: IPv6Address((0x2002 << 112) | n)),
)


@given(addresses)
@example(ip_address("100.64.0.0"))
@example(ip_address("192.0.0.9"))
@example(ip_address("2001:4:112::1"))
def test_nothing_passes_that_python_knows_as_special(address: IPv4Address | IPv6Address) -> None:
    """The standard library has its own list of IANA's registries; ours is no wider."""
    if refusal(address) is None:
        assert address.is_global
        assert not any((address.is_multicast, address.is_private, address.is_link_local))


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254",
     "2002:a9fe:a9fe::", "::169.254.169.254", "fd00:ec2::254", "100.100.100.200",
     "168.63.129.16", "fd20:ce::254"],
)  # fmt: skip
def test_metadata_is_known_in_every_form(address: str) -> None:
    assert is_metadata(ip_address(address))
    assert refusal(ip_address(address)) == "a cloud's metadata service"


def test_an_allow_list_is_read() -> None:
    allow = AllowList.parse(
        " 10.1.0.0/16, 192.168.7.9 ,[::1], fd00::/8, Intra.Example., *.corp.test,"
    )
    assert allow.allows_address(ip_address("10.1.255.1"))
    assert not allow.allows_address(ip_address("10.2.0.1"))
    assert allow.allows_address(ip_address("192.168.7.9"))
    assert allow.allows_address(ip_address("::1"))
    assert allow.allows_address(ip_address("fd12::1"))
    assert not allow.allows_address(ip_address("127.0.0.1"))
    assert allow.allows_host("INTRA.example")
    assert allow.allows_host("a.b.corp.test.")
    for other in ("corp.test", "xintra.example", "example", "evilcorp.test", "corp.test.evil"):
        assert not allow.allows_host(other)


@pytest.mark.parametrize(
    "entry", ["http://a", "a:80", "10.0.0.0/33", "1.2.3", "*", "*.", "a b", "a/b", "[x]:1", "-a"]
)
def test_a_bad_entry_of_the_allow_list_is_named(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="BROWSER_ALLOW") as caught:
        AllowList.parse(f"ok.test, {entry}")
    assert len(caught.value.problems) == 1


def gate(table: dict[str, list[str]], allow: str = "") -> EgressPolicy:
    async def resolve(name: str) -> list[str]:
        if name not in table:
            raise OSError
        return table[name]

    return EgressPolicy(AllowList.parse(allow), resolve)


async def test_one_bad_address_refuses_the_whole_name() -> None:
    table = {"mixed.test": ["1.1.1.1", "::1"], "good.test": ["1.1.1.1", "2a00::1"], "no.test": []}
    with pytest.raises(UnreachableError, match="::1 is loopback") as caught:
        await gate(table).addresses("mixed.test")
    assert caught.value.blocked
    found = await gate(table).addresses("GOOD.test.")
    assert [str(address) for address in found] == ["1.1.1.1", "2a00::1"]
    for name in ("no.test", "gone.test"):
        with pytest.raises(UnreachableError, match="does not resolve") as caught:
            await gate(table).addresses(name)
        assert not caught.value.blocked


async def test_a_name_is_allowed_but_not_its_neighbours_on_the_address() -> None:
    table = {"a.test": ["10.0.0.1"], "b.test": ["10.0.0.1"]}
    assert await gate(table, "a.test").addresses("a.test")
    for host in ("b.test", "10.0.0.1"):
        with pytest.raises(UnreachableError):
            await gate(table, "a.test").addresses(host)


async def test_localhost_never_asks_a_resolver() -> None:
    table = {"localhost": ["1.1.1.1"], "x.localhost": ["1.1.1.1"]}
    for host in ("localhost", "x.localhost", "LOCALHOST."):
        with pytest.raises(UnreachableError, match="loopback"):
            await gate(table).addresses(host)
    found = await gate(table, "127.0.0.1").addresses("localhost")
    assert [str(address) for address in found] == ["127.0.0.1"]
    found = await gate(table, "localhost").addresses("localhost")
    assert [str(address) for address in found] == ["127.0.0.1", "::1"]


async def test_odd_forms_that_a_resolver_understands_are_judged_too() -> None:
    """Chromium writes addresses plainly; another client of the proxy might not."""
    resolver = SystemResolver()
    try:
        for host in ("127.1", "0x7f.1", "2130706433", "0177.0.0.1"):
            with pytest.raises(UnreachableError, match="loopback"):
                await EgressPolicy(AllowList.parse(""), resolver).addresses(host)
    finally:
        resolver.close()


def request(text: str) -> http_heads.Request:
    return http_heads.parse_request(text.encode("latin-1").split(b"\r\n"))


def test_requests_are_read_and_cleaned() -> None:
    read = request(
        "GET http://a.test:81/p?q HTTP/1.1\r\nHost: evil\r\nProxy-Connection: keep-alive\r\n"
        "Proxy-Authorization: Basic x\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nTE: trailers\r\n"
        "Keep-Alive: 1\r\nUpgrade: h2c\r\nAccept: */*\r\nCookie: a=b"
    )
    assert read == http_heads.Request(
        False,
        "a.test",
        81,
        b"GET /p?q HTTP/1.1\r\nHost: a.test:81\r\nAccept: */*\r\nCookie: a=b\r\n"
        b"Connection: close\r\n\r\n",
        0,
    )
    assert request("GET http://a.test HTTP/1.1").head.startswith(b"GET / HTTP/1.1\r\nHost: a.test")
    assert request("GET http://a.test? HTTP/1.1").head.startswith(b"GET /? ")
    assert request("CONNECT [::1]:443 HTTP/1.1") == http_heads.Request(True, "[::1]", 443, b"", 0)
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
def test_requests_that_are_unclear_are_refused(text: str) -> None:
    with pytest.raises(http_heads.BadHeadError):
        request(text)


def test_answers_are_read_leniently_and_cleaned() -> None:
    answer = http_heads.parse_response(
        [b"HTTP/1.0 200 OK", b"Content-Length: 3", b"Connection: keep-alive, X-Hop", b"X-Hop: 1",
         b"Proxy-Authenticate: Basic", b"no header", b" folded", b"Set-Cookie: \xff=1", b"A:  b "]
    )  # fmt: skip
    assert answer == http_heads.Response(
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


async def test_heads_are_read_with_limits() -> None:
    assert await read(b"") == []
    assert await read(b"\r\nA\r\nB\n\nbody") == [b"A", b"B"]
    for cut in (b"A", b"A\r\n", b"A\r\nB"):
        with pytest.raises(http_heads.BadHeadError, match="cut"):
            await read(cut)
    with pytest.raises(http_heads.BadHeadError, match="large"):
        await read(b"A: 1\r\n" * 20)
    with pytest.raises(http_heads.BadHeadError, match="long"):
        await read(b"A" * 90 + b"\r\n\r\n")


async def test_slots_are_given_in_order_and_never_lost() -> None:
    slots = AdmissionQueue(pages=2, queue=3)
    order: list[int] = []

    async def use(number: int) -> None:
        await slots.take()
        order.append(number)
        await asyncio.sleep(0.001)
        slots.release(0.001)

    tasks = [asyncio.create_task(use(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert (slots.taken, slots.waiting) == (2, 3)
    with pytest.raises(OperatorError) as caught:
        await slots.take()
    assert caught.value.code is ErrorCode.RATE_LIMITED
    assert caught.value.retry_after == 2
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 1, 2, 4]
    assert (slots.taken, slots.waiting) == (0, 0)


async def test_a_slot_that_comes_in_the_moment_of_leaving_goes_to_the_next() -> None:
    slots = AdmissionQueue(pages=1, queue=2)
    await slots.take()
    first = asyncio.create_task(slots.take())
    second = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.release(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, 1)
    slots.release(1)
    assert (slots.taken, slots.waiting) == (0, 0)


async def test_a_queue_without_places_refuses_at_once() -> None:
    slots = AdmissionQueue(pages=1, queue=0)
    await slots.take()
    with pytest.raises(OperatorError):
        await slots.take()


def test_the_settings_ask_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    from operator_svc.settings import BrowserSettings, load

    with pytest.raises(ConfigurationError, match="no token"):
        load(BrowserSettings, {})
    read_settings: Any = load(BrowserSettings, {"OPERATOR_TOKEN": "a", "BROWSER_TOKEN": "b"})[0]
    assert read_settings.token == "b"
