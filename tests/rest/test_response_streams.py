"""Streams of responses: replayed, resumed on another process, left, and repeated."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.fakes.eventually import eventually
from tests.rest.conftest import Start
from tests.rest.openai_calls import sdk
from tests.rest.response_calls import PATH, SLOW, events_of, replayed, streamed, text_of
from tests.rest.rest_service import TOKEN, Service, running


async def test_a_replay_goes_on_after_any_number_and_is_cut_alike(both: Service) -> None:
    first = await streamed(both, f"{'no-space-' * 9} with space")
    identity, last = first[0]["response"]["id"], first[-1]["sequence_number"]
    again = await replayed(both, identity)
    assert [e for e in again if "response" not in e] == [e for e in first if "response" not in e]
    assert again[0]["response"]["output"] == []
    for after in (0, 1, 2, 3, 4, 30, last - 4, last - 1, last, last + 9):
        rest = await replayed(both, identity, f"&starting_after={after}")
        assert text_of(rest) == text_of(again)[max(0, after - 3) :]
        assert [e["type"] for e in rest if "delta" not in e] == [
            e["type"] for e in again if "delta" not in e and e["sequence_number"] > after
        ]


async def test_a_stream_that_is_cut_is_resumed_by_the_sdk_on_another_process(
    postgresql_url: str, bus_url: str
) -> None:
    async with (
        running(postgresql_url, bus_url=bus_url) as service,
        running(postgresql_url, bus_url=bus_url) as other,
        sdk(service) as client,
        sdk(other) as elsewhere,
    ):
        slow = "x [[rate=100]] [[tokens=60]]"
        stream = await client.responses.create(input=slow, stream=True, background=True)
        seen = []
        async for event in stream:
            seen.append(event)
            if len(seen) == 12:
                break
        await stream.close()
        identity, after = seen[0].response.id, seen[-1].sequence_number
        rest = await elsewhere.responses.retrieve(identity, stream=True, starting_after=after)
        seen += [event async for event in rest]
        whole = await elsewhere.responses.retrieve(identity)
    assert seen[-1].type == "response.completed"
    deltas = [event.delta for event in seen if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text == seen[-1].response.output_text


async def test_text_is_shown_once_it_is_stored(start: Start) -> None:
    service = await start(tick=600.0, switch_idle_timeout=60.0)
    headers = {"X-VX11-Token": TOKEN}
    body = {"input": "x [[stall]] [[after=3]]", "stream": True}
    came = b""
    async with service.session.post(service.url + PATH, json=body, headers=headers) as answer:
        while b"response.in_progress" not in came:
            came += await answer.content.readany()
        identity = events_of(came.decode())[0]["response"]["id"]

        async def written() -> bool:
            reply = await service.get(f"/operator/reply/{identity.removeprefix('resp_')}")
            return bool((await reply.json())["content"])

        await eventually(written)
        assert text_of(events_of(came.decode())) == ""
        shown = await (await service.get(f"{PATH}/{identity}")).json()
        assert shown["output"] == []
        await service.post(f"{PATH}/{identity}/cancel")
        rest = await answer.read()
    events = events_of((came + rest).decode())
    assert (events[-1]["type"], events[-1]["response"]["status"]) == (
        "response.incomplete",
        "cancelled",
    )
    assert text_of(events) == events[-1]["response"]["output"][0]["content"][0]["text"] != ""


async def leave(service: Service, body: dict[str, Any]) -> None:
    """Ask, and go away once the upstream has the call."""
    calls = service.switch.total.calls
    asking = asyncio.create_task(service.post(PATH, body))
    await eventually(lambda: service.switch.total.calls > calls)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_leaving_cancels_in_the_foreground_alone(service: Service) -> None:
    bodies = [{"stream": True}, {}, {"stream": True, "background": True}]
    for body in bodies:
        await leave(service, {"input": SLOW, **body})
    sessions = (await (await service.get("/operator/sessions")).json())["sessions"]

    async def statuses() -> list[str]:
        found = []
        for session in sessions:
            history = await service.get(f"/operator/session/{session['session_id']}")
            found.append((await history.json())["messages"][-1]["status"])
        return sorted(found)

    async def two_are_cancelled() -> bool:
        return (await statuses()).count("cancelled") >= 2

    await eventually(two_are_cancelled)
    assert await statuses() == ["cancelled", "cancelled", "streaming"]


async def test_an_attempt_after_the_first_is_the_same_response(both: Service) -> None:
    async def attempt(count: int, **body: Any) -> Any:
        headers = {"x-stainless-retry-count": str(count)}
        answer = await both.post(PATH, {"input": "hello", **body}, headers=headers)
        return await answer.json()

    first = await attempt(0)
    assert await attempt(1) == first
    assert (await attempt(0))["id"] != first["id"]
    assert (await attempt(1, temperature=0.1))["id"] != first["id"]
    assert both.switch.total.calls == 3


async def test_a_response_that_is_not_stored_is_gone(service: Service) -> None:
    answer = await service.post(PATH, {"input": "hello", "store": False})
    body = await answer.json()
    assert (body["status"], body["store"]) == ("completed", False)
    assert (await service.get(f"{PATH}/{body['id']}")).status == 404
