"""Watching sessions with the client for Python: nothing is lost, doubled or kept."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from operator_client import ClientError, Event, OperatorClient, Reply, session_socket
from operator_client.connection import LONGEST_PAUSE
from operator_client.models import Delta, MessageCreated, ReplyEnded, Resync, Snapshot
from operator_svc.protocol.frames import SUBPROTOCOL, CloseCode
from tests.fakes.eventually import WITHIN, eventually
from tests.rest.rest_service import TOKEN, running

Connection = Callable[[web.WebSocketResponse], Awaitable[int]]
"""One connection of a scripted service; it gives the close code."""


class Scripted:
    """A service whose connections go as they are written down, the last one again and again."""

    def __init__(self, *connections: Connection) -> None:
        self._connections = connections
        self.queries: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self.app = web.Application()
        self.app.router.add_get("/ws/s", self._socket)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        script = self._connections[min(len(self.queries), len(self._connections) - 1)]
        self.queries.append(dict(request.query))
        self.tokens.append(request.headers.get("X-VX11-Token", ""))
        ws = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await ws.prepare(request)
        code = await script(ws)
        await ws.close(code=code)
        return ws


async def ready(ws: web.WebSocketResponse, seq: int = 0) -> None:
    """The first frame of a connection."""
    await ws.send_json({"type": "ready", "seq": seq, "epoch": "e", "heartbeat_s": 25})


def event(seq: int | None, name: str, **data: Any) -> dict[str, Any]:
    """An event's frame."""
    frame = {"type": "event", "event": name, "session_id": "s", "ts": "2026-01-01T00:00:00Z"}
    return {**frame, "data": data} | ({} if seq is None else {"seq": seq})


def begun(reply_id: int) -> dict[str, Any]:
    """The data of a reply's first event."""
    return {"reply_id": reply_id, "message_id": 1, "status": "streaming"}


def ended(seq: int, reply_id: int, text: str) -> dict[str, Any]:
    """The last event of a reply."""
    data = {"reply_id": reply_id, "message_id": 1, "status": "complete", "content": text}
    return event(seq, "reply.completed", **data, length=len(text), metadata={})


@asynccontextmanager
async def client_of(scripted: Scripted, token: Any = "") -> AsyncIterator[OperatorClient]:
    """A client of a scripted service."""
    async with (
        TestServer(scripted.app) as server,
        OperatorClient(str(server.make_url("")), token) as client,
    ):
        yield client


async def deleted(ws: web.WebSocketResponse) -> int:
    """A connection on which the session is deleted."""
    await ready(ws)
    await ws.send_json(event(None, "session.deleted", session_id="s"))
    return CloseCode.SESSION_DELETED


async def test_a_watch_of_a_real_session_has_every_event_once_over_cuts(database_url: str) -> None:
    seen: list[Event] = []
    async with (
        running(database_url) as service,
        OperatorClient(service.url, TOKEN) as client,
        client.watch("s", after=0) as events,
        asyncio.timeout(WITHIN),
    ):
        chats = asyncio.create_task(_chat_thrice(client))
        async for item in events:
            assert isinstance(item, Event)
            seen.append(item)
            if len(seen) in (2, 5):
                await service.operator.services.clients.close_all(CloseCode.DRAINING)
            if sum(one.event == "reply.completed" for one in seen) == 3:
                break
        await chats
        page = await client.get_session_events("s")
        assert [one.seq for one in seen] == list(range(1, len(seen) + 1))
        assert [(one.seq, one.event) for one in seen] == [(e.seq, e.event) for e in page.events]
        assert (events.seq, events.epoch) == (page.seq, page.epoch)
        told = [one.data.content for one in seen if isinstance(one.data, MessageCreated)]
        assert told == ["0", "1", "2"]
        texts = [one.data.content for one in seen if isinstance(one.data, ReplyEnded)]
        assert all(number in text for number, text in zip("012", texts, strict=True))


async def _chat_thrice(client: OperatorClient) -> None:
    for number in range(3):
        await client.chat({"message": str(number), "session_id": "s"})


async def test_a_watch_shows_texts_where_they_are_asked_for(database_url: str) -> None:
    async with (
        running(database_url) as service,
        OperatorClient(service.url, TOKEN) as client,
        client.watch("s", deltas=True) as events,
        asyncio.timeout(WITHIN),
    ):
        items = aiter(events)
        first = asyncio.ensure_future(anext(items))
        await eventually(lambda: events.seq is not None)
        await client.chat({"message": "a text", "session_id": "s"})
        text, item = "", await first
        while not (isinstance(item, Event) and item.event == "reply.completed"):
            if isinstance(item, Snapshot) and item.kind == "text":
                text = item.text
            if isinstance(item, Delta) and item.kind == "text":
                text += item.content
            item = await anext(items)
        assert isinstance(item.data, ReplyEnded)
        assert text == item.data.content


async def test_a_watch_begins_where_an_earlier_one_stood_and_ends_with_the_session() -> None:
    scripted = Scripted(deleted)
    async with client_of(scripted) as client:
        items = [item async for item in client.watch("s", after=41, epoch="e")]
    assert scripted.queries == [{"after": "41", "epoch": "e"}]
    assert [(item.event, item.seq) for item in items if isinstance(item, Event)] == [
        ("session.deleted", None)
    ]


