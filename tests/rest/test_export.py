"""Exports while the database has too much to do: a clear answer at the start, patience later."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import ClientError
from structlog.testing import capture_logs

from operator_svc.db.contract import unavailable
from operator_svc.services.chat import export
from operator_svc.stores.message_reads import MessageReads
from tests.rest.rest_service import Service

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
