"""One reply by all transports at once: wherever each cuts it, all add up to the history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from operator_svc.protocol.response_events import TEXT_AT
from tests.fakes.client_view import ClientView
from tests.fakes.eventually import eventually
from tests.rest.openai_calls import PATH, says, stored
from tests.rest.response_calls import replayed
from tests.rest.rest_service import TOKEN, Service, running

SESSION = "s-all"
BODY = {
    "model": "operator",
    "messages": says(f"é🎉 {'no-space-' * 9} \u2028 [[delay=1.5]] [[rate=50]] [[tokens=40]]"),
    "stream": True,
    "background": True,
}
HEADERS = {"X-VX11-Token": TOKEN}


async def data_of(service: Service, method: str, path: str, **kwargs: Any) -> list[Any]:
    """The data of the events of a stream that ends by itself."""
    headers = {**HEADERS, **kwargs.pop("headers", {})}
    async with service.session.request(
        method, service.url + path, headers=headers, **kwargs
    ) as response:
        assert response.status == 200, await response.text()
        lines = (await response.read()).decode().split("\n")
    shown = [line[6:] for line in lines if line.startswith("data: ")]
    return [json.loads(line) for line in shown if line != "[DONE]"]


async def view_of(service: Service, reply_id: int) -> str:
    """The reply's text as Operator's own event stream of the session gives it."""
    view = ClientView()
    buffer = b""
    async with service.session.get(
        f"{service.url}/operator/session/{SESSION}/events",
        headers={**HEADERS, "Accept": "text/event-stream"},
    ) as response:
        async for data in response.content.iter_any():
            buffer += data
            *blocks, buffer = buffer.split(b"\n\n")
            for block in blocks:
                for line in block.decode().split("\n"):
                    if line.startswith("data: "):
                        view.take(json.loads(line[6:]))
            if reply_id in view.endings:
                break
    return view.texts[reply_id]


def deltas(events: Iterable[Any]) -> str:
    """The text of parts and of a response's events."""
    return "".join(
        event["delta"]
        for event in events
        if event["type"] in ("text-delta", "response.output_text.delta")
    )


def contents(chunks: Iterable[Any]) -> str:
    """The text of a completion's chunks."""
    said = (choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"])
    return "".join(piece or "" for piece in said)


def ends(events: Iterable[Any]) -> set[int]:
    """The places at which a response's text was cut."""
    return {event["sequence_number"] for event in events if "delta" in event}


async def test_all_transports_add_up_to_the_history_on_each_process(
    postgresql_url: str, bus_url: str
) -> None:
    async with (
        running(postgresql_url, bus_url=bus_url) as one,
        running(postgresql_url, bus_url=bus_url) as other,
    ):
        named = {"X-Operator-Session": SESSION}
        asking = asyncio.create_task(data_of(one, "POST", PATH, json=BODY, headers=named))
        await eventually(lambda: one.switch.total.running == 1)
        reply_id = (await stored(one, SESSION))[-1]["id"]
        responses = f"/v1/responses/resp_{reply_id}?stream=true"
        places = (one, other)
        views, parts, live = await asyncio.gather(
            asyncio.gather(*(view_of(place, reply_id) for place in places)),
            asyncio.gather(
                *(data_of(place, "GET", f"/ai/chat/{SESSION}/stream") for place in places)
            ),
            asyncio.gather(*(data_of(place, "GET", responses) for place in places)),
        )
        chunks = await asking
        again = await replayed(other, f"resp_{reply_id}")
        later = [
            (place, await replayed(other, f"resp_{reply_id}", f"&starting_after={place}"))
            for place in sorted(ends(live[0]))[::4]
        ]
        repeated = {**named, "x-stainless-retry-count": "1"}
        chunks_again = await data_of(other, "POST", PATH, json=BODY, headers=repeated)
        text = (await stored(one, SESSION))[-1]["content"]
    assert len(text.split()) >= 30
    assert [contents(shown) for shown in (chunks, chunks_again)] == [text] * 2
    assert views == [text, text]
    assert [deltas(shown) for shown in (*parts, *live, again)] == [text] * 5
    assert ends(live[0]) == ends(live[1]) == ends(again)
    for place, rest in later:
        assert deltas(rest) == text[place - TEXT_AT :], "a client may come back with any place"
        assert ends(rest) == {end for end in ends(again) if end > place}
