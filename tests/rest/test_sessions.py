"""Reading what was said: pages, the list and its search, export, events, deletion."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from operator_svc.stores.sessions import SessionStore
from tests.fakes.eventually import eventually
from tests.rest.rest_service import Service, running


async def talk(service: Service, session_id: str, chats: int, **fields: Any) -> None:
    """A session with so many chats: ``m0``, ``m1`` and so on."""
    for number in range(chats):
        await service.chat(f"m{number}", session_id=session_id, **fields)


async def page(service: Service, path: str) -> dict[str, Any]:
    """The body of a GET that is answered."""
    response = await service.get(path)
    assert response.status == 200, await response.text()
    body: dict[str, Any] = await response.json()
    return body


async def test_history_comes_in_pages(both: Service) -> None:
    await talk(both, "s", 5)
    whole = await page(both, "/operator/session/s")
    assert whole["message_count"] == 10
    assert whole["next_before"] is None
    contents = [m["content"] for m in whole["messages"]]
    assert contents[::2] == [f"m{n}" for n in range(5)]
    ids = [m["id"] for m in whole["messages"]]
    assert ids == sorted(ids)

    paged: list[int] = []
    before = ""
    while True:
        part = await page(both, f"/operator/session/s?limit=3{before}")
        assert part["message_count"] == 10
        paged = [m["id"] for m in part["messages"]] + paged
        if part["next_before"] is None:
            break
        assert part["next_before"] == part["messages"][0]["id"]
        before = f"&before={part['next_before']}"
    assert paged == ids
    exact = await page(both, f"/operator/session/s?limit=2&before={ids[2]}")
    assert [m["id"] for m in exact["messages"]] == ids[:2]
    assert exact["next_before"] is None
    nothing = await page(both, f"/operator/session/s?before={ids[0]}")
    assert (nothing["messages"], nothing["next_before"]) == ([], None)


async def test_times_of_answers_are_in_utc(both: Service) -> None:
    await talk(both, "s", 1)
    history = await page(both, "/operator/session/s")
    for text in (history["created_at"], history["updated_at"], history["messages"][0]["timestamp"]):
        assert text.endswith("Z")
        assert datetime.fromisoformat(text).utcoffset() == timedelta(0)


async def test_the_list_shows_how_each_session_begins(both: Service) -> None:
    """In one line; neither the export nor the history has it."""
    await both.chat("  What is\n\trunning? " + "x" * 200, session_id="long")
    await both.chat("And now?", session_id="long")
    await both.chat("Nothing.", session_id="short")
    task = {"url": "https://example.org/", "session_id": "task", "wait": 0}
    assert (await both.post("/operator/browser/task", json=task)).status == 202
    listed = (await page(both, "/operator/sessions"))["sessions"]
    previews = {s["session_id"]: s.get("preview") for s in listed}
    begins = "What is running? " + "x" * 103
    assert previews == {"long": begins, "short": "Nothing.", "task": None}
    assert len(begins) == 120

    async def found() -> bool:
        one = (await page(both, "/operator/sessions?q=running"))["sessions"]
        return [(s["session_id"], s["preview"]) for s in one] == [("long", begins)]

    await eventually(found)
    assert "preview" not in await page(both, "/operator/session/long")
    export = await (await both.get("/operator/session/long/export")).text()
    assert "preview" not in json.loads(export.splitlines()[0])


async def test_sessions_come_in_pages_newest_first(both: Service) -> None:
    for number in range(5):
        await talk(both, f"s{number}", 1, user_id="ana" if number % 2 else "bob")

    async def pages(query: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            part = await page(both, f"/operator/sessions?limit=2{query}{cursor}")
            assert len(part["sessions"]) <= 2
            found += [s["session_id"] for s in part["sessions"]]
            if part["next_cursor"] is None:
                return found
            cursor = f"&cursor={part['next_cursor']}"

    assert await pages("") == ["s4", "s3", "s2", "s1", "s0"]
    assert await pages("&user_id=ana") == ["s3", "s1"]
    assert await pages("&user_id=nobody") == []
    first = (await page(both, "/operator/sessions?limit=1"))["sessions"][0]
    assert first["message_count"] == 2
    assert {"session_id", "user_id", "source", "created_at", "updated_at"} <= set(first)


@pytest.mark.measures_time
async def test_search_finds_words_of_messages(both: Service) -> None:
    await both.chat("the Cat sat on the mat", session_id="cats")
    await both.chat("dogs and cats", session_id="dogs")
    await both.chat("naïve café 漢字 in app_main.py", session_id="odd")
    said = time.monotonic()

    async def found(query: str) -> set[str]:
        response = await both.get("/operator/sessions", params={"q": query})
        assert response.status == 200, (query, await response.text())
        return {s["session_id"] for s in (await response.json())["sessions"]}

    async def indexed() -> bool:
        return await found("MAIN app") == {"odd"}

    await eventually(indexed, 2 - (time.monotonic() - said))  # two seconds later at most
    assert await found("cat") == {"cats", "dogs"}
    assert await found("cat mat") == {"cats"}
    assert await found("CAT ma") == {"cats"}
    assert await found("cat dogs") == set()
    assert await found("cats") == {"dogs"}
    assert await found("cafe") == await found("NAÏVE") == await found("字") == {"odd"}
    assert await found("") == await found("   ") == {"cats", "dogs", "odd"}
    for operators in ('"', "'", "a AND", "NOT", "*", "(", "cat:*", "^cat", "-", "NEAR(a b)", "%_",
                      "{a}:b", "\\", "& | !", "😀", ";drop table", "<->", ":"):  # fmt: skip
        await found(operators)


async def test_an_export_has_one_record_a_line(both: Service) -> None:
    await talk(both, "a:b.c", 3)
    response = await both.get("/operator/session/a:b.c/export")
    assert response.status == 200
    assert response.content_type == "application/x-ndjson"
    assert response.headers["Content-Disposition"] == 'attachment; filename="a_b.c.jsonl"'
    lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [line["type"] for line in lines] == ["session"] + ["message"] * 6
    history = await page(both, "/operator/session/a:b.c")
    assert lines[0]["session_id"] == "a:b.c"
    assert [{k: v for k, v in x.items() if k != "type"} for x in lines[1:]] == history["messages"]


async def test_a_long_export_is_streamed(service: Service) -> None:
    await talk(service, "s", 1)
    text = "x" * 20_000
    for _ in range(220):
        await service.chat(text, session_id="s")
    response = await service.get("/operator/session/s/export")
    assert "Content-Length" not in response.headers
    lines = (await response.text()).splitlines()
    assert len(lines) == 1 + 2 * 221
    assert all(json.loads(line) for line in lines)


async def test_events_come_in_pages_without_a_gap(both: Service) -> None:
    await talk(both, "s", 3)
    whole = await page(both, "/operator/session/s/events")
    assert whole["seq"] == 10
    assert [e["seq"] for e in whole["events"]] == list(range(1, 11))
    names = [e["event"] for e in whole["events"]]
    assert names[:4] == ["session.created", "message.created", "reply.started", "reply.completed"]
    after, seen = 0, []
    while after is not None:
        part = await page(both, f"/operator/session/s/events?after={after}&limit=4")
        assert part["epoch"] == whole["epoch"]
        seen += part["events"]
        after = part["next_after"]
    assert seen == whole["events"]
    none = await page(both, "/operator/session/s/events?after=10")
    assert (none["events"], none["next_after"]) == ([], None)


async def test_a_deleted_session_is_gone_with_all_of_it(both: Service) -> None:
    answer = await both.chat("hi", session_id="s", client_message_id="key")
    response = await both.call("DELETE", "/operator/session/s")
    assert response.status == 204
    for path in ("", "/export", "/events"):
        assert (await both.get(f"/operator/session/s{path}")).status == 404
    assert (await both.call("DELETE", "/operator/session/s")).status == 404
    assert (await both.get(f"/operator/reply/{answer['reply_id']}")).status == 404
    assert (await page(both, "/operator/sessions?q=hi"))["sessions"] == []
    again = await both.chat("hi", session_id="s", client_message_id="key")
    assert again["reply_id"] != answer["reply_id"]


async def no_piece(_: SessionStore) -> bool:
    """Nothing is deleted yet."""
    return False


async def test_the_id_of_a_large_session_is_refused_until_its_rows_are_gone(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_svc.stores.sessions.SMALL", 0)
    monkeypatch.setattr(SessionStore, "delete_piece", no_piece)
    async with running(database_url) as service:
        answer = await service.chat("hi", session_id="s", client_message_id="key")
        assert (await service.call("DELETE", "/operator/session/s")).status == 204
        assert (await service.call("DELETE", "/operator/session/s")).status == 404
        for path in ("", "/export", "/events"):
            assert (await service.get(f"/operator/session/s{path}")).status == 404
        assert (await service.get(f"/operator/reply/{answer['reply_id']}")).status == 404
        assert (await page(service, "/operator/sessions"))["sessions"] == []
        refused = await service.post("/operator/chat", {"message": "hi", "session_id": "s"})
        assert (refused.status, (await refused.json())["error"]) == (409, "conflict")
        assert int(refused.headers["Retry-After"]) > 0
        other = await service.chat("hi", session_id="t", client_message_id="key")
        assert other["reply_id"] != answer["reply_id"]
        monkeypatch.undo()
        await service.operator.session_deletion.run()
        again = await service.chat("hi", session_id="s")
        history = await page(service, "/operator/session/s")
        assert [m["id"] for m in history["messages"]] == [again["message_id"], again["reply_id"]]


async def test_sessions_in_which_nothing_happens_are_deleted_and_their_clients_sent_away(
    database_url: str,
) -> None:
    async with running(database_url) as service:
        await service.chat("hi", session_id="s")
        deletion = service.operator.session_deletion
        await deletion.expire(1)
        assert (await service.get("/operator/session/s")).status == 200
        feed = await service.operator.core.hub.open_feed("s")

        async def gone() -> bool:
            await deletion.expire(0.2 / 86400)
            return (await service.get("/operator/session/s")).status == 404

        await eventually(gone)
        assert feed.deleted
        service.operator.core.hub.release(feed)
        async with service.operator.core.database.transaction() as tx:
            assert await tx.fetch("SELECT count(*) FROM operator_message") == [(0,)]


@pytest.mark.parametrize("small", [2000, 0])
async def test_deleting_stops_a_running_reply(
    both: Service, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_svc.stores.sessions.SMALL", small)
    asked = asyncio.ensure_future(
        both.post("/operator/chat", {"message": "[[rate=20]] [[tokens=1000]]", "session_id": "s"})
    )
    await eventually(lambda: len(both.operator.core.running))
    assert (await both.call("DELETE", "/operator/session/s")).status == 204
    response = await asked
    assert (response.status, (await response.json())["error"]) == (404, "session_not_found")
    await eventually(lambda: not len(both.operator.core.running))


async def test_the_history_shows_a_reply_that_is_being_written(both: Service) -> None:
    response = await both.post(
        "/operator/chat",
        {"message": "[[rate=40]] [[tokens=2000]]", "session_id": "s"},
        headers={"Prefer": "respond-async"},
    )
    reply_id = (await response.json())["reply_id"]
    lengths: list[int] = []
    while len(lengths) < 3 or lengths[0] == lengths[-1]:
        await asyncio.sleep(0.15)  # more than a tick
        reply = (await page(both, "/operator/session/s"))["messages"][-1]
        assert reply["status"] == "streaming"
        if reply["content"]:
            lengths.append(len(reply["content"]))
    assert lengths == sorted(lengths)
    await both.post(f"/operator/reply/{reply_id}/cancel")
