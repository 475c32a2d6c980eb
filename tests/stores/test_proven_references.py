"""Rows without a reference, on PostgreSQL: who writes them holds the row that they belong to.

Whatever comes first, a chat or the deletion of its session, nothing is left of a deleted one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import psycopg
import pytest

from operator_svc.db import Database
from operator_svc.models import ReplyStatus
from operator_svc.stores.message_rows import Ended, Feedback, Started
from operator_svc.stores.search import SearchIndexStore
from tests.fakes.eventually import eventually
from tests.stores.conversations import POD, Stores

WAITS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
LEFT = (
    "SELECT (SELECT count(*) FROM operator_event), (SELECT count(*) FROM operator_switch_feedback),"
    " (SELECT count(*) FROM operator_search), (SELECT count(*) FROM operator_message)"
)
DELETE = "DELETE FROM operator_session WHERE session_id = 's'"


@pytest.fixture
def stores(postgresql_database: Database) -> Stores:
    return Stores(postgresql_database)


def end(stores: Stores, started: Started) -> Awaitable[Ended | None]:
    """The end of the reply of the session ``s``, with feedback."""
    return stores.messages.finish(
        session_id="s", reply_id=started.reply_id, begun_at=started.ts, pod_id=POD,
        status=ReplyStatus.COMPLETE, content="done", metadata={},
        feedback=Feedback("engine", True, 1, 1, None),
    )  # fmt: skip


@pytest.mark.parametrize("what", ["chat", "end"])
async def test_a_write_that_waits_for_a_deletion_writes_nothing(
    stores: Stores, postgresql_url: str, what: str
) -> None:
    started = await stores.new("s")
    with (
        psycopg.connect(postgresql_url) as deleting,
        psycopg.connect(postgresql_url, autocommit=True) as looking,
    ):
        deleting.execute(DELETE)
        write = asyncio.ensure_future(stores.more("s") if what == "chat" else end(stores, started))
        await eventually(lambda: looking.execute(WAITS).fetchone() == (1,))
        deleting.commit()
        assert await write is None
        assert looking.execute(LEFT).fetchone() == (0, 0, 0, 0)


async def test_a_deletion_takes_what_was_written_while_it_waited(
    stores: Stores, postgresql_url: str
) -> None:
    started = await stores.new("s")
    with (
        psycopg.connect(postgresql_url) as writing,
        psycopg.connect(postgresql_url, autocommit=True) as looking,
    ):
        writing.execute("UPDATE operator_session SET last_seq = last_seq + 1")
        writing.execute("INSERT INTO operator_event (session_id, seq, event) VALUES ('s', 4, 'e')")
        writing.execute(
            "INSERT INTO operator_switch_feedback (session_id, engine, success, latency_ms,"
            " tokens_used) VALUES ('s', 'e', TRUE, 1, 1)"
        )
        deletion = asyncio.create_task(stores.sessions.delete("s", None))
        await eventually(lambda: looking.execute(WAITS).fetchone() == (1,))
        writing.commit()
        assert await deletion is not None
        assert await end(stores, started) is None
        assert looking.execute(LEFT).fetchone() == (0, 0, 0, 0)


@pytest.mark.parametrize("deletion", ["commit", "rollback"])
async def test_words_of_a_message_that_is_being_deleted_wait_for_what_becomes_of_it(
    stores: Stores, postgresql_url: str, deletion: str
) -> None:
    started = await stores.new("s")
    await end(stores, started)
    index = SearchIndexStore(stores.database)
    with (
        psycopg.connect(postgresql_url) as deleting,
        psycopg.connect(postgresql_url, autocommit=True) as looking,
    ):
        deleting.execute("DELETE FROM operator_message WHERE id = %s", [started.reply_id])
        await index.store([(started.message_id, "good"), (started.reply_id, "done")])
        assert looking.execute(LEFT).fetchone() == (3 + 1, 1, 1, 2)
        getattr(deleting, deletion)()
        await index.store([(started.reply_id, "done")])
        kept = deletion == "rollback"
        assert looking.execute(LEFT).fetchone() == (4, kept, 1 + kept, 1 + kept)
        looking.execute("DELETE FROM operator_message")
        assert looking.execute(LEFT).fetchone() == (4, 0, 0, 0)
        assert looking.execute("SELECT * FROM operator_search_queue").fetchall() == []
