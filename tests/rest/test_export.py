"""Exports while the database has too much to do: a clear answer at the start, patience later; and
of a session that is deleted meanwhile, which is never taken for whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import ClientError, ClientResponse
from structlog.testing import capture_logs

from operator_svc.db.contract import unavailable
from operator_svc.services.chat import export
from operator_svc.stores.message_reads import MessageReads
from operator_svc.stores.tool_calls import ToolCallReads
from tests.rest.rest_service import TOKEN, Service

PATH = "/operator/session/s/export"


class Busy:
    """A database that has no reader free for the pages in ``fails``, counted from 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: range) -> None:
        self.asked = 0
        read = MessageReads.page_after

        async def page_after(store: MessageReads, *args: Any, **kwargs: Any) -> Any:
            self.asked += 1
            if self.asked - 1 in fails:
                raise unavailable("no connection to the database became free in time")
            return await read(store, *args, **kwargs)

        monkeypatch.setattr(MessageReads, "page_after", page_after)
        monkeypatch.setattr(export, "PAGE", 2)
        monkeypatch.setattr(export, "PAUSE", 0.01)


@pytest.fixture
async def chatted(both: Service) -> Service:
    """A service with two pages of messages in the session ``s``."""
    for text in ("one", "two"):
        await both.chat(text, session_id="s")
    return both


async def test_an_export_that_finds_no_reader_at_its_start_is_503(
    chatted: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    Busy(monkeypatch, range(1))
    with capture_logs() as logs:
        refused = await chatted.get(PATH)
    assert (refused.status, (await refused.json())["error"]) == (503, "database_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert [line for line in logs if line["log_level"] == "error"] == []
    assert (await chatted.get(PATH)).status == 200


async def test_an_export_waits_for_a_reader_once_it_has_begun(
    chatted: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(monkeypatch, range(1, 4))
    answer = await chatted.get(PATH)
    lines = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert [line["type"] for line in lines] == ["session"] + ["message"] * 4
    assert busy.asked == 5


async def test_an_export_that_waits_too_long_is_cut_and_is_no_error_of_ours(
    chatted: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PATIENCE", 0.0)
    Busy(monkeypatch, range(1, 10_000))
    with capture_logs() as logs, pytest.raises(ClientError):
        await chatted.get(PATH)
    broken = [line for line in logs if line["event"] == "response interrupted"]
    assert [(x["log_level"], x["error"]) for x in broken] == [("warning", "database_unavailable")]
    assert [line for line in logs if line["log_level"] == "error"] == []


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize("again", [False, True])
async def test_an_export_whose_session_is_deleted_is_cut_and_shows_nothing_of_the_next(
    chatted: Service, monkeypatch: pytest.MonkeyPatch, page: int, again: bool
) -> None:
    read, pages = MessageReads.page_after, 0

    async def page_after(store: MessageReads, *args: Any, **kwargs: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages == page + 1:
            assert (await chatted.call("DELETE", "/operator/session/s")).status == 204
            if again:
                await chatted.chat("of another session", session_id="s")
        return await read(store, *args, **kwargs)

    monkeypatch.setattr(MessageReads, "page_after", page_after)
    monkeypatch.setattr(export, "PAGE", 2)
    headers, received = {"X-VX11-Token": TOKEN}, bytearray()
    async with chatted.session.get(chatted.url + PATH, headers=headers) as answer:
        if page == 0:  # nothing was sent yet
            assert (answer.status, (await answer.json())["error"]) == (404, "session_not_found")
            return
        with pytest.raises(ClientError):
            await take(answer, received)
    assert b"You said: one" in received
    assert b"another" not in received


async def take(answer: ClientResponse, received: bytearray) -> None:
    """Read an answer as far as it comes."""
    async for piece in answer.content.iter_any():
        received += piece


async def test_an_export_whose_session_is_deleted_while_tool_calls_are_read_is_cut(
    chatted: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = await (await chatted.get("/operator/session/s")).json()
    message_id = history["messages"][-1]["id"]
    for name in ("one", "two"):
        call = {"message_id": message_id, "tool_name": name, "arguments": {"text": "x" * 5000}}
        assert (await chatted.post("/operator/tool/call", call)).status in (200, 201)
    read = ToolCallReads.page

    async def page(store: ToolCallReads, *args: Any, **kwargs: Any) -> Any:
        await chatted.call("DELETE", "/operator/session/s")
        return await read(store, *args, **kwargs)

    monkeypatch.setattr(ToolCallReads, "page", page)
    monkeypatch.setattr(export, "PAGE_BYTES", 100)
    with pytest.raises(ClientError):
        await chatted.get(PATH)
