"""Acknowledged data survives SIGKILL, and nothing stays half-written."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import Any

import aiohttp
import msgspec
import psycopg

from operator_svc import devpeers
from operator_svc.db import connect
from operator_svc.settings import Settings
from tests.cluster.processes import TOKEN, Pod, environment
from tests.fakes.eventually import eventually

STORED = "SELECT sum(length(content)) FROM operator_reply_chunk GROUP BY reply_id"
MANY = 10_000
"""Messages, and events, of a session that is deleted: twenty pieces."""
SLOW_DELETION = {
    "sqlite": (
        "CREATE TRIGGER slow BEFORE DELETE ON operator_message WHEN old.id % 250 = 0"
        " BEGIN SELECT length(hex(randomblob(10000000))); END",
        "DROP TRIGGER slow",
    ),
    "postgresql": (
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;"
        " CREATE TRIGGER slow BEFORE DELETE ON operator_message EXECUTE FUNCTION slow()",
        "DROP FUNCTION slow CASCADE",
    ),
}
"""Statements after which each piece of a deletion takes long, and those that take it back."""
AT = "'2026-01-01T00:00:00.000000Z'"
SESSIONS = (
    "INSERT INTO operator_session (session_id, epoch, user_id, source, last_seq, message_count,"
    f" created_at, updated_at, active_at) VALUES (:s, :epoch, 'ana', 'api', :n, :n, {AT}, {AT},"
    f" {AT})"
)
MESSAGES = (
    "INSERT INTO operator_message (session_id, role, content, status, created_at)"
    f" VALUES (:s, 'user', 'a secret word', 'complete', {AT})"
)
EVENTS = f"INSERT INTO operator_event (session_id, seq, event, ts) VALUES (:s, :seq, 'e', {AT})"


async def test_kill_in_mid_stream(sqlite_url: str) -> None:
    async with (
        await devpeers.start(TOKEN) as peers,
        aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}) as http,
    ):
        pod = Pod(environment(sqlite_url, peers))
        await pod.start()
        acknowledged: dict[str, int] = {}
        for n in range(5):
            async with http.post(
                f"{pod.url}/operator/chat",
                json={"message": f"number {n}", "session_id": f"done{n}"},
            ) as answer:
                told = await answer.json()
                assert answer.status == 200
                acknowledged[f"done{n}"] = told["reply_id"]
        for n in range(5):
            async with http.post(
                f"{pod.url}/operator/chat",
                json={"message": f"{'many words ' * 200} [[rate=20]]", "session_id": f"cut{n}"},
                headers={"Prefer": "respond-async"},
            ) as answer:
                assert answer.status == 202
                acknowledged[f"cut{n}"] = (await answer.json())["reply_id"]

        async def some_is_stored() -> bool:
            path = sqlite_url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path)) as beside:
                stored = beside.execute(STORED).fetchall()
            return len(stored) == 5 and all(characters > 10 for (characters,) in stored)

        await eventually(some_is_stored)
        await pod.end(signal.SIGKILL)
        await pod.start()
        for session_id, reply_id in acknowledged.items():
            async with http.get(f"{pod.url}/operator/session/{session_id}") as answer:
                history = msgspec.json.decode(await answer.read())
            asked, reply = history["messages"]
            assert reply["id"] == reply_id
            if session_id.startswith("done"):
                assert reply["status"] == "complete"
            else:
                assert reply["status"] == "interrupted"
                assert reply["metadata"]["error"] == "reply_interrupted"
                assert 10 < len(reply["content"]) < len(asked["content"])
            async with http.get(f"{pod.url}/operator/session/{session_id}/events") as answer:
                events = msgspec.json.decode(await answer.read())["events"]
            assert [e["seq"] for e in events] == [1, 2, 3, 4]
        assert await pod.end() == 0


async def fill(url: str, sessions: dict[str, int]) -> None:
    """Sessions with so many messages and events."""
    database = await connect(Settings(database_url=url, db_timeout=60.0))
    async with database.transaction() as tx:
        for name, rows in sessions.items():
            epoch = "00000000-0000-4000-8000-000000000000"
            await tx.execute(SESSIONS, s=name, epoch=epoch, n=rows)
            await tx.executemany(MESSAGES, [{"s": name}] * rows)
            await tx.executemany(EVENTS, [{"s": name, "seq": n + 1} for n in range(rows)])
    await database.aclose()


def execute(url: str, statements: str) -> None:
    """Change the schema beside the processes."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as beside:
            beside.execute(statements)
    else:
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(statements.encode())


def rows_of(url: str, session_id: str) -> int:
    """Its messages, events and row, as they are stored."""
    query = " UNION ALL ".join(
        f"SELECT count(*) AS n FROM operator_{table} WHERE session_id = '{session_id}'"
        for table in ("session", "message", "event")
    )
    total = f"SELECT sum(n) FROM ({query}) AS counts"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as beside:
            return int(beside.execute(total).fetchone()[0])
    with psycopg.connect(url) as server:
        row = server.execute(total.encode()).fetchone()
        assert row is not None
        return int(row[0])


async def delete_and_kill(http: aiohttp.ClientSession, victim: Pod, url: str) -> None:
    """Delete the session ``large``, and kill its process in the midst of that."""
    slow, quick = SLOW_DELETION[url.partition(":")[0]]
    execute(url, slow)
    async with http.delete(f"{victim.url}/operator/session/large") as answer:
        assert answer.status == 204
    await eventually(lambda: rows_of(url, "large") <= 2 * MANY - 1000, every=0.01)
    await victim.end(signal.SIGKILL)
    assert 2 < rows_of(url, "large") < 2 * MANY
    execute(url, quick)


async def test_the_deletion_of_a_large_session_is_finished_after_a_kill(database_url: str) -> None:
    """By the same process, once it is back, on SQLite; by another one on PostgreSQL."""
    await fill(database_url, {"large": MANY, "kept": 300})
    async with (
        await devpeers.start(TOKEN) as peers,
        aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}) as http,
    ):
        long = environment(database_url, peers, OPERATOR_EVENT_RETENTION="3650")
        victim, heir = Pod(long), Pod(long)
        await victim.start()
        if database_url.startswith("postgresql"):
            await heir.start()
        await delete_and_kill(http, victim, database_url)
        if not heir.url:
            await heir.start()

        async def call(path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
            method = "GET" if body is None else "POST"
            async with http.request(method, f"{heir.url}/operator/{path}", json=body) as answer:
                return answer.status, await answer.json()

        async def is_whole() -> bool:
            """Nothing is seen of it until its id can be used again."""
            assert (await call("session/large"))[0] == 404
            status, answer = await call("chat", {"message": "new", "session_id": "large"})
            assert status == 200 or answer["error"] == "conflict"
            return status == 200

        await eventually(is_whole)
        assert rows_of(database_url, "large") == 1 + 2 + 4
        _, history = await call("session/large")
        assert [m["role"] for m in history["messages"]] == ["user", "assistant"]
        assert (await call("session/large/events"))[1]["events"][0]["seq"] == 1
        _, found = await call("sessions?q=secret")
        assert "large" not in [session["session_id"] for session in found["sessions"]]
        assert rows_of(database_url, "kept") == 1 + 300 + 300
        assert (await call("session/kept"))[1]["message_count"] == 300
        await heir.end(signal.SIGKILL)
