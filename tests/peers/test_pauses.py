"""A process that stood still: what a peer sent meanwhile counts, not the time that has passed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
import pytest
import uvloop

from operator_svc.peers import jwks
from operator_svc.peers.base import CallPolicy, Peer
from tests.fakes.chats import ask, switch_at
from tests.fakes.raw import STREAM_HEAD, Behaviour, Connection, RawServer
from tests.peers.wire import DONE, OK

LIMIT = 0.3
"""Of time, in seconds, and how often the process stands still for longer than that."""
PAUSES = 3

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


class Thing(msgspec.Struct):
    name: str


def pause() -> None:
    """Stand still, as a machine that is suspended; what was sent waits in the kernel."""
    time.sleep(2 * LIMIT)


def run(
    loop: Callable[[], asyncio.AbstractEventLoop],
    behaviour: Behaviour,
    **settings: float,
) -> str:
    """A chat's text, from a Switch that behaves so."""

    async def chat() -> str:
        async with RawServer(behaviour).running() as server, switch_at(server.url, **settings) as s:
            return (await ask(s, "hello")).text

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(chat())


async def stream_with_pauses(connection: Connection) -> None:
    await connection.request()
    await connection.send(STREAM_HEAD)
    for number in range(PAUSES):
        await connection.chunk(b'data: {"type":"token","content":"%d"}\n\n' % number)
        await asyncio.sleep(LIMIT / 10)
        await connection.chunk(b'data: {"type":"token","content":"."}\n\n')
        pause()
        await asyncio.sleep(LIMIT / 10)
    await connection.chunk(DONE)
    await connection.end()
    await connection.until_gone()


@LOOPS
@pytest.mark.parametrize("limit", ["switch_idle_timeout", "switch_total_timeout"])
def test_stream_goes_on_after_a_pause_of_this_process(
    loop: Callable[[], asyncio.AbstractEventLoop], limit: str
) -> None:
    seconds = LIMIT if limit == "switch_idle_timeout" else 2 * LIMIT * PAUSES
    assert run(loop, stream_with_pauses, **{limit: seconds}) == "0.1.2."


@LOOPS
def test_first_byte_that_came_during_a_pause_is_in_time(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def behaviour(connection: Connection) -> None:
        await connection.request()
        await connection.json(OK)
        pause()
        await connection.until_gone()

    assert run(loop, behaviour, switch_first_byte_timeout=LIMIT) == "fine"


@LOOPS
def test_answer_of_a_module_that_came_during_a_pause_is_in_time(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def behaviour(connection: Connection) -> None:
        await connection.request()
        await connection.json(b'{"name": "x"}')
        pause()
        await connection.until_gone()

    policy = CallPolicy(timeout=LIMIT, read_attempts=1)
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(read(behaviour, policy)) == Thing("x")


@LOOPS
def test_connection_that_was_made_during_a_pause_is_in_time(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def behaviour(connection: Connection) -> None:
        await connection.request()
        await connection.json(b'{"name": "x"}')
        await connection.until_gone()

    async def read_with_a_pause() -> Thing:
        # After the first step of the call, which begins to connect.
        loop_now = asyncio.get_running_loop()
        return await read(behaviour, policy, lambda: loop_now.call_soon(pause))

    policy = CallPolicy(connect_timeout=LIMIT, read_attempts=1)
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(read_with_a_pause()) == Thing("x")


@LOOPS
@pytest.mark.parametrize("comes", [True, False])
def test_key_set_that_came_during_a_pause_is_in_time(
    loop: Callable[[], asyncio.AbstractEventLoop], comes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def behaviour(connection: Connection) -> None:
        await connection.request()
        if comes:
            await connection.json(b'{"keys": []}')
        pause()
        await connection.until_gone()

    async def fetch() -> bytes:
        async with RawServer(behaviour).running() as server:
            return await jwks.JwksUrl(server.url).fetch()

    monkeypatch.setattr(jwks, "SECONDS", LIMIT)
    with asyncio.Runner(loop_factory=loop) as runner:
        if comes:
            assert runner.run(fetch()) == b'{"keys": []}'
        else:
            with pytest.raises(OSError, match="TimeoutError"):
                runner.run(fetch())


async def read(
    behaviour: Behaviour, policy: CallPolicy, before: Callable[[], object] = lambda: None
) -> Thing:
    """A module's answer; ``before`` is called right before the call."""
    async with RawServer(behaviour).running() as server:
        peer = Peer("Thing", server.url, policy=policy)
        try:
            before()
            return await peer.get("/thing", Thing)
        finally:
            await peer.aclose()
