"""Text that is shown in the call of the event loop that brings it, and what is left to the task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar

import msgspec
import pytest
import uvloop

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.chat_types import Part, Reasoning, Text, ToolCallPart
from operator_svc.peers.switch import Switch
from tests.fakes.chats import prompt, switch_at
from tests.fakes.raw import STREAM_HEAD, Connection, raw_server
from tests.peers.wire import DONE

asker = ContextVar("asker", default="nobody")


def token(text: str) -> bytes:
    """An event with a piece of text."""
    return b"data: %s\n\n" % msgspec.json.encode(Text(text))


class Reader:
    """One who asks, and takes text as it comes up to ``room`` code points."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.seen: list[Part] = []
        self.shown: list[str] = []
        self.askers: set[str] = set()
        self.fault: Exception | None = None

    @property
    def text(self) -> str:
        """All text, in the order in which it came."""
        return "".join(part.content for part in self.seen if isinstance(part, Text))

    def show(self, text: str) -> bool:
        """See ``chat_stream.Show``."""
        if self.fault is not None:
            raise self.fault
        if len(self.text) + len(text) > self.room:
            return False
        self.shown.append(text)
        self.seen.append(Text(text))
        self.askers.add(asker.get())
        return True

    async def ask(self, switch: Switch, message: str = "hello") -> None:
        """Ask, and read all of the answer."""
        async with aclosing(switch.chat(prompt(message), self.show)) as reads:
            async for parts in reads:
                self.seen += parts


@asynccontextmanager
async def answering(*pieces: bytes | None, pause: float = 0.03) -> AsyncIterator[Switch]:
    """A Switch that sends the pieces one by one, far enough apart that each is a read of its own;
    the connection is cut at None."""

    async def behaviour(client: Connection) -> None:
        while True:
            await client.request()
            await client.send(STREAM_HEAD)
            for piece in pieces:
                await asyncio.sleep(pause)  # time itself: what comes together is one read
                if piece is None:
                    return client.close()
                await client.chunk(piece)
            await client.end()

    async with (
        raw_server(behaviour) as server,
        switch_at(server.url, switch_idle_timeout=0.5) as switch,
    ):
        yield switch
        assert server.connections == 1 or None in pieces


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_text_after_the_first_piece_is_shown_as_it_comes(
    loop: type[asyncio.AbstractEventLoop],
) -> None:
    async def ask_twice() -> None:
        async with answering(token("a"), token("b"), token("c") + token("d"), DONE) as switch:
            for message in ("first", "by the same connection"):
                reader = Reader()
                await reader.ask(switch, message)
                assert reader.shown == ["b", "cd"]
                assert reader.text == "abcd"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask_twice())


@pytest.mark.parametrize(
    "odd",
    [
        b'data: {"type":"reasoning","content":"hm"}\n\n',
        b'data: {"type":"tool_call","id":"1","name":"n","arguments":{}}\n\n',
        b": a comment\n\n",
        b'id: 7\ndata: {"type":"token","content":""}\n\n',
    ],
)
async def test_what_is_no_plain_text_is_read_in_its_place(odd: bytes) -> None:
    mixed = token("c") + odd + token("d")
    async with answering(token("a"), token("b"), odd, mixed, token("e"), DONE) as switch:
        reader = Reader()
        await reader.ask(switch)
    assert reader.text == "abcde"
    assert reader.shown[0] == "b"
    assert reader.shown[-1] == "e"
    others = [part for part in reader.seen[:-1] if not isinstance(part, Text)]
    assert len(others) == (2 if odd[:18] in (b'data: {"type":"rea', b'data: {"type":"too') else 0)
    assert all(isinstance(part, Reasoning | ToolCallPart) for part in others)


