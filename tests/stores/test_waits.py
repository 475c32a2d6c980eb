"""Writes that waited for a lock see what was committed meanwhile. PostgreSQL only: SQLite has one
writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from operator_svc.db import Database
from operator_svc.models import ReplyChunk
from operator_svc.stores.message_rows import Streaming
from tests.fakes.eventually import eventually
from tests.stores.conversations import POD, Stores


@pytest.fixture
def stores(postgresql_database: Database) -> Stores:
    return Stores(postgresql_database)


@asynccontextmanager
async def somebody_waits(url: str, beside: psycopg.Connection[Any]) -> AsyncIterator[None]:
    """Leave the block when a backend waits for a lock; then commit what ``beside`` did."""
    with psycopg.connect(url, autocommit=True) as looking:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        yield
        await eventually(lambda: looking.execute(waiting).fetchone() == (1,))
        beside.commit()


async def test_a_chat_that_waited_for_its_session_knows_what_was_said_meanwhile(
    stores: Stores, postgresql_url: str
) -> None:
    first = await stores.new("s")
    with psycopg.connect(postgresql_url) as beside:
        beside.execute("UPDATE operator_session SET last_seq = last_seq + 1")
        beside.execute(
            "UPDATE operator_message"
            " SET status = 'complete', owner = NULL, content = 'good evening' WHERE id = %s",
            [first.reply_id],
        )
        async with somebody_waits(postgresql_url, beside):
            starting = asyncio.create_task(stores.more("s", max_chars=3))
        started = await starting
    assert started is not None
    assert started.last_seq == 6
    (exchange,) = started.exchanges or []
    assert (exchange.question, exchange.answer) == ("good", "good")


async def test_an_interrupted_reply_has_text_that_its_owner_was_storing_just_then(
    stores: Stores, postgresql_url: str
) -> None:
    started = await stores.new("s")
    await stores.append(POD, [ReplyChunk(started.reply_id, 0, "half of ")])
    with psycopg.connect(postgresql_url) as beside:
        beside.execute(
            "SELECT 1 FROM operator_message WHERE id = %s FOR NO KEY UPDATE", [started.reply_id]
        )
        beside.execute(
            "INSERT INTO operator_reply_chunk VALUES (%s, 8, 'a sentence')", [started.reply_id]
        )
        async with somebody_waits(postgresql_url, beside):
            abandoned = Streaming(started.reply_id, "s", POD, started.ts)
            ending = asyncio.create_task(stores.messages.interrupt(abandoned, {}))
        assert await ending is not None
    reply = await stores.messages.get(started.reply_id)
    assert reply is not None
    assert (reply.status, reply.content) == ("interrupted", "half of a sentence")
    assert await stores.chunks.after({started.reply_id: 0}) == []
