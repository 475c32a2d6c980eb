"""Streams of long replies, which come whole at whatever pace their client reads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from operator_svc.rest import event_stream
from tests.fakes.eventually import eventually
from tests.rest.conftest import Start
from tests.rest.raw_client import Unread
from tests.rest.rest_service import TOKEN, Service

ASKED = "hello [[tokens=9000]]"
"""A message with a reply of so many words, whose events have more bytes than a send queue."""
LONGEST = "hello [[tokens=30000]]"
"""A message whose reply, as it is, has more bytes than the buffers of a connection."""
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/operator/chat", {"message": LONGEST, "stream": True}),
    "response": ("/v1/responses", {"input": ASKED, "stream": True}),
}
LAST = b"\r\n0\r\n\r\n"
"""The end of a chunked answer."""


async def ended(answer: str) -> str:
    """The text of a response whose stream has come to its end."""
    events = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: ")]
    assert events[-1]["type"] == "response.completed"
    text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    assert text == events[-1]["response"]["output"][0]["content"][0]["text"]
    return text


async def stored(service: Service) -> bool:
    """True once the reply is stored whole."""
    reply = await service.get("/operator/reply/2")
    return reply.status == 200 and (await reply.json())["status"] != "streaming"


async def test_a_long_response_is_streamed_again_whole(both: Service) -> None:
    created = await (await both.post("/v1/responses", {"input": ASKED})).json()
    text = created["output"][0]["content"][0]["text"]
    assert len(text) > 40_000
    again = await both.get(f"/v1/responses/{created['id']}?stream=true")
    assert await ended(await again.text()) == text


@pytest.mark.parametrize("name", CALLS)
async def test_a_client_that_pauses_before_the_end_gets_it(
    service: Service, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "CLOSE_GRACE", 0.05)
    path, body = CALLS[name]
    sent = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-VX11-Token: {TOKEN}\r\n"
    client = Unread(service)
    try:
        client.send(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        await eventually(lambda: service.switch.total.calls == 1)
        await eventually(lambda: stored(service))
        await asyncio.sleep(0.3)  # longer than a client that is sent away may take
        got = b""
        while not got.endswith(LAST) and (piece := await client.read(2**16)):
            got += piece
    finally:
        client.close()
    assert got.endswith(LAST), got[-200:]


async def test_streams_of_replies_that_are_there_have_no_place_beyond_the_limit(
    start: Start,
) -> None:
    service = await start(sockets=1)
    asked = {"message": "hello [[stall_first]]", "session_id": "s"}
    preferred = {"Prefer": "respond-async"}
    reply_id = (await (await service.post("/operator/chat", asked, headers=preferred)).json())[
        "reply_id"
    ]
    paths = (f"/v1/responses/resp_{reply_id}?stream=true", "/ai/chat/s/stream")
    watched = "/operator/session/s/events"
    headers = {"X-VX11-Token": TOKEN, "Accept": "text/event-stream"}
    async with service.session.get(service.url + watched, headers=headers) as first:
        assert first.status == 200
        for path in (*paths, watched):
            answer = await service.get(path, headers=headers)
            assert (answer.status, answer.headers["Retry-After"]) == (429, "5"), path
