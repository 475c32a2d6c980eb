"""The end of sockets: heartbeats, limits, draining, deletion; and what goes on without them."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import WSServerHandshakeError

from operator_svc import lifecycle
from tests.ws.conftest import Start
from tests.ws.ws_service import TOKEN, LazyClient, Service


async def test_the_reply_goes_on_when_the_client_leaves(both: Service) -> None:
    socket, ids, speaker = await both.speaking("first ")
    await socket.leave()
    await both.until(lambda: len(both.operator.services.clients) == 0)
    speaker.say("and last", None)
    await both.until(lambda: not both.operator.core.running.ids)
    history = await both.history()
    assert (history[1]["id"], history[1]["content"]) == (ids["reply_id"], "first and last")
    assert history[1]["status"] == "complete"


async def test_a_client_that_leaves_before_its_result_has_its_message_kept(
    service: Service,
) -> None:
    service.switch.answer = ["yes"]
    socket = await service.ready()
    await socket.send({"type": "chat", "message": "kept", "id": 1})
    await socket.leave()
    await service.switch.next()
    await service.until(lambda: not service.operator.core.running.ids)
    assert [m["content"] for m in await service.history()] == ["kept", "yes"]


async def test_cancel_ends_the_reply_for_all_sockets(both: Service) -> None:
    socket, ids, speaker = await both.speaking("partial ")
    other = await both.ready("another")
    result = await other.ask(type="cancel", reply_id=ids["reply_id"])
    assert result["ok"]
    assert result["data"]["status"] == "cancelled"
    assert result["data"]["content"] == "partial "
    await socket.ended()
    assert socket.view.endings == {ids["reply_id"]: "reply.cancelled"}
    assert speaker.closed
    again = await other.ask(type="cancel", reply_id=ids["reply_id"])
    assert again["ok"]
    assert again["data"]["status"] == "cancelled"


async def test_cancel_before_the_first_word_ends_an_empty_reply(service: Service) -> None:
    socket = await service.ready()
    ids = await socket.chat()
    speaker = await service.switch.next()
    assert (await socket.ask(type="cancel", reply_id=ids["reply_id"]))["ok"]
    await socket.ended()
    assert speaker.closed
    assert socket.view.texts == {ids["reply_id"]: ""}


# Life.


async def test_heartbeats_are_sent_as_frames_and_as_protocol_pings(start: Start) -> None:
    service = await start(heartbeat=0.1)
    begun = time.monotonic()
    socket = await service.ready()
    await socket.until(lambda: len(socket.of("ping")) == 5)
    assert 0.4 < time.monotonic() - begun < 20  # with the heartbeat of 25 s it would be 100
    assert socket.of("ping")[0] == {"type": "ping"}


async def test_a_client_that_answers_nothing_is_closed_with_4002(start: Start) -> None:
    service = await start(heartbeat=0.2)
    begun = time.monotonic()
    silent = await service.ready(autoping=False)
    assert await silent.closed() == 4002
    assert 0.3 < time.monotonic() - begun < 20


async def test_a_client_that_sends_any_frame_stays_connected(start: Start) -> None:
    service = await start(heartbeat=0.6)
    talker = await service.ready(autoping=False)
    for _ in range(24):
        await talker.send({"type": "pong"})
        await asyncio.sleep(0.1)  # well within the heartbeat
    assert talker.code is None
    assert len(talker.of("ping")) >= 3


# Limits.


async def test_too_many_sockets_of_a_session_are_closed_with_4505(start: Start) -> None:
    service = await start(sockets_per_session=2)
    one, _ = await service.ready(), await service.ready()
    assert await (await service.open()).closed() == 4505
    await service.ready("another")
    await one.leave()
    await service.until(lambda: len(service.operator.services.clients) == 2)
    await service.ready()


async def test_a_socket_beyond_those_of_the_process_is_closed_with_4007(start: Start) -> None:
    service = await start(sockets=2)
    one, _ = await service.ready("a"), await service.ready("b")
    assert await (await service.open("c")).closed() == 4007
    await one.leave()
    await service.until(lambda: len(service.operator.services.clients) == 1)
    await service.ready("c")


async def test_sockets_that_do_not_authenticate_take_no_places(start: Start) -> None:
    service = await start(sockets=4)
    await service.ready("a")
    silent = [await service.open("b", token=None) for _ in range(12)]
    # A pool of eight, from which the oldest go.
    for socket in silent[:4]:
        assert await socket.closed() == 4007
    assert [socket.code for socket in silent[4:]] == [None] * 8
    for name in ("b", "c", "d"):
        await service.ready(name)
    late = silent[-1]
    await late.send({"type": "auth", "token": TOKEN})
    assert await late.closed() == 4007


# Draining.


async def test_draining_closes_idle_sockets_at_once(service: Service) -> None:
    sockets = [await service.ready(f"s{n}") for n in range(20)]
    waiting = await service.open(token=None)
    drained = asyncio.create_task(lifecycle.drain(service.operator))
    codes = [await socket.closed() for socket in sockets]
    assert codes == [4000] * 20
    assert await waiting.closed() == 4000
    delays = [socket.of("draining")[0]["reconnect_in_ms"] for socket in sockets]
    assert all(0 < delay <= 5000 for delay in delays)
    assert len(set(delays)) > 10
    await drained
    with pytest.raises(WSServerHandshakeError) as failure:
        await service.open()
    assert failure.value.status == 503


async def test_draining_shows_a_running_reply_to_its_end(both: Service) -> None:
    socket, ids, speaker = await both.speaking("some ")
    drained = asyncio.create_task(lifecycle.drain(both.operator))
    await socket.until(lambda: socket.of("draining"))
    await asyncio.sleep(0.1)  # time in which it would be closed
    assert socket.code is None
    refused = await socket.ask(type="chat", message="too late")
    assert refused["error"]["error"] == "draining"
    speaker.say("words", None)
    assert await socket.closed() == 4000
    assert socket.view.texts == {ids["reply_id"]: "some words"}
    assert socket.view.endings == {ids["reply_id"]: "reply.completed"}
    await drained


async def test_the_drain_deadline_interrupts_replies_and_shows_it(start: Start) -> None:
    service = await start(drain_timeout=0.3)
    socket, ids, _ = await service.speaking("some ")
    begun = time.monotonic()
    await lifecycle.drain(service.operator)
    assert await socket.closed() == 4000
    assert time.monotonic() - begun < 10
    assert socket.view.endings == {ids["reply_id"]: "reply.interrupted"}
    assert socket.view.texts == {ids["reply_id"]: "some "}


async def test_draining_does_not_wait_for_a_client_that_does_not_read(start: Start) -> None:
    service = await start(drain_timeout=0.3)
    await LazyClient.connect(service)
    begun = time.monotonic()
    await lifecycle.drain(service.operator)
    assert time.monotonic() - begun < 20
    assert len(service.operator.services.clients) == 0


# Deletion.


@pytest.mark.parametrize("small", [2000, 0])
async def test_deleting_a_session_closes_its_sockets(
    both: Service, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_svc.stores.sessions.SMALL", small)
    both.switch.answer = ["yes"]
    one, two, other = await both.ready(), await both.ready(), await both.ready("t")
    await one.chat()
    await asyncio.gather(one.ended(), two.ended())
    assert (await both.http("DELETE", "/operator/session/s"))["http_status"] in (200, 204)
    for socket in (one, two):
        assert await socket.closed() == 4504
        notice = socket.frames[-1]
        assert notice["event"] == "session.deleted"
        assert "seq" not in notice
        assert notice["session_id"] == "s"
    assert other.code is None
    anew = await both.ready()
    assert (anew.frames[0]["seq"], anew.frames[0]["epoch"]) == (0, None)


@pytest.mark.parametrize("small", [2000, 0])
async def test_deleting_a_session_ends_its_reply(
    both: Service, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_svc.stores.sessions.SMALL", small)
    socket, _, speaker = await both.speaking("some ")
    await both.http("DELETE", "/operator/session/s")
    assert await socket.closed() == 4504
    await both.until(lambda: speaker.closed)


async def test_a_session_that_was_made_anew_has_another_epoch(both: Service) -> None:
    await both.said(1)
    old = await both.ready()
    await both.http("DELETE", "/operator/session/s")
    await old.closed()
    await both.said(2)
    back = await both.ready(query=f"?after=4&epoch={old.view.epoch}")
    await back.until(lambda: back.of("resync"))
    assert back.of("resync")[0]["epoch"] == back.frames[0]["epoch"] != old.view.epoch
    assert back.of("resync")[0]["seq"] == 7


async def test_a_socket_that_is_catching_up_is_told_of_the_deletion(service: Service) -> None:
    service.switch.answer = ["😀" * 50_000]
    quick = await service.ready()
    for number in range(5):
        await quick.chat(f"number {number}")
    await quick.ended(5)
    slow = await LazyClient.connect(
        service, "/ws/s?after=0"
    )  # a megabyte, of which it reads nothing
    slow.view.seq = 0
    await service.http("DELETE", "/operator/session/s")
    assert await slow.read_to_the_end() == 4504
    assert slow.frames[-1]["event"] == "session.deleted"


async def test_a_session_may_be_deleted_again_and_again(service: Service) -> None:
    service.switch.answer = ["yes"]
    for _ in range(3):
        socket = await service.ready()
        await socket.chat()
        await socket.ended()
        await service.http("DELETE", "/operator/session/s")
        assert await socket.closed() == 4504
