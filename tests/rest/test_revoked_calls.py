"""Calls that last longer than their token: they end, and what comes late of them is not done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.eventually import eventually
from tests.rest.raw_client import Unread, raw
from tests.rest.rest_service import Service, running
from tests.rest.test_pages import LARGE, LISTS, ROWS, store

ANA = {"name": "ana", "token": "of-ana", "user_id": "ana"}
BOB = {"name": "bob", "token": "of-bob", "user_id": "bob"}
ASKED = "[[stall_first]] hello"
MESSAGES = [{"role": "user", "content": ASKED}]
WAITING: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/operator/chat", {"message": ASKED}),
    "chat of the interface": ("/operator/api/chat", {"message": ASKED}),
    "completion": ("/v1/chat/completions", {"model": "operator", "messages": MESSAGES}),
    "response": ("/v1/responses", {"model": "operator", "input": ASKED}),
    "browser task": ("/operator/browser/task", {"url": "https://example.org/", "wait": 30}),
}
"""Calls that wait, by their path and body."""


class Tokens:
    """A service, and the file of its tokens."""

    def __init__(self, service: Service, path: Path) -> None:
        self.service = service
        self._path = path

    def keep(self, *lines: dict[str, Any]) -> None:
        """Leave these tokens in force."""
        self._path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert self.service.operator.services.tokens.reload()


@pytest.fixture
async def tokens(database_url: str, tmp_path: Path) -> AsyncIterator[Tokens]:
    path = tmp_path / "tokens"
    path.write_text("".join(json.dumps(line) + "\n" for line in (ANA, BOB)))
    async with running(
        database_url, tokens_file=str(path), switch_first_byte_timeout=30.0
    ) as service:
        yield Tokens(service, path)


async def test_calls_that_wait_end_with_their_token_and_others_wait_on(tokens: Tokens) -> None:
    service = tokens.service
    calls = {
        (name, token): asyncio.ensure_future(service.post(path, body, token=f"of-{token}"))
        for name, (path, body) in WAITING.items()
        for token in ("ana", "bob")
    }
    replies = 2 * (len(WAITING) - 1)
    await eventually(lambda: service.switch.total.calls == replies)
    await eventually(lambda: len(service.operator.services.clients) == 4)
    tokens.keep(BOB)
    revoked = await asyncio.gather(*(calls.pop((name, "ana")) for name in WAITING))
    assert {name: answer.status for name, answer in zip(WAITING, revoked, strict=True)} == (
        dict.fromkeys(WAITING, 403)
    )
    assert not any(call.done() for call in calls.values())
    tokens.keep()
    assert {answer.status for answer in await asyncio.gather(*calls.values())} == {403}


STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/operator/chat", {"message": ASKED, "stream": True}),
    "completion": ("/v1/chat/completions", {"messages": MESSAGES, "stream": True}),
    "response": ("/v1/responses", {"input": ASKED, "stream": True}),
    "AI SDK": (
        "/ai/chat",
        {
            "id": "ui",
            "trigger": "submit-message",
            "messages": [{"role": "user", "parts": [{"type": "text", "text": ASKED}]}],
        },
    ),
}
"""The same as streams."""


async def test_a_call_whose_token_goes_while_its_chat_is_stored_waits_for_nothing(
    tokens: Tokens,
) -> None:
    service = tokens.service
    database = service.operator.core.database
    waiting = {f"{name} whole": call for name, call in WAITING.items()} | STREAMS
    async with database.transaction() as tx:
        if database.dialect == "postgresql":
            await tx.execute("LOCK TABLE operator_session, operator_browser_task IN EXCLUSIVE MODE")
        calls = {
            name: asyncio.ensure_future(service.post(path, body, token="of-ana"))
            for name, (path, body) in waiting.items()
        }

        async def let_in() -> bool:
            return await requests_of_ana(service) >= len(waiting)

        await eventually(let_in)
        tokens.keep(BOB)
    answers = {name: (await call).status for name, call in calls.items()}
    assert answers == dict.fromkeys(waiting, 403)


async def requests_of_ana(service: Service) -> float:
    """Requests of ana's that were let in."""
    metrics = await (await service.get("/metrics")).text()
    name = 'operator_token_requests_total{token="ana"} '
    return sum(float(x.removeprefix(name)) for x in metrics.splitlines() if x.startswith(name))


async def test_a_body_that_comes_after_its_token_was_taken_away_is_not_done(tokens: Tokens) -> None:
    body = b'{"message": "hi", "session_id": "late"}'
    head = (
        "POST /operator/chat HTTP/1.1\r\nHost: x\r\nX-VX11-Token: of-ana\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    before = await requests_of_ana(tokens.service)

    async def let_in() -> bool:
        return await requests_of_ana(tokens.service) > before

    async with raw(tokens.service) as client:
        client.send(head.encode() + body[:-1])
        await eventually(let_in)
        tokens.keep(BOB)
        client.send(body[-1:])
        assert (await client.answer())[0] == 403
    assert (await tokens.service.get("/operator/session/late")).status == 404


async def test_an_export_that_nobody_reads_is_cut_with_its_token(tokens: Tokens) -> None:
    service = tokens.service
    await service.post("/operator/chat", {"message": "hi", "session_id": "s"}, token="of-ana")
    await store(service, LISTS["history"].insert, [LARGE] * ROWS)
    client = Unread(service)
    try:
        client.send(
            b"GET /operator/session/s/export HTTP/1.1\r\nHost: x\r\nX-VX11-Token: of-ana\r\n\r\n"
        )
        held = service.operator.services.byte_budget
        await eventually(lambda: held.held > 0)
        tokens.keep(BOB)
        await eventually(lambda: held.held == 0)
        shown = b""
        while piece := await client.read(2**20):
            shown += piece
        assert len(shown) < 2 * LARGE
    finally:
        client.close()