async def test_events_that_are_cut_anywhere_come_once() -> None:
    whole = token("b") + token("😀") + token("d")
    for cut in range(1, len(whole), 7):
        async with answering(token("a"), whole[:cut], whole[cut:], DONE, pause=0.005) as switch:
            reader = Reader()
            await reader.ask(switch)
        assert reader.text == "ab😀d", cut


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\u0000"])
async def test_text_that_is_not_storable_is_not_shown_as_it_is(half: bytes) -> None:
    event = b'data: {"type":"token","content":"%s"}\n\n'
    async with answering(
        token("a"), token("b"), event % half, event % rb"\ude00", token("c"), DONE
    ) as switch:
        reader = Reader()
        await reader.ask(switch)
    assert reader.text == ("ab😀c" if half == rb"\ud83d" else "ab\ufffd\ufffdc")


async def test_text_that_is_not_taken_is_yielded() -> None:
    async with answering(token("aaa"), token("bbb"), token("ccc"), token("ddd"), DONE) as switch:
        reader = Reader(room=7)
        await reader.ask(switch)
    assert reader.shown == ["bbb"]
    assert reader.text == "aaabbbcccddd"


async def test_text_is_shown_in_the_context_of_its_asker() -> None:
    async with answering(token("a"), token("b"), DONE) as switch:
        for name in ("ana", "eva"):  # on one connection, which ana's call has made
            asker.set(name)
            reader = Reader()
            await reader.ask(switch)
            assert reader.askers == {name}


@pytest.mark.parametrize("fault", [None, ValueError("odd")], ids=["left", "raised"])
async def test_a_reader_that_is_stopped_by_what_is_shown_ends_quietly(
    fault: Exception | None,
) -> None:
    """Without a fault in the call of the transport that brought the text."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))

    class Stopped(Reader):
        def show(self, text: str) -> bool:
            asking.cancel()
            if fault is not None:
                raise fault
            return False

    async with answering(token("one"), token(" two"), token(" three"), DONE) as switch:
        reader = Stopped()
        asking = asyncio.create_task(reader.ask(switch))
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert reader.text == "one"
    assert faults == []


async def test_a_fault_of_the_one_who_shows_is_raised_where_the_answer_is_read() -> None:
    async with answering(token("a"), token("b"), token("c"), DONE) as switch:
        reader = Reader()
        reader.fault = LookupError("a fault")
        with pytest.raises(LookupError, match="a fault"):
            await reader.ask(switch)
        assert switch.chats.breaker.state == "closed"


@pytest.mark.parametrize("end", [None, b""])
async def test_an_answer_that_is_cut_or_silent_after_shown_text_is_an_error(
    end: bytes | None,
) -> None:
    pieces = (token("a"), token("b"), token("c"))
    async with answering(*pieces, end) if end is None else silent(*pieces) as switch:
        reader = Reader()
        with pytest.raises(OperatorError) as caught:
            await reader.ask(switch)
    code = ErrorCode.SWITCH_ERROR if end is None else ErrorCode.SWITCH_TIMEOUT
    assert caught.value.code == code
    assert reader.text == "abc"
    assert reader.shown


@asynccontextmanager
async def silent(*pieces: bytes) -> AsyncIterator[Switch]:
    """A Switch that says nothing after its pieces."""

    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        for piece in pieces:
            await client.chunk(piece)
            await asyncio.sleep(0.2)  # time itself: less than the limit each, more in all
        await client.until_gone()

    async with (
        raw_server(behaviour) as server,
        switch_at(server.url, switch_idle_timeout=0.5) as switch,
    ):
        yield switch


async def test_shown_text_leaves_no_silence_and_no_task_behind() -> None:
    steps = 0
    pieces = [token(str(number % 10)) for number in range(40)]

    async with answering(*pieces, DONE, pause=0.02) as switch:  # longer than the idle timeout
        reader = Reader()
        async with aclosing(switch.chat(prompt("hello"), reader.show)) as reads:
            async for parts in reads:
                steps += 1
                reader.seen += parts
    assert len(reader.text) == 40
    assert steps < 10, "a piece that is shown wakes nobody"
