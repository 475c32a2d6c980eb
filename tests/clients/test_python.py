"""The client for Python, where what it waits for is lost with the commits of a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from operator_client import ClientError, OperatorClient, Reply, session_socket
from operator_svc.app import Core
from operator_svc.db import Database
from operator_svc.protocol.frames import SUBPROTOCOL, CloseCode
from tests.fakes.eventually import WITHIN
from tests.rest.rest_service import TOKEN, running

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def assert_lost(reply: Reply) -> None:
    with pytest.raises(ClientError) as caught:
        await reply.wait()
    assert caught.value.code == "reply_not_found"


@asynccontextmanager
async def shown_reply(database_url: str) -> AsyncIterator[tuple[Core, Reply]]:
    """A service, and the second reply of a session in it, of which some text was shown."""
    async with (
        running(database_url) as service,
        OperatorClient(service.url, TOKEN) as client,
        client.conversation("s") as conversation,
    ):
        await (await conversation.ask("kept")).wait()
        reply = await conversation.ask("[[rate=20]][[tokens=999]]")
        await anext(aiter(reply))
        yield service.operator.core, reply


def losing(told: dict[str, Any], statuses: list[int]) -> web.Application:
    """A service that answers the first chat with ids and closes, and does not know them when the
    client is back: it says ``told`` after ``ready``, and these statuses of the reply."""
    connections = 0

    async def socket(request: web.Request) -> web.WebSocketResponse:
        nonlocal connections
        connections += 1
        ws = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await ws.prepare(request)
        await ws.send_json({"type": "ready", "seq": 0, "epoch": None, "heartbeat_s": 25})
        if connections > 1:
            await ws.send_json(told)
            await ws.receive()
        else:
            asked = await ws.receive_json()
            data = {"session_id": "s", "message_id": 1, "reply_id": 2}
            await ws.send_json({"type": "result", "id": asked["id"], "ok": True, "data": data})
        await ws.close(code=CloseCode.STATE_CHANGED)
        return ws

    async def reply(_request: web.Request) -> web.Response:
        status = statuses.pop(0)
        if status == 200:
            view: dict[str, Any]
            view = {"reply_id": 2, "message_id": 1, "session_id": "s", "status": "streaming"}
            view |= {"content": "", "end": 0, "metadata": {}, "finished_at": None}
            return web.json_response(view | {"created_at": "2026-01-01T00:00:00Z"})
        return web.json_response({"error": "reply_not_found", "detail": "none"}, status=status)

    app = web.Application()
    app.router.add_get("/ws/s", socket)
    app.router.add_get("/operator/reply/2", reply)
    return app


@pytest.mark.parametrize(
    "told",
    [
        {"type": "resumed", "after": 0, "seq": 0},
        {"type": "resync", "seq": 0, "epoch": None,
         "snapshot": {"messages": [], "next_before": None}},
    ],
    ids=["resumed", "resync"],
)  # fmt: skip
async def test_a_reply_that_was_lost_before_an_event_told_of_it_ends_with_an_error(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_socket, "PAUSE", 3600.0)  # it comes back at once
    statuses = [200, 503, 404]  # as after its chat, while the database is away, and then
    async with (
        TestServer(losing(told, statuses)) as server,
        OperatorClient(str(server.make_url(""))) as client,
        client.conversation("s") as conversation,
    ):
        await assert_lost(await conversation.ask("lost"))
    assert statuses == []


async def test_a_reply_that_was_lost_while_it_was_shown_ends_with_an_error(
    database_url: str,
) -> None:
    async with shown_reply(database_url) as (core, reply):
        async with core.database.transaction() as lost:
            await lost.execute("DELETE FROM operator_session WHERE session_id = 's'")
        core.hub.invalidate_all()  # as the database does when it notices
        await assert_lost(reply)


async def forget_from(database: Database, message_id: int, seq: int) -> None:
    """Lose the commits that made a message and all after it: the ids are given again."""
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM operator_message WHERE id >= :id", id=message_id)
        await tx.execute("DELETE FROM operator_event WHERE seq >= :seq", seq=seq)
        await tx.execute(
            "UPDATE operator_session SET last_seq = :seq, message_count = 2,"
            " epoch = '11111111-1111-4111-8111-111111111111'",
            seq=seq - 1,
        )
        if database.dialect == "sqlite":
            await tx.execute(
                "UPDATE sqlite_sequence SET seq = :last WHERE name = 'operator_message'",
                last=message_id - 1,
            )
        else:
            await tx.fetch(f"SELECT setval('operator_message_id_seq', {message_id}, false)")


@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
async def test_a_reply_with_the_id_of_a_lost_one_is_another_reply(
    database_url: str, ended: bool
) -> None:
    reconnected = asyncio.Event()
    async with (
        running(database_url) as service,
        OperatorClient(service.url, TOKEN) as client,
        client.conversation("s", on_reconnect=reconnected.set) as conversation,
    ):
        core = service.operator.core
        await (await conversation.ask("kept")).wait()
        reply = await conversation.ask("[[tokens=3]]" if ended else "[[rate=20]][[tokens=999]]")
        if ended:
            await reply.wait()
        else:
            await anext(aiter(reply))
        before = reply.text
        await forget_from(core.database, reply.reply_id - 1, 5)
        core.hub.invalidate_all()  # as the database does when it notices
        await reconnected.wait()
        new = await conversation.ask("the new one")
        assert new.reply_id == reply.reply_id
        assert "the new one" in (await new.wait()).text
        if ended:
            assert (await reply.wait()).text == before
        else:
            await assert_lost(reply)
        history = await client.get_session("s")
        assert history.messages[-1].content == new.text


async def test_a_reply_whose_id_somebody_else_was_given_ends_with_an_error(
    database_url: str,
) -> None:
    """Its text, which the resync has, is never taken for that of the lost one."""
    async with shown_reply(database_url) as (core, reply):
        async with core.database.transaction() as tx:
            await tx.execute(
                "UPDATE operator_message SET content = 'another', status = 'complete',"
                " owner = NULL, created_at = '2999-01-01T00:00:00.000000Z'"
                " WHERE id = :id",
                id=reply.reply_id,
            )
            await tx.execute(
                "UPDATE operator_session SET epoch = '11111111-1111-4111-8111-111111111111'"
            )
        core.hub.invalidate_all()
        await assert_lost(reply)
        assert "another" not in reply.text


async def test_a_redirect_of_a_websocket_is_not_followed_with_the_token() -> None:
    tokens: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("X-VX11-Token"))
        return web.Response()

    async def redirect(request: web.Request) -> web.Response:
        assert request.headers["X-VX11-Token"] == TOKEN
        return web.Response(status=302, headers={"Location": str(other.make_url("/login"))})

    login, app = web.Application(), web.Application()
    login.router.add_get("/login", elsewhere)
    app.router.add_get("/ws/s", redirect)
    async with (
        TestServer(login) as other,
        TestServer(app) as server,
        OperatorClient(str(server.make_url("")), TOKEN) as client,
    ):
        with pytest.raises(ClientError, match="HTTP status 302") as caught:
            await client.conversation("s").__aenter__()
    assert caught.value.code == "unreachable"
    assert not tokens


async def test_nobody_waits_for_a_conversation_that_is_closed_or_was_never_open(
    sqlite_url: str,
) -> None:
    async with running(sqlite_url) as service, OperatorClient(service.url, TOKEN) as client:
        conversation = client.conversation("s")
        with pytest.raises(RuntimeError, match="async with"):
            await conversation.ask("too early")
        async with conversation:
            reply = await conversation.ask("[[rate=20]][[tokens=999]]")
            asked = asyncio.create_task(conversation.ask("just now"))
            await asyncio.sleep(0)
        for waits in (reply.wait(), asked, conversation.ask("too late")):
            with pytest.raises(ClientError) as caught:
                await asyncio.wait_for(waits, WITHIN)
            assert caught.value.code == "closed"
        assert (await client.get_reply(reply.reply_id)).status == "streaming"


async def test_what_the_function_of_the_token_raises_ends_a_conversation() -> None:
    def token() -> str:
        raise LookupError("no token today")

    async with OperatorClient("http://127.0.0.1:1", token) as client:
        with pytest.raises(LookupError, match="no token today"):
            await asyncio.wait_for(client.conversation("s").__aenter__(), WITHIN)


async def test_a_cancellation_while_a_conversation_closes_is_not_lost(sqlite_url: str) -> None:
    async with running(sqlite_url) as service, OperatorClient(service.url, TOKEN) as client:
        conversation = await client.conversation("s").__aenter__()
        closing = asyncio.create_task(conversation.aclose())
        await asyncio.sleep(0)
        assert closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing


async def test_an_opening_that_nobody_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(session_socket, "OPEN_TIMEOUT", 0.1)
    app = web.Application()
    app.router.add_get("/ws/s", silent)
    async with TestServer(app) as server, OperatorClient(str(server.make_url(""))) as client:
        with pytest.raises(ClientError, match="no response in time") as caught:
            await asyncio.wait_for(client.conversation("s").__aenter__(), WITHIN)
    assert caught.value.code == "unreachable"


async def test_a_refused_message_says_when_to_try_again() -> None:
    async def refusing(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await ws.prepare(request)
        await ws.send_json({"type": "ready", "seq": 0, "epoch": None, "heartbeat_s": 25})
        asked = await ws.receive_json()
        error = {"error": "rate_limited", "detail": "wait", "retryable": True, "retry_after": 7.5}
        await ws.send_json({"type": "result", "id": asked["id"], "ok": False, "error": error})
        await ws.receive()
        return ws

    app = web.Application()
    app.router.add_get("/ws/s", refusing)
    async with (
        TestServer(app) as server,
        OperatorClient(str(server.make_url(""))) as client,
        client.conversation("s") as conversation,
    ):
        with pytest.raises(ClientError) as caught:
            await conversation.ask("hi")
    assert (caught.value.retryable, caught.value.retry_after) == (True, 7.5)
