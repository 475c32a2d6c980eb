"""The largest frame that a client gets, whatever is stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from operator_client import OperatorClient, session_socket
from operator_svc.peers.chat_types import ToolCallPart
from operator_svc.protocol.frames import CloseCode
from operator_svc.services.live import subscriptions
from tests.fakes.eventually import WITHIN
from tests.ws.conftest import Start
from tests.ws.ws_service import TOKEN, Service, think

LARGEST = 2**21
"""Bytes of a frame that docs/websocket.md tells clients to take."""
FRAME = 512 * 1024
"""Bytes of every other frame, as docs/websocket.md promises."""
WORST = "\x01"
"""Six bytes as JSON, more than any other character needs."""


async def sizes_until(service: Service, query: str, last: str) -> dict[str, list[int]]:
    """The sizes of a socket's frames, by the frame's type or the event's name, up to ``last``."""
    sizes: dict[str, list[int]] = {}
    async with service.session.ws_connect(
        f"{service.url}/ws/s{query}", headers={"X-VX11-Token": TOKEN}, max_msg_size=0
    ) as ws:
        async with asyncio.timeout(WITHIN):
            while last not in sizes:
                text = await ws.receive_str()
                frame = json.loads(text)
                name = frame["event"] if frame["type"] == "event" else frame["type"]
                sizes.setdefault(name, []).append(len(text.encode()))
    return sizes


async def test_a_resync_has_the_messages_that_fit_into_512_kib(both: Service) -> None:
    both.switch.answer = ["é" * 60_000]
    for number in range(6):
        await both.http("POST", "/operator/chat", json={"message": f"{number}", "session_id": "s"})
    sizes = await sizes_until(both, "?after=999", "resync")
    assert 400_000 < sizes["resync"][0] <= FRAME
    snapshot = (await both.resync())["snapshot"]
    history = await both.history()
    assert snapshot["messages"] == history[-8:]
    assert snapshot["next_before"] == history[-8]["id"]


async def test_a_resync_without_room_for_the_newest_message_says_where_it_is(
    service: Service,
) -> None:
    service.switch.answer = [WORST * 200_000]
    await service.http("POST", "/operator/chat", json={"message": "m", "session_id": "s"})
    socket = await service.ready(query="?after=999")
    await socket.until(lambda: socket.of("resync"))
    snapshot = socket.of("resync")[0]["snapshot"]
    assert snapshot["messages"] == []
    path = f"/operator/session/s?before={snapshot['next_before']}"
    page = await service.http("GET", path)
    assert page["messages"] == await service.history()


async def test_no_frame_but_a_replys_whole_text_is_larger_than_512_kib(start: Start) -> None:
    service = await start(outbox_bytes=2**24)  # nobody here is cut for reading slowly
    talker = await service.ready()
    body = {
        "message": WORST * 32_000, "session_id": "s", "metadata": {"m": "x" * 65_000},
    }  # fmt: skip
    chat = asyncio.create_task(service.http("POST", "/operator/chat", json=body))
    speaker = await service.switch.next()
    call = ToolCallPart(name=WORST * 300, id="c", raw={"error": WORST * 20_000, "id": "c"})
    speaker.say(think(WORST * 190_000), call, WORST * 190_000)
    await talker.until(lambda: WORST * 190_000 in talker.view.texts.values())
    joined = await sizes_until(service, "", "delta")
    speaker.say(WORST * 10_000, None)
    assert (await chat)["http_status"] == 200
    replayed = await sizes_until(service, "?after=0", "resumed")
    ends = [size for s in (joined, replayed) for size in s.pop("reply.completed", [])]
    assert ends
    assert all(1_200_000 < size < LARGEST for size in ends)
    assert joined["reply.snapshot"]
    assert {"message.created", "tool_call.recorded"} < replayed.keys()
    live = [len(json.dumps(frame)) for frame in talker.frames if frame.get("event") not in
            ("reply.completed",)]  # fmt: skip
    others = [*live, *(size for s in (joined, replayed) for sizes in s.values() for size in sizes)]
    assert max(others) <= FRAME


async def test_the_client_looks_up_a_reply_that_a_resync_does_not_show(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "RESYNC_MESSAGES", 1)
    monkeypatch.setattr(session_socket, "PAUSE", 0.5)
    service = await start(resume_limit=1)
    frames: list[dict[str, Any]] = []
    async with (
        OperatorClient(service.url, TOKEN) as client,
        client.conversation("s", on_reconnect=lambda: frames.append({})) as talk,
    ):
        reply = await talk.ask("a question")
        speaker = await service.switch.next()
        await service.operator.services.clients.close_all(CloseCode.DRAINING)
        speaker.say("ended while it was away", None)
        service.switch.answer = ["another"]
        await service.http("POST", "/operator/chat", json={"message": "m", "session_id": "s"})
        async with asyncio.timeout(WITHIN):
            await reply.wait()
        assert (reply.status, reply.text) == ("complete", "ended while it was away")
        assert frames


def tool_call(number: int, **raw: Any) -> ToolCallPart:
    """A call of an engine, or the end of the one with its number."""
    return ToolCallPart(name="t", id=str(number), raw={"id": str(number), **raw})


@pytest.mark.parametrize(
    ("calls", "kept"),
    [
        ([tool_call(n, result=n) for n in range(300)], 256),
        ([tool_call(n, result="x" * 100_000) for n in range(20)], 10),
    ],
)
async def test_tool_calls_of_a_reply_are_bounded_and_it_says_so(
    both: Service, calls: list[ToolCallPart], kept: int
) -> None:
    large = "x" * 200_000
    both.switch.answer = [tool_call(999), *calls, tool_call(999, result=large), "the text"]
    body = {"message": "m", "session_id": "s"}
    answer = await both.http("POST", "/operator/chat", json=body)
    assert answer["response"] == "the text"
    assert answer["metadata"]["tool_calls_truncated"] is True
    (_, reply) = await both.history()
    assert reply["metadata"] == answer["metadata"]
    first, *others = reply["tool_calls"]
    assert len(others) == kept - (kept == 256)
    assert (first["status"], first["result"]) == ("ok", large if kept == 256 else None)
    assert ("left out" in (first["error"] or "")) == (kept != 256)
