"""Pages of lists end at 4 MiB of stored content, and nothing is missing from them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from operator_svc.db import AsJson
from operator_svc.db.queries import compile_statement
from operator_svc.stores import search
from tests.rest.rest_service import Service

PAGE_BYTES = 4 * 2**20
"""Bytes of a page, as docs/api.md promises."""
LARGE = 900_000
ROWS = 11
"""Rows of ``LARGE`` bytes, of which a page holds four."""
BEYOND = 5 * 2**20
"""A row that is larger than a page."""
SIZES = [LARGE] * 6 + [BEYOND] + [LARGE] * 4
KEYS = ("id", "seq", "task_id", "session_id")
"""The field that a row is known by, of each kind the first one it has."""
TIME = "'2026-01-01T00:00:00.000000Z'"


class List(NamedTuple):
    """A list: its path, where its rows and its next place stand, how the place is asked for, and
    the statement that stores a row with ``:text``, ``:json`` or ``:n``."""

    path: str
    rows: str
    next: str
    query: str
    insert: str
    shown: Callable[[dict[str, Any]], int]


LISTS = {
    "history": List(
        "/operator/session/s", "messages", "next_before", "before",
        "INSERT INTO operator_message (session_id, role, content, status, created_at)"
        f" VALUES ('s', 'user', :text, 'complete', {TIME})",
        lambda row: len(row["content"]),
    ),
    "metadata": List(
        "/operator/session/s", "messages", "next_before", "before",
        "INSERT INTO operator_message (session_id, role, content, status, metadata, created_at)"
        f" VALUES ('s', 'user', 'x', 'complete', :json, {TIME})",
        lambda row: len(row["metadata"].get("large", "")),
    ),
    "events": List(
        "/operator/session/s/events", "events", "next_after", "after",
        "INSERT INTO operator_event (session_id, seq, event, ts, data)"
        f" VALUES ('s', :n, 'browser_task.queued', {TIME}, :json)",
        lambda row: len(row["data"].get("large", "")),
    ),
    "tool calls": List(
        "/operator/message/2/tool-calls", "tool_calls", "next_cursor", "cursor",
        "INSERT INTO operator_tool_call (message_id, tool_name, status, result, created_at)"
        f" VALUES (2, 't', 'ok', :json, {TIME})",
        lambda row: len(row["result"]["large"]),
    ),
    "tasks": List(
        "/operator/browser/tasks", "tasks", "next_cursor", "cursor",
        "INSERT INTO operator_browser_task (task_id, user_id, url, status, options, not_before,"
        f" created_at) VALUES (:name, 'ana', :text, 'completed', '{{}}', {TIME}, {TIME})",
        lambda row: len(row["url"]),
    ),
    "adjustments": List(
        "/operator/switch/adjustments", "adjustments", "next_cursor", "cursor",
        "INSERT INTO operator_switch_adjustment (session_id, before_config, after_config, reason,"
        f" applied, created_at) VALUES ('s', '{{}}', :json, 'r', FALSE, {TIME})",
        lambda row: len(row["after_config"]["large"]),
    ),
} | dict.fromkeys(
    ("sessions", "sessions of a user", "search", "search of a user", "search in the index"),
    List(
        "/operator/sessions", "sessions", "next_cursor", "cursor",
        "INSERT INTO operator_session (session_id, epoch, user_id, source, metadata, created_at,"
        " updated_at, active_at) VALUES (:name, '00000000-0000-0000-0000-000000000001', 'ana',"
        f" 'api', :json, {TIME}, {TIME}, {TIME})",
        lambda row: len(row["metadata"].get("large", "")),
    ),
)  # fmt: skip
QUERIES = {
    "sessions of a user": "&user_id=ana",
    "search": "&q=word",
    "search of a user": "&q=word&user_id=ana",
    "search in the index": "&q=word",
}
"""Parameters of the query that some of these lists are asked with."""


async def store(service: Service, insert: str, sizes: list[int]) -> None:
    """Store rows of these sizes."""
    values: dict[str, Callable[[int, int], Any]] = {
        "text": lambda _, size: "x" * size,
        "json": lambda _, size: AsJson({"large": "x" * size}),
        "name": lambda n, _: f"t{n}",
        "n": lambda n, _: 100 + n,
    }
    names = compile_statement(insert, "sqlite").params
    rows = [{name: values[name](n, size) for name in names} for n, size in enumerate(sizes)]
    async with service.operator.core.database.transaction() as tx:
        await tx.executemany(insert, rows)


@pytest.fixture
async def chatted(both: Service) -> Service:
    """A service with a chat in the session ``s``, whose reply is message 2."""
    await both.chat("hi", session_id="s")
    return both


async def walk(service: Service, kind: List, query: str) -> list[list[dict[str, Any]]]:
    """All pages of a list."""
    pages, place = [], ""
    while True:
        response = await service.get(f"{kind.path}?limit=200{query}{place}")
        assert response.status == 200, await response.text()
        body = await response.json()
        pages.append(body[kind.rows])
        if body[kind.next] is None:
            return pages
        place = f"&{kind.query}={body[kind.next]}"


async def say_in_all_sessions(service: Service, text: str) -> None:
    """Store a message with a text in each session, and index it."""
    core = service.operator.core
    async with core.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_message (session_id, role, content, status, created_at)"
            f" SELECT session_id, 'user', '{text}', 'complete', {TIME} FROM operator_session"
        )
    await service.operator.search_indexer.run()


@pytest.mark.parametrize("name", LISTS)
async def test_a_page_ends_at_4_mib_and_says_where_to_go_on(
    chatted: Service, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = LISTS[name]
    await store(chatted, kind.insert, SIZES)
    if name.startswith("search"):
        await say_in_all_sessions(chatted, "word")
    if name == "search in the index":
        monkeypatch.setattr(search, "LOOK_SESSIONS", 1)
    pages = await walk(chatted, kind, QUERIES.get(name, ""))
    shown = [[kind.shown(row) for row in page if kind.shown(row) > 100] for page in pages]
    assert sorted(itertools.chain(*shown)) == sorted(SIZES)
    for sizes in shown:
        assert sum(sizes) <= PAGE_BYTES or sizes == [BEYOND]
    assert len(pages) <= 6
    ids = [next(row[key] for key in KEYS if key in row) for page in pages for row in page]
    assert len(ids) == len(set(ids))


async def test_a_message_with_more_tool_calls_than_fit_says_where_they_go_on(
    chatted: Service,
) -> None:
    await store(chatted, LISTS["tool calls"].insert, [LARGE] * ROWS)
    history = await (await chatted.get("/operator/session/s")).json()
    (reply,) = history["messages"]
    assert (reply["id"], history["next_before"]) == (2, 2)
    first = [call["id"] for call in reply["tool_calls"]]
    rest = await (
        await chatted.get(f"/operator/message/2/tool-calls?cursor={reply['tool_calls_next']}")
    ).json()
    assert len(first) == len(rest["tool_calls"]) == PAGE_BYTES // LARGE
    assert rest["tool_calls"][0]["id"] == first[-1] + 1
    older = await (await chatted.get("/operator/session/s?before=2")).json()
    assert [message["id"] for message in older["messages"]] == [1]


async def test_an_export_has_all_of_every_message(chatted: Service) -> None:
    await store(chatted, LISTS["tool calls"].insert, [LARGE] * ROWS)
    await store(chatted, LISTS["history"].insert, SIZES)
    response = await chatted.get("/operator/session/s/export")
    lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [line["type"] for line in lines] == ["session"] + ["message"] * (2 + len(SIZES))
    assert [len(line["content"]) for line in lines[3:]] == SIZES
    assert [len(call["result"]["large"]) for call in lines[2]["tool_calls"]] == [LARGE] * ROWS
    plain = await (await chatted.get("/operator/session/s?limit=1&before=2")).json()
    assert lines[1] == {"type": "message", **plain["messages"][0]}


async def test_a_page_of_a_history_has_all_tool_calls_of_its_messages(chatted: Service) -> None:
    await store(chatted, LISTS["history"].insert, [10] * 6)
    calls = {1: 0, 2: 1, 3: 3, 4: 2, 5: 0, 6: 3, 7: 1, 8: 1}
    for message_id, count in calls.items():
        insert = LISTS["tool calls"].insert.replace("(2,", f"({message_id},")
        await store(chatted, insert, [LARGE] * count)
    pages = await walk(chatted, LISTS["history"], "")
    shown = [message for page in pages for message in reversed(page)]
    assert {m["id"]: len(m["tool_calls"]) for m in shown} == calls
    assert [m["id"] for m in shown] == sorted(calls, reverse=True)
    assert not any("tool_calls_next" in m for m in shown)
    assert [[m["id"] for m in page] for page in pages] == [[7, 8], [5, 6], [4], [1, 2, 3]]
    for page in pages:
        assert sum(len(json.dumps(m)) for m in page) <= PAGE_BYTES
