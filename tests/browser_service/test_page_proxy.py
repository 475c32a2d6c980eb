"""The proxy of a page, spoken to without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from operator_svc.browser_service.addresses import AllowList
from operator_svc.browser_service.egress_policy import EgressPolicy
from operator_svc.browser_service.page_proxy import MAX_CONNECTIONS, PageProxy
from tests.fakes.eventually import WITHIN

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """A server of raw bytes on loopback."""

    def __init__(self) -> None:
        self.port = 0
        self.received = b""
        self.connections = 0
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        self.wait_for = b"\r\n\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while not self.received.endswith(self.wait_for):
            data = await reader.read(65536)
            if not data:
                break
            self.received += data
        writer.write(self.answer)
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


async def resolve(name: str) -> list[str]:
    table = {"up.test": ["127.0.0.1"], "bad.test": ["10.0.0.1"]}
    if name not in table:
        raise OSError
    return table[name]


@pytest.fixture
async def proxy() -> AsyncIterator[PageProxy]:
    async with PageProxy(EgressPolicy(resolve, AllowList.parse("up.test:*")), 1_000_000) as opened:
        yield opened


def port_of(proxy: PageProxy) -> int:
    return int(proxy.url.rpartition(":")[2])


async def ask(proxy: PageProxy, data: bytes) -> bytes:
    """Send ``data``, and give all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
    try:
        writer.write(data)
        async with asyncio.timeout(WITHIN):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_plain_request_is_forwarded(proxy: PageProxy, upstream: Upstream) -> None:
    answer = await ask(
        proxy, b"GET http://up.test:%d/x HTTP/1.1\r\nAccept: a\r\n\r\n" % upstream.port
    )
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    assert upstream.received == (
        b"GET /x HTTP/1.1\r\nHost: up.test:%d\r\nAccept: a\r\nConnection: close\r\n\r\n"
        % upstream.port
    )
    assert proxy.transferred > 2


async def test_bytes_after_a_request_are_not_forwarded(
    proxy: PageProxy, upstream: Upstream
) -> None:
    """Bytes after a request's body are never passed on: no request hides behind another."""
    one = b"POST http://up.test:%d/ HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody" % upstream.port
    upstream.wait_for = b"body"
    await ask(proxy, one + b"GET http://bad.test/ HTTP/1.1\r\n\r\n")
    assert upstream.received.endswith(b"Connection: close\r\n\r\nbody")


async def test_tunnel_forwards_both_directions(proxy: PageProxy, upstream: Upstream) -> None:
    upstream.answer, upstream.wait_for = b"\x00pong", b"ping\x00"
    answer = await ask(proxy, b"CONNECT up.test:%d HTTP/1.1\r\n\r\nping\x00" % upstream.port)
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n\x00pong"
    assert upstream.received == b"ping\x00"


async def test_refused_host_gets_no_answer(proxy: PageProxy, upstream: Upstream) -> None:
    assert await ask(proxy, b"GET http://bad.test/ HTTP/1.1\r\n\r\n") == b""
    assert await ask(proxy, b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % upstream.port) == b""
    tunnel = await ask(proxy, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % upstream.port)
    assert tunnel.startswith(b"HTTP/1.1 502 ")
    assert upstream.connections == 0
    refused = {(host, port): r.blocked for (host, port), r in proxy.failures.items()}
    assert refused == {("bad.test", 80): True, ("127.0.0.1", upstream.port): True}


async def test_network_failure_is_not_recorded_as_blocked(proxy: PageProxy) -> None:
    await ask(proxy, b"GET http://gone.test/ HTTP/1.1\r\n\r\n")
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    await ask(proxy, b"CONNECT up.test:%d HTTP/1.1\r\n\r\n" % port)
    assert proxy.failure_reason("http://gone.test/x") == "the name gone.test does not resolve"
    assert "refused the connection" in (proxy.failure_reason(f"https://up.test:{port}/") or "")
    assert not any(refusal.blocked for refusal in proxy.failures.values())


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET http://up.test/\r\n\r\n",
     b"GET http://up.test/ HTTP/1.1\r\n" + b"A: " + b"x" * 70_000 + b"\r\n\r\n",
     b"\r\n" * 40_000],
)  # fmt: skip
async def test_invalid_request_is_closed(data: bytes, proxy: PageProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(WITHIN):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"220 hello\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 Switching\r\n\r\n",
     b"HTTP/1.1 407 Proxy\r\nProxy-Authenticate: Basic\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nA: " + b"x" * 300_000 + b"\r\n\r\n"],
)  # fmt: skip
async def test_invalid_response_is_not_forwarded(
    answer: bytes, proxy: PageProxy, upstream: Upstream
) -> None:
    upstream.answer = answer
    assert await ask(proxy, b"GET http://up.test:%d/ HTTP/1.1\r\n\r\n" % upstream.port) == b""


async def test_interim_responses_are_dropped(proxy: PageProxy, upstream: Upstream) -> None:
    upstream.answer = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nend"
    answer = await ask(proxy, b"GET http://up.test:%d/ HTTP/1.1\r\n\r\n" % upstream.port)
    assert answer == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nend"


async def test_transfer_limit_cuts_all_connections(upstream: Upstream) -> None:
    upstream.answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500_000
    policy = EgressPolicy(resolve, AllowList.parse("up.test:*"))
    async with PageProxy(policy, 100_000) as proxy:
        get = b"GET http://up.test:%d/ HTTP/1.1\r\n\r\n" % upstream.port
        assert len(await ask(proxy, get)) <= 200_000
        assert proxy.over_limit.is_set()
        seen = upstream.connections
        assert await ask(proxy, get) == b""
        assert upstream.connections == seen


async def test_proxy_does_not_connect_to_another_proxy(upstream: Upstream) -> None:
    policy = EgressPolicy(resolve, AllowList.parse("127.0.0.0/8:*"))
    async with PageProxy(policy, 10**6) as one, PageProxy(policy, 10**6) as other:
        through = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port_of(other)
        assert (await ask(one, through)).startswith(b"HTTP/1.1 502 ")
        assert next(iter(one.failures.values())).blocked
        allowed = b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % upstream.port
        assert (await ask(one, allowed)).endswith(b"hi")
    assert policy.proxy_ports == set()


async def test_connections_past_the_limit_are_closed(proxy: PageProxy) -> None:
    opened = [
        await asyncio.open_connection("127.0.0.1", port_of(proxy))
        for _ in range(MAX_CONNECTIONS + 10)
    ]
    await asyncio.sleep(0.1)  # the proxy accepts them, and closes some
    closed = 0
    for reader, writer in opened[-10:]:
        try:
            async with asyncio.timeout(WITHIN):
                closed += await reader.read() == b""
        except ConnectionResetError:
            closed += 1
        writer.close()
    assert closed == 10
    for _, writer in opened:
        writer.close()


async def test_closing_the_proxy_cuts_open_connections(upstream: Upstream) -> None:
    upstream.wait_for = b"never"
    policy = EgressPolicy(resolve, AllowList.parse("up.test:*"))
    async with PageProxy(policy, 10**6) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
        writer.write(b"CONNECT up.test:%d HTTP/1.1\r\n\r\nx" % upstream.port)
        await reader.readuntil(b"\r\n\r\n")
        tasks = len(asyncio.all_tasks())
    async with asyncio.timeout(WITHIN):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    assert len(asyncio.all_tasks()) < tasks
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port_of(proxy))
