"""A session as server-sent events: ready, what was missed, and all that follows."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc import lifecycle
from tests.ws.conftest import Start
from tests.ws.event_streams import EVENTS, subscriptions
from tests.ws.ws_service import TOKEN, Service


async def test_a_session_is_streamed_as_events(both: Service) -> None:
    await both.said(1)
    socket = await both.ready()
    async with subscriptions(both) as stream:
        assert stream.frames[0] == socket.frames[0]
        ids = await socket.chat()
        speaker = await both.switch.next()
        speaker.say("some ", "text", None)
        await stream.until(lambda: stream.view.endings)
        await socket.ended()
    live = [f for f in socket.frames if f["type"] not in ("ready", "result")]
    assert stream.frames[1:] == live
    assert stream.view.texts == {ids["reply_id"]: "some text"}


async def test_a_session_that_is_not_there_is_a_404(service: Service) -> None:
    for path in ("/operator/session/none/events", "/operator/session/a%20b/events"):
        problem = await service.http("GET", path, headers=EVENTS)
        assert (problem["http_status"], problem["error"]) == (404, "session_not_found")


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 30, "١"])
async def test_an_invalid_last_event_id_is_a_400(service: Service, value: str) -> None:
    await service.said(1)
    path = "/operator/session/s/events"
    problem = await service.http("GET", path, headers=EVENTS | {"Last-Event-ID": value})
    assert (problem["http_status"], problem["error"]) == (400, "invalid_parameter")


async def test_a_browser_that_comes_back_gets_what_it_missed(both: Service) -> None:
    await both.said(2)
    async with subscriptions(both, "?after=0", **{"Last-Event-ID": "3"}) as stream:
        stream.view.expect_replay(3)
        await stream.until(lambda: "resumed" in stream.kinds())
        assert stream.frames[-1] == {"type": "resumed", "after": 3, "seq": 7}
        epoch = stream.frames[0]["epoch"]
    async with subscriptions(both, f"?epoch={epoch}", **{"Last-Event-ID": "7"}) as stream:
        await stream.until(lambda: "resumed" in stream.kinds())
        assert stream.kinds() == ["ready", "resumed"]
    async with subscriptions(both, "?epoch=another", **{"Last-Event-ID": "7"}) as stream:
        await stream.until(lambda: "resync" in stream.kinds())
        assert stream.view.seq == 7


async def test_heartbeat_comments_are_sent(start: Start) -> None:
    service = await start(heartbeat=0.1)
    await service.said(1)
    async with subscriptions(service) as stream:
        await stream.until(lambda: stream.comments >= 3)
        assert stream.kinds() == ["ready"]


async def test_a_client_that_leaves_is_unregistered(start: Start) -> None:
    service = await start(heartbeat=0.5)
    await service.said(1)
    sockets = service.operator.services.clients
    async with subscriptions(service) as stream:
        await service.until(lambda: len(sockets) == 1)
        stream.response.close()
    await service.until(lambda: len(sockets) == 0)
    assert not service.operator.core.hub.watched


async def test_deleting_the_session_ends_its_stream(both: Service) -> None:
    await both.said(1)
    async with subscriptions(both) as stream:
        await both.http("DELETE", "/operator/session/s")
        await stream.to_the_end()
    assert stream.kinds() == ["ready", "session.deleted"]
    assert stream.last_id == ""


async def test_draining_announces_itself_and_ends_streams(both: Service) -> None:
    await both.said(1)
    async with subscriptions(both) as stream, subscriptions(both, "?after=0") as other:
        other.view.expect_replay(0)
        talker = await both.ready()
        await talker.chat()
        speaker = await both.switch.next()
        draining = asyncio.create_task(lifecycle.drain(both.operator))
        await stream.until(lambda: "draining" in stream.kinds())
        speaker.say("the end", None)
        await asyncio.gather(stream.to_the_end(), other.to_the_end(), draining)
    assert stream.kinds()[-1] == other.kinds()[-1] == "reply.completed"
    problem = await both.http("GET", "/operator/session/s/events", headers=EVENTS)
    assert (problem["http_status"], problem["error"]) == (503, "draining")


async def test_too_many_streams_are_a_429(start: Start) -> None:
    service = await start(sockets_per_session=1)
    await service.said(1)
    await service.until(lambda: len(service.operator.services.clients) == 0)
    async with subscriptions(service):
        problem = await service.http("GET", "/operator/session/s/events", headers=EVENTS)
        assert (problem["http_status"], problem["error"]) == (429, "rate_limited")
    await service.until(lambda: len(service.operator.services.clients) == 0)
    async with subscriptions(service):
        pass


async def test_a_client_that_does_not_read_is_cut_off(start: Start) -> None:
    service = await start(outbox_bytes=4096)
    await service.said(1)
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        b"GET /operator/session/s/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        b"X-VX11-Token: %b\r\n\r\n" % TOKEN.encode()
    )
    sockets = service.operator.services.clients
    await service.until(lambda: len(sockets) == 1)
    for _ in range(8):
        service.switch.answer = ["😀" * 190_000]
        await service.http("POST", "/operator/chat", json={"message": "hi", "session_id": "s"})
    await service.until(lambda: len(sockets) == 0)
    writer.transport.abort()
    del reader
