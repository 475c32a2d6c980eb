"""Server-sent events: a chat's reply, and the websocket's twin."""

from __future__ import annotations

import asyncio
import json

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import sse
from tests.fakes.client_view import Frame
from tests.ws.event_streams import EVENTS, chatting, shown
from tests.ws.ws_service import PATIENCE, TOKEN, Service, serving, think


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


async def test_a_reply_of_another_process_is_streamed(postgresql_url: str, bus_url: str) -> None:
    async with (
        serving(postgresql_url, bus_url=bus_url) as one,
        serving(postgresql_url, bus_url=bus_url) as two,
    ):
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