async def test_a_resync_and_an_event_of_a_newer_operator_are_given() -> None:
    async def newer(ws: web.WebSocketResponse) -> int:
        await ready(ws)
        await ws.send_json({"type": "sparkle", "of": "a newer version"})
        snapshot: dict[str, Any] = {"messages": [], "next_before": None}
        await ws.send_json({"type": "resync", "seq": 7, "epoch": "f", "snapshot": snapshot})
        await ws.send_json(event(8, "poem.written", lines=4))
        return CloseCode.TOO_SLOW

    scripted = Scripted(newer, deleted)
    async with client_of(scripted) as client:
        resync, poem, _ = [item async for item in client.watch("s")]
    assert isinstance(resync, Resync)
    assert isinstance(poem, Event)
    assert poem.data == {"lines": 4}
    assert scripted.queries[1] == {"after": "8", "epoch": "f"}


@pytest.mark.parametrize(
    ("code", "first", "asked"),
    [
        (CloseCode.TOO_SLOW, session_socket.PAUSE, None),
        (CloseCode.FULL, session_socket.PAUSE_FULL, None),
        (CloseCode.TOO_MANY_FRAMES, session_socket.PAUSE_FULL, None),
        (CloseCode.DRAINING, 1.5, 1500),
        (CloseCode.DRAINING, LONGEST_PAUSE, 3_600_000),
        (CloseCode.STATE_CHANGED, None, None),
    ],
)
async def test_the_close_code_says_when_to_come_back(
    monkeypatch: pytest.MonkeyPatch, code: int, first: float | None, asked: int | None
) -> None:
    pauses: list[float] = []

    def note(pause: float) -> float:
        pauses.append(pause)
        return 0.0

    async def closing(ws: web.WebSocketResponse) -> int:
        await ready(ws)
        if asked is not None:
            await ws.send_json({"type": "draining", "reconnect_in_ms": asked})
        return code

    monkeypatch.setattr(session_socket, "jitter", note)
    async with client_of(Scripted(closing, deleted)) as client:
        async for _ in client.watch("s"):
            pass
    assert pauses == ([] if first is None else [first])


@pytest.mark.parametrize(
    "code", [CloseCode.NOT_AUTHENTICATED, CloseCode.FORBIDDEN, CloseCode.TOO_MANY_CONNECTIONS]
)
async def test_a_final_close_code_is_an_error_that_says_why(code: CloseCode) -> None:
    async def closing(ws: web.WebSocketResponse) -> int:
        await ready(ws)
        return code

    scripted = Scripted(closing)
    async with client_of(scripted) as client:
        with pytest.raises(ClientError) as caught:
            async for _ in client.watch("s"):
                pass
    assert (caught.value.code, caught.value.status) == ("closed", code)
    assert code.reason in caught.value.detail
    assert len(scripted.queries) == 1


async def test_a_token_that_ends_is_followed_by_another_but_not_by_itself() -> None:
    async def expiring(ws: web.WebSocketResponse) -> int:
        await ready(ws)
        await ws.send_json(event(1, "poem.written"))
        return CloseCode.FORBIDDEN

    async def refusing(_: web.WebSocketResponse) -> int:
        return CloseCode.FORBIDDEN

    tokens = iter(["first", "second"])
    current = ""

    def token() -> str:
        nonlocal current
        current = next(tokens, current)
        return current

    scripted = Scripted(expiring, refusing)
    async with client_of(scripted, token) as client:
        with pytest.raises(ClientError):
            async for _ in client.watch("s"):
                pass
    assert scripted.tokens == ["first", "second"]


async def test_what_cannot_be_reached_at_first_is_an_error() -> None:
    async with OperatorClient("http://127.0.0.1:1") as client:
        with pytest.raises(ClientError) as caught:
            await anext(aiter(client.watch("s")))
    assert caught.value.code == "unreachable"
    assert caught.value.detail.endswith("reached at http://127.0.0.1:1: Connection refused")


REPLIES = 1000


async def thousand_replies(ws: web.WebSocketResponse) -> int:
    """A connection on which many replies begin and end, and one that goes on."""
    await ready(ws)
    for number in range(2, REPLIES + 2):
        await ws.send_json(event(2 * number, "reply.started", **begun(number)))
        await ws.send_json({"type": "delta", "kind": "text", "reply_id": number, "offset": 0,
                            "end": 1, "content": "x"})  # fmt: skip
        await ws.send_json(ended(2 * number + 1, number, "x" * 1000))
    await ws.send_json(event(9999, "reply.started", **begun(9999)))
    await ws.send_json({"type": "delta", "kind": "text", "reply_id": 9999, "offset": 0, "end": 1,
                        "content": "y"})  # fmt: skip
    await ws.receive()
    return CloseCode.DONE


def kept() -> list[Reply]:
    """The replies of whose text something is kept anywhere in this process."""
    gc.collect()
    return [one for one in gc.get_objects() if type(one) is Reply and one.text]


async def test_a_conversation_keeps_no_text_of_replies_that_have_ended() -> None:
    async with (
        client_of(Scripted(thousand_replies)) as client,
        client.conversation("s"),
    ):
        await eventually(lambda: [reply.text for reply in kept()] == ["y"], every=0.1)


async def test_a_watch_keeps_no_text_of_replies_that_have_ended() -> None:
    count = 0
    async with (
        client_of(Scripted(thousand_replies)) as client,
        client.watch("s") as events,
        asyncio.timeout(WITHIN),
    ):
        async for item in events:
            count += isinstance(item, Event) and isinstance(item.data, ReplyEnded)
            if count == REPLIES:
                break
        del item
        gc.collect()
        texts = [one for one in gc.get_objects() if type(one) is ReplyEnded]
        assert len(texts) <= 1  # the one that was given last
        assert kept() == []
