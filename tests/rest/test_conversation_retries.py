"""Conversations that an SDK asks for again, because it had no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest

from operator_svc.protocol.intents import SOON
from tests.fakes.eventually import WITHIN
from tests.rest.openai_calls import REPEATED
from tests.rest.response_calls import message
from tests.rest.rest_service import Service, running
from tests.rest.test_conversations import PATH, listed
from tests.rest.test_openai_races import on_its_way, processes

pytestmark = pytest.mark.one_bus
"""Attempts meet in the database."""
FIRST = {"x-stainless-retry-count": "0"}
KEYED = {"Idempotency-Key": "mine"}
BODY = {"items": [message("user", "I am Ana."), message("assistant", "Hello, Ana.")]}


async def made(service: Service, headers: Any, body: Any = BODY) -> str:
    answer = await service.post(PATH, body, headers=headers)
    conversation = await answer.json()
    assert answer.status == 200, conversation
    identity: str = conversation["id"]
    return identity


async def sessions(service: Service) -> set[str]:
    answer = await (await service.get("/operator/sessions?limit=100")).json()
    return {f"conv_{session['session_id']}" for session in answer["sessions"]}


@asynccontextmanager
async def lost(service: Service, body: Any = BODY) -> AsyncIterator[None]:
    """A call whose caller leaves when its conversation is stored and not yet answered."""
    stored_one, left = asyncio.Event(), asyncio.Event()
    get = service.operator.services.sessions.get

    async def held(caller: Any, session_id: str) -> Any:
        stored_one.set()
        await left.wait()
        return await get(caller, session_id)

    with patch.object(service.operator.services.sessions, "get", held):
        try:
            async with on_its_way(service, PATH, body, "x-stainless-retry-count: 0") as connection:
                connection.send(b"}")
                async with asyncio.timeout(WITHIN):
                    await stored_one.wait()
                yield
            await service.get("/v1/models")  # what the connection brought before is read by then
        finally:
            left.set()


@pytest.mark.parametrize("body", [BODY, {}])
async def test_a_conversation_whose_answer_was_lost_is_the_one_of_the_next_attempt(
    database_url: str, body: Any
) -> None:
    async with processes(database_url) as (one, other):
        async with lost(one, body):
            (waiting,) = await sessions(one)
        await asyncio.sleep(SOON)
        assert await made(other, REPEATED, body) == waiting
        if body:
            items = await listed(other, f"{PATH}/{waiting}")
            assert [item["content"][0]["text"] for item in items] == ["I am Ana.", "Hello, Ana."]
        # Whoever asks the same now has not asked for this one.
        await asyncio.sleep(SOON)
        assert await made(one, REPEATED, body) != waiting
        assert len(await sessions(one)) == 2


async def test_an_answered_conversation_is_not_another_callers(database_url: str) -> None:
    """Bodies say little: whoever repeats a call that never came would share what others say."""
    async with processes(database_url) as (one, other):
        answered = await made(one, FIRST, {})
        await asyncio.sleep(SOON)
        repeated = await made(other, REPEATED, {})
        assert repeated != answered
        assert await sessions(one) == {answered, repeated}


async def test_lost_conversations_of_the_same_body_go_to_one_caller_each(
    database_url: str,
) -> None:
    async with processes(database_url) as (one, other):
        async with lost(one):
            pass
        await asyncio.sleep(SOON)
        calls = [made(process, REPEATED) for process in (one, other) for _ in range(5)]
        answers = await asyncio.gather(*calls)
        assert len(set(answers)) == len(answers)
        async with lost(one), lost(other):
            pass
        await asyncio.sleep(SOON)
        later = await asyncio.gather(*(made(one, REPEATED) for _ in range(3)))
        assert not {*later} & {*answers}
        assert len(set(later)) == len(later)


async def test_calls_of_the_same_body_at_once_are_conversations_of_their_own(
    database_url: str,
) -> None:
    async with processes(database_url) as (one, other):
        for _ in range(4):
            both = [made(process, FIRST, {}) for process in (one, other) for _ in range(8)]
            answers = await asyncio.gather(*both)
            assert len(set(answers)) == len(answers)


async def test_a_key_makes_one_conversation(database_url: str) -> None:
    async with processes(database_url) as (one, other):
        calls = [made(process, KEYED) for process in (one, other) for _ in range(5)]
        (identity,) = set(await asyncio.gather(*calls))
        assert await sessions(one) == {identity}
        assert len(await listed(one, f"{PATH}/{identity}")) == 2
        refused = await one.post(PATH, {}, headers=KEYED)
        assert (refused.status, (await refused.json())["error"]["code"]) == (409, "conflict")
        wrong = await one.post(PATH, {}, headers={"Idempotency-Key": "x" * 300})
        assert (wrong.status, (await wrong.json())["error"]["param"]) == (400, "Idempotency-Key")
        again = await other.post(PATH, BODY, headers={**KEYED, **REPEATED})
        assert (await again.json())["id"] == identity
        assert (await one.call("DELETE", f"{PATH}/{identity}")).status == 200
        assert await made(other, KEYED, {}) != identity


async def test_a_retry_after_a_refusal_is_a_call_of_its_own(database_url: str) -> None:
    async with running(database_url, chat_rate=1) as service:
        async with lost(service, {}):
            pass
        await asyncio.sleep(SOON)
        refused = await service.post(PATH, {}, headers=FIRST)
        assert refused.status == 429
        answer = await service.post(PATH, {}, headers=REPEATED)
        assert answer.status == 429, "what was refused before is not what was lost"


async def test_what_a_conversation_begins_with_is_stored_with_it(database_url: str) -> None:
    """Its events are numbered like all, for those who follow it from its start."""
    async with running(database_url) as service:
        identity = await made(service, FIRST, {**BODY, "metadata": {"topic": "names"}})
        path = f"/operator/session/{identity.removeprefix('conv_')}"
        seen = await (await service.get(path)).json()
        assert [m["content"] for m in seen["messages"]] == ["I am Ana.", "Hello, Ana."]
        exported = await (await service.get(f"{path}/export")).text()
        assert '"topic":"names"' in exported
        answer = await service.post("/v1/responses", {"input": "Who?", "conversation": identity})
        assert answer.status == 200
        assert (await answer.json())["conversation"]["id"] == identity
