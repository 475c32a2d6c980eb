"""A session with very many replies that are being written, and the end of a process with many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.services.chat import recovery as recovery_module
from operator_svc.services.chat.recovery import ReplyRecovery
from operator_svc.stores.message_rows import Streaming
from tests.ws.ws_service import Service, serving

MANY, FEW = 240, 8
CHARS = 2_000
"""Characters of each reply: all of them are several times what may wait for a slow client."""
AT = "'2026-01-01T00:00:00.000000Z'"
LATER = "'2999-01-01T00:00:00.000000Z'"
LEASE_TTL = 3600.0
"""Seconds: no sweep comes between, so that each test says itself when replies end."""


async def fill(service: Service, session_id: str, replies: int) -> None:
    """A session with so many replies of a living process, each with some text."""
    async with service.operator.core.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_pod (pod_id, started_at, lease_until)"
            f" VALUES ('other', {AT}, {LATER}) ON CONFLICT DO NOTHING"
        )
        await tx.execute(
            "INSERT INTO operator_session (session_id, epoch, user_id, source, last_seq,"
            " message_count, created_at, updated_at, active_at) VALUES (:s,"
            f" '00000000-0000-4000-8000-000000000000', 'ana', 'api', :n, :n, {AT}, {AT}, {AT})",
            s=session_id,
            n=replies,
        )
        numbers = [{"s": session_id, "n": n + 1} for n in range(replies)]
        await tx.executemany(
            "INSERT INTO operator_message (session_id, role, content, status, owner, created_at)"
            f" VALUES (:s, 'assistant', '', 'streaming', 'other', {AT})",
            [{"s": session_id}] * replies,
        )
        await tx.executemany(
            f"INSERT INTO operator_event (session_id, seq, event, ts) VALUES (:s, :n, 'e', {AT})",
            numbers,
        )
        await tx.execute(
            'INSERT INTO operator_reply_chunk (reply_id, "offset", content)'
            f" SELECT id, 0, '{'x' * CHARS}' FROM operator_message WHERE session_id = :s",
            s=session_id,
        )


def count_reads(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the queries that the process reads with from now on."""
    database, names = service.operator.core.database, []
    for way in ("fetch", "fetch_one"):
        read = getattr(database, way)

        def counted(name: str, *args: Any, read: Any = read, **params: Any) -> Any:
            names.append(name)
            return read(name, *args, **params)

        monkeypatch.setattr(database, way, counted)
    return names


async def test_what_a_feed_reads_does_not_grow_with_its_replies(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(database_url, lease_ttl=LEASE_TTL) as service:
        await fill(service, "few", FEW)
        await fill(service, "many", MANY)
        hub = service.operator.core.hub
        read: dict[str, list[str]] = {}
        for name in ("few", "many"):
            names = count_reads(service, monkeypatch)
            feed = await hub.open_feed(name)
            await hub.catch_up(feed)
            read[name] = [n for n in names if n.startswith(("chunks", "repl", "events", "sess"))]
            monkeypatch.undo()
            assert sum(reply.ends["text"] for reply in feed.replies.values()) == CHARS * len(
                feed.replies
            )
            hub.release(feed)
        assert read["many"].count("chunks_after") <= 2
        assert read["many"].count("replies_streaming") == 1
        assert set(read["many"]) == set(read["few"])


@pytest.mark.parametrize(
    ("query", "kept"),
    [("", True), ("?after=0", True), (f"?after={MANY - 5}", True), ("?after=0", False)],
)
async def test_a_client_gets_all_texts_though_they_are_more_than_may_wait_for_it(
    database_url: str, query: str, kept: bool
) -> None:
    """Its replay ends in a resync where the events are not ``kept`` any more."""
    async with serving(database_url, lease_ttl=LEASE_TTL, outbox_bytes=65536) as service:
        await fill(service, "s", MANY)
        if not kept:
            async with service.operator.core.database.transaction() as tx:
                await tx.execute("DELETE FROM operator_event")
        socket = await service.ready("s", query)
        # A resync comes too where the purge was quicker, and names replies with an empty text.
        await socket.until(lambda: sum(map(len, socket.view.texts.values())) >= MANY * CHARS)
        assert [len(text) for text in socket.view.texts.values()] == [CHARS] * MANY
        assert socket.code is None
        history = await service.history()
        assert {m["status"] for m in history} == {"streaming"}
        deleted = await service.http("DELETE", "/operator/session/s")
        assert deleted["http_status"] == 204
        assert await socket.closed() == 4504


async def test_many_replies_of_a_dead_process_end_once_each_and_some_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(database_url, lease_ttl=LEASE_TTL) as service:
        core = service.operator.core
        await fill(service, "s", MANY)
        await fill(service, "t", FEW)
        socket = await service.ready("s", f"?after={MANY}")
        messages = core.stores.messages
        recovery = ReplyRecovery(messages, core.running, core.hub, core.lease)
        await recovery.take_over()
        assert len(await messages.streaming(["s", "t"])) == MANY + FEW, "its lease is held"
        async with core.database.transaction() as tx:
            await tx.execute("DELETE FROM operator_pod WHERE pod_id = 'other'")
        at_once, most, locked = 0, 0, True
        interrupt = messages.interrupt

        async def counted(reply: Streaming, metadata: Any) -> Any:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            try:
                if reply.session_id == "t" and locked:
                    raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "it is locked")
                return await interrupt(reply, metadata)
            finally:
                at_once -= 1

        monkeypatch.setattr(messages, "interrupt", counted)
        with pytest.raises(OperatorError):
            await recovery.take_over()
        assert at_once == 0, "none goes on after the error was told"
        left = {reply.session_id for reply in await messages.streaming(["s", "t"])}
        assert left == {"t"}, "those that cannot be ended keep no others waiting"
        locked = False
        await asyncio.gather(recovery.take_over(), recovery.take_over())
        assert 1 < most <= 2 * recovery_module.AT_ONCE
        assert await messages.streaming(["s", "t"]) == []
        await socket.until(lambda: len(socket.view.endings) == MANY)
        assert set(socket.view.endings.values()) == {"reply.interrupted"}
        assert socket.view.seqs == list(range(MANY + 1, 2 * MANY + 1))
        assert {len(text) for text in socket.view.texts.values()} == {CHARS}
