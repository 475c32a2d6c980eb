"""Answers that a busy process reads together: the same parts, in fewer reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
import uvloop

from operator_svc.devpeers import Script, SwitchStandin
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers import read_coalescer
from operator_svc.peers.chat_types import Text
from operator_svc.peers.read_coalescer import GROUPS, ReadCoalescer
from operator_svc.peers.switch import Switch
from tests.fakes.certificates import trusted_by_aiohttp
from tests.fakes.chats import ask, prompt, switch_at
from tests.fakes.eventually import eventually
from tests.fakes.raw import STREAM_HEAD, Connection, RawServer, raw_server
from tests.peers.conftest import FAST
from tests.peers.wire import DONE, TOKENS


class Answer:
    """An answer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def hold(self) -> None:
        self.told.append("hold")

    def release(self) -> None:
        self.told.append("release")

    def pull(self) -> None:
        self.told.append("pull")


class Clock:
    """The time that the event loop works: all of it, or none."""

    def __init__(self) -> None:
        self.working = True
        self._before = 0.0

    def __call__(self) -> float:
        now = asyncio.get_running_loop().time()
        if self.working:
            self._before = now
        return self._before


async def test_answers_are_held_while_the_loop_is_busy_and_released_when_it_is_not() -> None:
    clock = Clock()
    coalescer = ReadCoalescer(clock)
    answers = [Answer() for _ in range(3 * GROUPS)]
    for answer in answers:
        coalescer.enter(answer)
    assert not coalescer.busy
    await eventually(lambda: all("pull" in answer.told for answer in answers))
    assert {answer.told[0] for answer in answers} == {"hold"}
    late = Answer()
    coalescer.enter(late)
    assert late.told == ["hold"]
    coalescer.leave(late)
    assert late.told[-1] == "release"
    clock.working = False
    await eventually(lambda: not coalescer.busy)
    assert {answer.told[-1] for answer in answers} == {"release"}
    for answer in answers:
        coalescer.leave(answer)
    known = [len(answer.told) for answer in answers]
    clock.working = True
    coalescer.enter(late)
    await eventually(lambda: coalescer.busy)
    assert [len(answer.told) for answer in answers] == known
    coalescer.leave(late)
    await eventually(lambda: not coalescer.busy)


def most_reads(begun: float) -> float:
    """The reads that an answer may have had since then, by the event loop's time: one an interval,
    and some at its begin and end."""
    return 4 + (asyncio.get_running_loop().time() - begun) / read_coalescer.INTERVAL


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process counts as busy, whatever it does."""
    monkeypatch.setattr(read_coalescer, "BUSY", -1.0)
    monkeypatch.setattr(read_coalescer, "CALM", -1.0)


@pytest.mark.usefixtures("busy")
@pytest.mark.measures_time
async def test_streams_of_a_busy_process_lose_nothing_in_fewer_reads(
    standin: SwitchStandin, switch: Switch
) -> None:
    standin.script = Script(rate=200, tokens=100)
    begun = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*[ask(switch, f"number {n}") for n in range(20)])
    most = most_reads(begun)
    standin.script = Script(rate=FAST, tokens=100)
    expected = [(await ask(switch, f"number {n}")).text for n in range(20)]
    assert [answer.text for answer in answers] == expected
    assert max(len(answer.reads) for answer in answers) <= most


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_stream_by_tls_comes_whole_in_fewer_reads(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_side = trusted_by_aiohttp(tmp_path, monkeypatch)
    words = [f"word{n} " for n in range(100)]

    async def behaviour(client: Connection) -> None:
        while True:
            await client.request()
            await client.send(STREAM_HEAD)
            for word in words:
                await client.chunk(b"data: %s\n\n" % msgspec.json.encode(Text(word)))
                await asyncio.sleep(0.2 / len(words))
            await client.chunk(DONE)
            await client.end()

    async def ask_twice() -> None:
        async with RawServer(behaviour).running(tls=server_side) as server:
            async with switch_at(server.url) as switch:
                for message in ("first", "second"):
                    begun = asyncio.get_running_loop().time()
                    answer = await ask(switch, message)
                    assert answer.text == "".join(words)
                    # What comes in one interval may be two records of TLS.
                    assert len(answer.reads) <= 2 * most_reads(begun)
            assert server.connections == 1

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask_twice())


async def test_an_answer_that_has_come_whole_holds_no_connection_of_another_call(
    standin: SwitchStandin, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin.script = Script(rate=200, tokens=20)
    async with aclosing(switch.chat(prompt("first"))) as parts:
        await anext(parts)
        await anext(parts)
        await asyncio.sleep(0.5)  # the rest comes, and nobody takes it
        monkeypatch.setattr(read_coalescer, "BUSY", -1.0)
        monkeypatch.setattr(read_coalescer, "CALM", -1.0)
        await asyncio.sleep(2 * read_coalescer.INTERVAL)  # a look or more
        async with asyncio.timeout(8):
            assert (await ask(switch, "second")).text


@pytest.mark.usefixtures("busy")
async def test_a_busy_process_ends_what_is_silent_cut_or_left(standin: SwitchStandin) -> None:
    ended = asyncio.Event()

    async def behaviour(client: Connection) -> None:
        asked = await client.request()
        await client.send(STREAM_HEAD)
        await client.chunk(TOKENS)
        if b"cut" in asked:
            client.close()
        elif b"whole" in asked:
            await asyncio.sleep(3 * read_coalescer.INTERVAL)
            await client.chunk(DONE)
            await client.end()
        else:
            await client.until_gone()
            ended.set()

    async with (
        raw_server(behaviour) as server,
        switch_at(server.url, switch_idle_timeout=0.5) as switch,
    ):
        assert (await ask(switch, "whole")).text == "Señor 😀 ok"
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "cut")
        assert caught.value.code == ErrorCode.SWITCH_ERROR
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "silent")
        assert caught.value.code == ErrorCode.SWITCH_TIMEOUT
        ended.clear()
        async with aclosing(switch.chat(prompt("left"))) as parts:
            await anext(parts)
        await ended.wait()
