"""Quotas of chats: a minute, a session and a token; who is refused counts for nobody else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.fakes.eventually import eventually
from tests.rest.conftest import Start
from tests.rest.rest_service import TOKEN, running


async def test_chats_of_a_stranger_leave_the_owners_rate_alone(
    database_url: str, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    lines = [{"name": u, "token": f"of-{u}", "user_id": u} for u in ("ana", "eve")]
    tokens.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with running(database_url, tokens_file=str(tokens), chat_rate=5) as service:
        body = {"message": "hi", "session_id": "of-ana"}
        assert (await service.post("/operator/chat", body, token="of-ana")).status == 200
        for _ in range(8):  # a refused chat counts for nobody
            refused = await service.post("/operator/chat", body, token="of-eve")
            assert refused.status == 404
            assert "RateLimit" not in refused.headers
        for left in (3, 2, 1, 0):
            answer = await service.post("/operator/chat", body, token="of-ana")
            assert answer.status == 200
            assert answer.headers["RateLimit"].startswith(f'"chats";r={left};')
        assert (await service.post("/operator/chat", body, token="of-ana")).status == 429


async def test_chats_without_a_session_count_for_their_token(start: Start) -> None:
    service = await start(chat_rate=4)
    asked = await service.chat("hi", session_id="s")
    statuses = [
        (await service.post("/operator/chat", body)).status
        for body in (
            {"message": "a new session"},
            {"metadata": {"regenerate": asked["message_id"]}},
            {"message": "one more"},
            {"message": "and one more"},
            {"metadata": {"regenerate": asked["message_id"]}},
        )
    ]
    assert statuses == [200, 200, 200, 429, 429]
    assert (await service.post("/operator/chat", {"message": "x", "session_id": "s"})).status == 200


async def test_chats_in_new_sessions_count_for_their_token_whatever_they_are_named(
    start: Start,
) -> None:
    service = await start(chat_rate=3)

    async def chat(session_id: str, **fields: Any) -> int:
        body = {"message": "hi", "session_id": session_id, **fields}
        return (await service.post("/operator/chat", body)).status

    assert [await chat(f"s-{n}") for n in range(5)] == [200, 200, 200, 429, 429]
    refused = await service.post("/operator/chat", {"message": "hi", "session_id": "s-9"})
    assert refused.headers["RateLimit"].startswith('"chats";r=0;')
    assert int(refused.headers["Retry-After"]) >= 1
    assert (await service.post("/operator/chat", {"message": "hi"})).status == 429
    assert await chat("s-0") == 200, "a session that is there has its own rate"
    assert (await service.get("/operator/session/s-9")).status == 404


async def test_replies_of_one_token_at_once_are_bounded(start: Start, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(json.dumps({"name": "other", "token": "of-other"}))
    service = await start(replies_per_token=3, tokens_file=str(tokens))
    slow = {"message": "slowly [[delay=1.5]]"}

    async def chat(token: str = TOKEN) -> int:
        return (await service.post("/operator/chat", slow, token=token)).status

    running_chats = [asyncio.create_task(chat()) for _ in range(3)]
    await eventually(lambda: sum(service.switch.counts.values()) >= 3)
    refused = await service.post("/operator/chat", slow)
    assert (refused.status, (await refused.json())["error"]) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) >= 1
    assert await chat("of-other") == 200
    assert await asyncio.gather(*running_chats) == [200] * 3
    assert await chat() == 200


async def test_a_repeated_key_takes_no_place_of_a_running_reply(start: Start) -> None:
    service = await start(replies_per_token=1)
    keyed = {"message": "hi", "client_message_id": "k", "session_id": "s"}
    for _ in range(3):
        assert (await service.post("/operator/chat", keyed)).status == 200
    assert (await service.post("/operator/chat", {"message": "", "session_id": "s"})).status == 422
    assert (await service.post("/operator/chat", {"message": "hi"})).status == 200
