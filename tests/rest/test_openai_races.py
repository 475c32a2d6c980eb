"""Attempts of one intent that are on their way at once, on one process and on two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from operator_svc.protocol.intents import SOON
from tests.fakes.eventually import WITHIN, eventually
from tests.rest.openai_calls import PATH, REPEATED, completion, says, stored, two_processes
from tests.rest.raw_client import RawConnection, raw
from tests.rest.rest_service import GRACE, TOKEN, Service, running

pytestmark = pytest.mark.one_bus
"""Attempts meet in the database."""


@asynccontextmanager
async def on_its_way(
    service: Service, path: str, body: dict[str, Any], *headers: str
) -> AsyncIterator[RawConnection]:
    """A call that has come but for its last byte, a brace."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"X-VX11-Token: {TOKEN}", *headers]
    lines += [f"Content-Length: {len(data)}", "Expect: 100-continue", "", ""]
    async with raw(service) as connection:
        connection.send("\r\n".join(lines).encode())
        assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        connection.send(data[:-1])
        yield connection


@asynccontextmanager
async def processes(url: str) -> AsyncIterator[tuple[Service, Service]]:
    """Two services on one database; on SQLite, which is one process's, the same one twice."""
    if url.startswith("sqlite"):
        async with running(url) as one:
            yield one, one
    else:
        async with two_processes(url, "") as both:
            yield both


INTENTS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    (PATH, {"messages": says("x [[delay=1]]")}, ()),
    (PATH, {"messages": says("x [[delay=1]]")}, ("X-Operator-Session: s-race",)),
    ("/v1/responses", {"input": "x [[delay=1]]"}, ()),
]


@pytest.mark.parametrize(("path", "body", "named"), INTENTS)
async def test_a_first_attempt_that_is_stored_after_the_one_that_repeats_it_is_the_same_chat(
    database_url: str, path: str, body: dict[str, Any], named: tuple[str, ...]
) -> None:
    headers = {**dict(line.split(": ") for line in named), **REPEATED}
    async with processes(database_url) as (one, other):
        async with on_its_way(one, path, body, *named) as first:
            repeated = asyncio.create_task(other.post(path, body, headers=headers))
            await eventually(lambda: one.switch.total.calls == 1)
            first.send(b"}")
            await asyncio.sleep(2 * GRACE)  # nobody waits for it, and yet it is not left
        answer = await repeated
        assert answer.status == 200
        assert "x [[delay=1]]" in await answer.text()
        listed = (await (await one.get("/operator/sessions")).json())["sessions"]
        (session,) = listed
        messages = await stored(one, session["session_id"])
        states = [(m["role"], m["status"]) for m in messages]
        assert states == [("user", "complete"), ("assistant", "complete")]
        assert one.switch.total.calls == 1


async def test_a_first_attempt_that_comes_after_the_repeated_one_is_a_chat_of_its_own(
    both: Service,
) -> None:
    assert (await completion(both, {}, headers=REPEATED)).status == 200
    await asyncio.sleep(1.2 * SOON)
    assert (await completion(both, {})).status == 200
    assert (await completion(both, {}, headers=REPEATED)).status == 200
    assert both.switch.total.calls == 2


async def test_a_call_whose_caller_left_before_it_was_read_is_the_one_that_repeated_it(
    both: Service,
) -> None:
    body = {"messages": says("hello")}
    assert (await completion(both, body, headers=REPEATED)).status == 200
    await asyncio.sleep(1.2 * SOON)  # too long for one that was sent before it
    async with on_its_way(both, PATH, body) as late:
        late.send(b"}")
        late.writer.write_eof()
        async with asyncio.timeout(WITHIN):
            await late.reader.read()
    assert both.switch.total.calls == 1


async def test_calls_that_ask_the_same_at_once_are_intents_of_their_own(
    database_url: str,
) -> None:
    async with processes(database_url) as (one, other):
        answers = await asyncio.gather(
            *(completion(service, {}) for service in (one, other) for _ in range(4))
        )
        assert [answer.status for answer in answers] == [200] * 8
        assert len({(await answer.json())["id"] for answer in answers}) == 8
        assert one.switch.total.calls == 8


async def test_attempts_at_once_are_one_chat(database_url: str) -> None:
    async with processes(database_url) as (one, other):
        for number in range(5):
            body = {"messages": says(f"hello {number}")}
            attempts = ((one, "0"), (other, "1"), (one, "2"), (other, "2"))
            answers = await asyncio.gather(
                *(
                    service.post(PATH, body, headers={"x-stainless-retry-count": count})
                    for service, count in attempts
                )
            )
            assert [answer.status for answer in answers] == [200] * 4
            assert len({(await answer.json())["id"] for answer in answers}) == 1
            assert one.switch.total.calls == number + 1


async def test_messages_of_the_ai_sdk_that_are_sent_twice_at_once_are_one_chat(
    database_url: str,
) -> None:
    parts = [{"type": "text", "text": "hello"}]
    body = {"id": "s", "messages": [{"role": "user", "parts": parts, "id": "m-1"}]}
    regenerate = {"id": "s", "trigger": "regenerate-message"}
    async with processes(database_url) as (one, other):
        for asked, headers in ((body, {}), (regenerate, {"Idempotency-Key": "again"})):
            answers = await asyncio.gather(
                *(service.post("/ai/chat", asked, headers=headers) for service in (one, other) * 2)
            )
            assert [answer.status for answer in answers] == [200] * 4
            assert len({(await answer.text()).splitlines()[0] for answer in answers}) == 1
        assert one.switch.total.calls == 2
