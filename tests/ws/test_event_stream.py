"""Server-sent events: a chat's reply, and the websocket's twin."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientResponse

from operator_svc import lifecycle
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import sse
from tests.fakes.client_view import ClientView, Frame
from tests.ws.conftest import Start
from tests.ws.ws_service import PATIENCE, TOKEN, Service, serving, think

HEADERS = {"X-VX11-Token": TOKEN}
EVENTS = {"Accept": "text/event-stream"}


class Stream:
    """An event stream as an EventSource reads it."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.view = ClientView()
        self.frames: list[Frame] = []
        self.comments = 0
        self.last_id = ""
        self.ended = False
        self._decoder = sse.Decoder(2**22)

    async def read(self) -> None:
        """Take the frames of the next read."""
        async with asyncio.timeout(PATIENCE):
            chunk = await self.response.content.readany()
        if not chunk:
            self.ended = True
        self.comments += chunk.count(b": ping\n")
        for event in self._decoder.feed(chunk):
            frame = json.loads(event.data)
            self.frames.append(frame)
            self.view.take(frame)
            self.last_id = event.id
            if frame["type"] == "event" and "seq" in frame:
                assert event.id == str(frame["seq"])

    async def until(self, what: Any) -> None:
        """Read until ``what`` is true."""
        while not what():
            assert not self.ended, f"it ended; got {str(self.frames)[:2000]}"
            await self.read()

    async def to_the_end(self) -> None:
        """Read until the stream ends."""
        while not self.ended:
            await self.read()

    def kinds(self) -> list[Any]:
        return [f.get("event", f["type"]) for f in self.frames]


@asynccontextmanager
async def chatting(service: Service, body: Frame, **headers: str) -> AsyncIterator[Stream]:
    async with service.session.post(
        f"{service.url}/operator/chat", json=body, headers=HEADERS | headers
    ) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        stream = Stream(response)
        yield stream


