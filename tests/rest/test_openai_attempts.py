"""Repeated attempts of OpenAI's SDKs, and callers that leave."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from operator_svc.settings import Settings
from tests.fakes.eventually import eventually
from tests.fakes.faulty_proxy import Fault, FaultyProxy
from tests.rest.conftest import Start
from tests.rest.openai_calls import (
    PATH,
    REPEATED,
    completion,
    says,
    sdk,
    stored,
    two_processes,
)
from tests.rest.rest_service import GRACE, TOKEN, Service

USUAL_GRACE = Settings().disconnect_grace
AWAY = 1.5
"""Seconds of the grace where a caller comes back, which a busy machine may make late."""


async def test_an_attempt_after_the_first_is_the_same_chat(both: Service) -> None:
    async def attempt(count: int, **body: Any) -> Any:
        headers = {"x-stainless-retry-count": str(count)}
        return await (await completion(both, body, headers=headers)).json()

    first = await attempt(0)
    again = await attempt(1)
    assert (again["id"], again["choices"]) == (first["id"], first["choices"])
    second = await attempt(0)
    assert second["id"] != first["id"]
    assert (await attempt(2))["id"] == second["id"]
    assert (await attempt(1, temperature=0.1))["id"] not in (first["id"], second["id"])
    assert both.switch.total.calls == 3


async def test_an_attempt_after_a_refused_one_is_no_repetition(start: Start) -> None:
    service = await start(replies_per_token=1)

    async def attempt(count: int) -> tuple[int, Any]:
        answer = await completion(service, {}, headers={"x-stainless-retry-count": str(count)})
        return answer.status, (await answer.json()).get("id")

    _, of_another = await attempt(0)
    other = {"message": "slowly [[stall_first]]"}
    waiting = await service.post("/operator/chat", other, headers={"Prefer": "wait=0"})
    assert [await attempt(0), await attempt(1)] == [(429, None), (429, None)]
    await service.post(f"{waiting.headers['Location']}/cancel")

    async def has_room() -> bool:
        return (await service.post("/operator/chat", {"message": "hi"})).status == 200

    await eventually(has_room)
    status, asked = await attempt(2)
    assert status == 200
    assert asked != of_another
    assert await attempt(1) == (200, asked)


async def test_a_failed_attempt_is_tried_anew_with_its_message(both: Service) -> None:
    service = both
    named = {"X-Operator-Session": "s-again"}
    service.switch.set_mode({"chat": {"mode": "500"}, "times": 1})
    assert (await completion(service, {}, headers=named)).status == 502
    repeated = {**named, "x-stainless-retry-count": "1"}
    assert (await completion(service, {}, headers=repeated)).status == 200
    roles = [(m["role"], m["status"]) for m in await stored(service, "s-again")]
    assert roles == [("user", "complete"), ("assistant", "failed"), ("assistant", "complete")]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_whose_token_is_taken_away_is_told(
    start: Start, tmp_path: Path, stream: bool
) -> None:
    path = tmp_path / "tokens.jsonl"
    path.write_text('{"name": "sdk", "token": "of-sdk"}')
    service = await start(tokens_file=str(path))
    body = {"stream": stream, "messages": says("x [[stall_first]]")}
    waiting = asyncio.create_task(completion(service, body, token="of-sdk"))
    await eventually(lambda: service.switch.total.running == 1)
    path.write_text("")
    assert service.operator.services.tokens.reload()
    response = await waiting
    assert (response.status, (await response.json())["error"]["type"]) == (403, "permission_error")


async def test_a_session_that_is_not_to_be_stored_may_be_gone_already(service: Service) -> None:
    body = {"store": False, "messages": says("x [[stall_first]]")}
    waiting = asyncio.create_task(completion(service, body))
    await eventually(lambda: service.switch.total.running == 1)
    (session,) = (await (await service.get("/operator/sessions")).json())["sessions"]
    gone = await service.call("DELETE", f"/operator/session/{session['session_id']}")
    assert gone.status == 204
    response = await waiting
    assert (response.status, (await response.json())["error"]["code"]) == (404, "session_not_found")


async def leave(service: Service, body: dict[str, Any], **headers: str) -> None:
    """Ask, and go away once Switch has the call and, with a stream, the answer has begun."""
    slow = {"messages": [{"role": "user", "content": "x [[rate=20]] [[tokens=400]]"}], **body}
    all_headers = {"X-VX11-Token": TOKEN, "X-Operator-Session": "s-left", **headers}
    calls = service.switch.total.calls

    async def ask() -> None:
        async with service.session.post(
            service.url + PATH, json=slow, headers=all_headers
        ) as response:
            await response.content.readany()
            response.close()

    asking = asyncio.create_task(ask())
    await eventually(lambda: service.switch.total.calls > calls)
    if body["stream"]:
        await asking
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_that_leaves_cancels_the_reply(service: Service, stream: bool) -> None:
    await leave(service, {"stream": stream})

    async def cancelled() -> bool:
        return bool((await stored(service, "s-left"))[-1]["status"] == "cancelled")

    await eventually(cancelled)


async def test_a_background_reply_goes_on_and_a_repeated_call_takes_one_over(
    start: Start,
) -> None:
    service = await start(disconnect_grace=AWAY)
    await leave(service, {"stream": True}, **{"X-Operator-Background": "true"})
    retried = {"x-stainless-retry-count": "1"}
    await leave(service, {"stream": True, "seed": 1})
    slow = {"messages": [{"role": "user", "content": "x [[rate=20]] [[tokens=400]]"}]}
    async with service.session.post(
        service.url + PATH,
        json={**slow, "stream": True, "seed": 1},
        headers={"X-VX11-Token": TOKEN, "X-Operator-Session": "s-left", **retried},
    ):
        await asyncio.sleep(AWAY + GRACE)
        statuses = [m["status"] for m in await stored(service, "s-left") if m["role"] != "user"]
        assert statuses == ["streaming", "streaming"]
    assert service.switch.total.calls == 2


NAMED = {"X-Operator-Session": "s-left"}


async def repeat(service: Service, body: dict[str, Any]) -> str:
    """The answer to the second attempt of a call."""
    response = await service.post(PATH, body, headers={**NAMED, **REPEATED})
    assert response.status == 200
    return await response.text()


async def begin(service: Service, body: dict[str, Any]) -> None:
    """Ask, and lose the connection once the answer has begun."""
    headers = {"X-VX11-Token": TOKEN, **NAMED}
    async with service.session.post(service.url + PATH, json=body, headers=headers) as response:
        await response.content.readany()
        response.close()


async def test_a_repeated_call_takes_a_running_reply_over_on_another_process(
    postgresql_url: str, bus_url: str
) -> None:
    async with two_processes(postgresql_url, bus_url, disconnect_grace=AWAY) as (one, other):
        body = {"stream": True, "messages": says("x [[rate=20]] [[tokens=40]]")}
        await begin(one, body)
        await repeat(other, body)  # which takes longer than the grace
        (reply,) = [m for m in await stored(one, "s-left") if m["role"] != "user"]
        assert reply["status"] == "complete"
        assert len(reply["content"].split()) == 40
        assert one.switch.total.calls == 1


@pytest.mark.one_bus  # the bus carries a cancel, which tests of replies show on each
async def test_a_reply_that_was_taken_over_is_cancelled_by_the_one_who_left_last(
    postgresql_url: str,
) -> None:
    async with two_processes(postgresql_url, "", disconnect_grace=AWAY) as (one, other):
        body = {"stream": True, "messages": says("x [[rate=20]] [[tokens=400]]")}
        await begin(one, body)
        headers = {"X-VX11-Token": TOKEN, **NAMED, **REPEATED}
        async with other.session.post(other.url + PATH, json=body, headers=headers) as answer:
            await asyncio.sleep(AWAY + GRACE)
            assert (await stored(one, "s-left"))[-1]["status"] == "streaming"
            answer.close()

        async def cancelled() -> bool:
            return bool((await stored(one, "s-left"))[-1]["status"] == "cancelled")

        await eventually(cancelled)
        assert one.switch.total.calls == 1


@pytest.mark.measures_time
async def test_an_sdk_whose_second_attempt_is_lost_comes_back_within_the_grace(
    service: Service,
) -> None:
    came: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()

    def choose(request: web.Request) -> Fault:
        attempt = request.headers["x-stainless-retry-count"]
        came.append((attempt, loop.time()))
        return Fault("none" if attempt == "2" else "refuse", service.url)

    async with FaultyProxy(choose) as proxy, sdk(service, base_url=f"{proxy.url}/v1") as client:
        asked = {"model": "operator", "messages": says("x")}
        await asyncio.gather(*(client.chat.completions.create(**asked) for _ in range(4)))
    away = min(at for attempt, at in came if attempt == "2") - came[0][1]
    assert away < USUAL_GRACE


async def test_a_repeated_call_that_comes_after_the_grace_has_a_whole_reply(both: Service) -> None:
    both.switch.set_mode({"chat": {"rate": 20, "tokens": 400}, "times": 1})
    body = {"stream": True, "messages": says("x")}
    await begin(both, body)

    async def cancelled() -> bool:
        return bool((await stored(both, "s-left"))[-1]["status"] == "cancelled")

    await eventually(cancelled)
    assert "[DONE]" in await repeat(both, body)
    messages = [(m["role"], m["status"]) for m in await stored(both, "s-left")]
    assert messages[0] == ("user", "complete")
    assert messages[1:] == [("assistant", "cancelled"), ("assistant", "complete")]


async def test_a_call_that_is_not_stored_is_taken_over_and_leaves_nothing_behind(
    start: Start,
) -> None:
    service = await start(disconnect_grace=AWAY)
    body = {"store": False, "stream": True, "messages": says("x [[rate=20]] [[tokens=40]]")}
    headers = {"X-VX11-Token": TOKEN}
    async with service.session.post(service.url + PATH, json=body, headers=headers) as answer:
        await answer.content.readany()
        answer.close()
    answer = await service.post(PATH, body, headers=REPEATED)
    assert "[DONE]" in await answer.text()
    assert service.switch.total.calls == 1
    listed = await (await service.get("/operator/sessions")).json()
    assert listed["sessions"] == []


async def test_store_false_leaves_nothing_behind(service: Service) -> None:
    response = await completion(service, {"store": False})
    assert response.status == 200
    listed = await (await service.get("/operator/sessions")).json()
    assert listed["sessions"] == []


async def test_an_attempt_that_another_version_has_hashed_otherwise_is_the_same_chat(
    both: Service,
) -> None:
    first = await (await completion(both, {"temperature": 0.5})).json()
    async with both.operator.core.database.transaction() as tx:
        await tx.execute("UPDATE operator_chat_key SET body_hash = :other", other=b"other")
    again = await completion(both, {"temperature": 0.5}, headers=REPEATED)
    assert (again.status, (await again.json())["id"]) == (200, first["id"])
    assert both.switch.total.calls == 1