@asynccontextmanager
async def subscriptions(service: Service, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with service.session.get(
        f"{service.url}/operator/session/s/events{query}", headers=HEADERS | EVENTS | headers
    ) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        stream = Stream(response)
        await stream.until(lambda: stream.frames)
        assert stream.frames[0]["type"] == "ready"
        yield stream


def shown(stream: Stream, reply_id: int) -> str:
    return stream.view.texts.get(reply_id, "")


@pytest.mark.parametrize("way", ["body", "accept"])
async def test_a_chat_is_streamed_as_events(both: Service, way: str) -> None:
    body: Frame = {"message": "hello", "session_id": "s"}
    asked = (
        chatting(both, body | {"stream": True}) if way == "body" else chatting(both, body, **EVENTS)
    )
    async with asked as stream:
        await stream.until(lambda: stream.frames)
        ids = stream.frames[0]["data"]
        assert stream.frames[0] == {"type": "result", "id": None, "ok": True, "data": ids}
        speaker = await both.switch.next()
        speaker.say(think("hm"), "one ", "two 😀")
        await stream.until(lambda: shown(stream, ids["reply_id"]) == "one two 😀")
        speaker.say(None)
        await stream.to_the_end()
    assert stream.kinds() == [
        "result", "reply.started", "delta", "delta", "delta", "reply.completed",
    ]  # fmt: skip
    assert stream.view.texts == {ids["reply_id"]: "one two 😀"}
    assert stream.last_id == "4"
    assert (await both.history())[1]["content"] == "one two 😀"


async def test_a_chat_that_cannot_begin_is_answered_with_a_problem(service: Service) -> None:
    for body, status in (({"message": "", "stream": True}, 422), ({"stream": True}, 422)):
        problem = await service.http("POST", "/operator/chat", json=body)
        assert problem["http_status"] == status
        assert problem["error"] == "validation_error"


async def test_a_failure_of_switch_is_an_event(service: Service) -> None:
    async with chatting(service, {"message": "hi", "stream": True}) as stream:
        await stream.until(lambda: stream.frames)
        error = OperatorError(ErrorCode.SWITCH_TIMEOUT, "Switch did not answer in time")
        (await service.switch.next()).say("half", error)
        await stream.to_the_end()
    assert stream.kinds() == ["result", "reply.started", "delta", "reply.failed"]
    assert stream.frames[-1]["data"]["error"] == "switch_timeout"
    assert stream.frames[-1]["data"]["content"] == "half"


async def test_a_key_attaches_to_the_reply_that_is_being_written(service: Service) -> None:
    body = {"message": "hi", "stream": True, "client_message_id": "k"}
    async with chatting(service, body) as first:
        await first.until(lambda: first.frames)
        ids = first.frames[0]["data"]
        speaker = await service.switch.next()
        speaker.say("so far")
        await first.until(lambda: shown(first, ids["reply_id"]))
        async with chatting(service, body) as second:
            await second.until(lambda: shown(second, ids["reply_id"]))
            assert second.kinds() == ["result", "reply.snapshot"]
            speaker.say(", and on", None)
            await asyncio.gather(first.to_the_end(), second.to_the_end())
    assert second.frames[0] == first.frames[0]
    assert first.view.texts == second.view.texts == {ids["reply_id"]: "so far, and on"}
    assert first.frames[-1] == second.frames[-1]


async def test_a_key_of_an_ended_reply_streams_its_events(both: Service) -> None:
    body = {"message": "hi", "stream": True, "client_message_id": "k"}
    both.switch.answer = ["done"]
    async with chatting(both, body) as first:
        await first.to_the_end()
    async with chatting(both, body) as second:
        await second.to_the_end()
    assert second.kinds() == ["result", "reply.started", "reply.completed"]
    assert second.frames[-1] == first.frames[-1]
    async with both.operator.core.database.transaction() as transaction:
        await transaction.execute("DELETE FROM operator_event")
    async with chatting(both, body) as third:
        await third.to_the_end()
    assert third.kinds() == ["result", "reply.completed"]
    assert third.frames[-1]["data"] == first.frames[-1]["data"]
    assert "seq" not in third.frames[-1]


async def test_a_reply_of_another_process_is_streamed(postgresql_url: str) -> None:
    async with serving(postgresql_url) as one, serving(postgresql_url) as two:
        body = {"message": "hi", "session_id": "s", "stream": True, "client_message_id": "k"}
        async with chatting(one, body) as here:
            await here.until(lambda: here.frames)
            ids = here.frames[0]["data"]
            speaker = await one.switch.next()
            speaker.say("so far")
            async with chatting(two, body) as there:
                await there.until(lambda: shown(there, ids["reply_id"]) == "so far")
                speaker.say(", and on")
                await there.until(lambda: shown(there, ids["reply_id"]) == "so far, and on")
                speaker.say(None)
                await asyncio.gather(here.to_the_end(), there.to_the_end())
        assert there.view.texts == here.view.texts
        assert there.frames[-1] == here.frames[-1]
        assert there.kinds()[:2] == ["result", "reply.started"]
        assert two.switch.calls.empty()


async def test_the_reply_goes_on_without_its_reader(service: Service) -> None:
    async with chatting(service, {"message": "hi", "session_id": "s", "stream": True}) as stream:
        await stream.until(lambda: stream.frames)
        speaker = await service.switch.next()
        stream.response.close()
    sockets = service.operator.services.clients
    speaker.say("it ")
    await service.until(lambda: len(sockets) == 0)
    speaker.say("goes on", None)
    await service.until(lambda: not service.operator.core.running.ids)
    assert (await service.history())[1]["content"] == "it goes on"


async def test_cancel_ends_the_stream(service: Service) -> None:
    async with chatting(service, {"message": "hi", "stream": True}) as stream:
        await stream.until(lambda: stream.frames)
        (await service.switch.next()).say("some")
        reply_id = stream.frames[0]["data"]["reply_id"]
        await stream.until(lambda: shown(stream, reply_id))
        await service.http("POST", f"/operator/reply/{reply_id}/cancel")
        await stream.to_the_end()
    assert stream.kinds()[-1] == "reply.cancelled"


async def test_deleting_the_session_ends_a_chats_stream(both: Service) -> None:
    async with chatting(both, {"message": "hi", "session_id": "s", "stream": True}) as stream:
        await stream.until(lambda: stream.frames)
        await both.switch.next()
        await both.http("DELETE", "/operator/session/s")
        await stream.to_the_end()
    assert stream.kinds()[-1] in ("session.deleted", "error")
    assert "reply.completed" not in stream.kinds()


async def test_a_client_of_http_1_0_gets_a_plain_stream(service: Service) -> None:
    service.switch.answer = ["yes"]
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"message": "hi", "stream": true}'
    writer.write(
        b"POST /operator/chat HTTP/1.0\r\nX-VX11-Token: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (TOKEN.encode(), len(body), body)
    )
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    head, _, events = answer.partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"chunked" not in head
    decoder = sse.Decoder(2**20)
    frames = [json.loads(event.data) for event in decoder.feed(events)]
    assert frames[0]["type"] == "result"
    assert frames[-1]["event"] == "reply.completed"
    writer.close()


# The websocket's twin.


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
