"""Moments between two steps in which something else happens: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from operator_svc.services.live.hub import SessionHub
from operator_svc.ws.connection import Connection
from tests.ws.conftest import Start
from tests.ws.ws_service import TOKEN, Service, Socket, serving


class Breakpoint:
    """Holds a coroutine function up, before or after it did its work, until it is opened."""

    def __init__(self, owner: object, name: str, *, after: bool = True) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        work: Callable[..., Any] = getattr(owner, name)

        async def gated(*args: Any, **kwargs: Any) -> Any:
            if after:
                result = await work(*args, **kwargs)
            self.reached.set()
            await self.opened.wait()
            return result if after else await work(*args, **kwargs)

        self._owner, self._name, self._work = owner, name, work
        setattr(owner, name, gated)

    def open(self) -> None:
        """Let go who is held up, and hold up nobody any more."""
        self.pass_others()
        self.opened.set()

    def pass_others(self) -> None:
        """Hold up nobody else."""
        setattr(self._owner, self._name, self._work)


@pytest.fixture
async def two(
    postgresql_url: str, bus_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Service]]:
    """Two processes (in this one) on one database, whose polls are switched off."""
    monkeypatch.setattr(SessionHub, "poll", lambda self: None)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(serving(postgresql_url, bus_url=bus_url))
            for _ in range(2)
        ]


async def test_remote_events_during_a_load_are_shown(two: list[Service]) -> None:
    here, there = two
    await there.said(1)
    gate = Breakpoint(here.operator.core.stores.sessions, "get")
    opening = asyncio.create_task(here.open())
    await gate.reached.wait()
    await there.said(1)
    await asyncio.sleep(0.3)  # its notification comes and goes
    gate.open()
    socket = await opening
    await socket.until(lambda: socket.of("ready"))
    await socket.shown(7)


async def test_local_events_during_a_load_are_shown(both: Service) -> None:
    await both.said(1)
    gate = Breakpoint(both.operator.core.stores.messages, "streaming")
    opening = asyncio.create_task(both.open())
    await gate.reached.wait()
    both.switch.answer = ["quick"]
    headers = {"X-VX11-Token": TOKEN}
    async with both.session.post(
        f"{both.url}/operator/chat", json={"message": "m", "session_id": "s"}, headers=headers
    ) as response:
        assert response.status == 200
    gate.open()
    socket = await opening
    await socket.until(lambda: socket.of("ready"))
    seq = socket.frames[0]["seq"]
    await socket.shown(7)
    assert [f["seq"] for f in socket.events()] == list(range(seq + 1, 8))


async def test_a_reply_within_a_replay_is_shown_whole(both: Service) -> None:
    await both.said(2)
    talker = await both.ready()
    store = both.operator.core.stores.events
    gate = Breakpoint(store, "after")
    late = await both.ready(query="?after=0")
    await gate.reached.wait()
    ids = await talker.chat("meanwhile")
    speaker = await both.switch.next()
    speaker.say("all ", "of it", None)
    await talker.ended()
    more = await talker.chat("and more")
    speaker = await both.switch.next()
    speaker.say("some ")
    await talker.until(lambda: more["reply_id"] in talker.view.texts)
    gate.open()
    await late.until(lambda: late.view.texts.get(more["reply_id"]) == "some ")
    speaker.say("more", None)
    await late.until(lambda: more["reply_id"] in late.view.endings)
    assert late.view.texts[ids["reply_id"]] == "all of it"
    assert late.view.texts[more["reply_id"]] == "some more"
    assert [f["seq"] for f in late.events()] == list(range(1, 14))


async def test_a_reply_that_ends_during_its_snapshot_is_shown_whole(service: Service) -> None:
    talker, ids, speaker = await service.speaking("text")
    late = await service.ready(query="?after=0")
    _, late_client = service.operator.services.clients
    assert isinstance(late_client, Connection)
    await late.until(lambda: late.of("reply.snapshot"))
    gate = Breakpoint(late_client.send_queue, "wait_drained")
    late.view.expect_replay(0)
    await late.send({"type": "resume", "after": 0})
    await gate.reached.wait()
    speaker.say(" and end", None)
    await talker.ended()
    gate.open()
    await late.ended()
    assert late.view.texts == {ids["reply_id"]: "text and end"}


async def unread(two: list[Service]) -> tuple[Service, Service, Socket, Breakpoint]:
    """Two pods, a client of the first, and what keeps that from reading what comes next."""
    here, there = two
    await here.said(1)
    watcher = await here.ready()
    return here, there, watcher, Breakpoint(here.operator.core.feed_reader, "read", after=False)


async def test_resume_ahead_of_unread_news_does_not_resync(two: list[Service]) -> None:
    here, there, watcher, gate = await unread(two)
    await there.said(1)
    await gate.reached.wait()
    gate.pass_others()  # the reader is stuck; others may read
    assert watcher.view.seq == 4
    back = await here.ready(query="?after=7")
    await back.until(lambda: back.of("resumed"))
    assert back.of("resync") == []
    await watcher.shown(7)
    gate.open()


async def test_resume_before_a_deletion_is_read_closes_with_4504(two: list[Service]) -> None:
    _, there, watcher, gate = await unread(two)
    assert (await there.http("DELETE", "/operator/session/s"))["http_status"] in (200, 204)
    await gate.reached.wait()
    gate.pass_others()
    await watcher.send({"type": "resume", "after": 0})
    assert await watcher.closed() == 4504
    assert watcher.frames[-1]["event"] == "session.deleted"
    gate.open()


async def test_a_deletion_during_a_read_closes_with_4504(two: list[Service]) -> None:
    here, there = two
    await here.said(1)
    watcher = await here.ready()
    gate = Breakpoint(here.operator.core.stores.events, "after_each", after=False)
    await there.said(1)
    await gate.reached.wait()
    await there.http("DELETE", "/operator/session/s")
    gate.open()
    assert await watcher.closed() == 4504
    assert watcher.frames[-1]["event"] == "session.deleted"


async def test_a_session_made_anew_closes_sockets_of_the_old_one(two: list[Service]) -> None:
    here, there, watcher, gate = await unread(two)
    await there.http("DELETE", "/operator/session/s")
    await there.said(2)
    await gate.reached.wait()
    gate.pass_others()
    await watcher.send({"type": "resume", "after": 99})
    assert await watcher.closed() == 4504
    gate.open()
    anew = await here.ready()
    assert anew.frames[0]["seq"] == 7
    assert anew.frames[0]["epoch"] != watcher.view.epoch


async def test_a_session_made_on_another_pod_is_shown_to_waiting_sockets(
    two: list[Service],
) -> None:
    here, there = two
    waiting = await here.ready()
    assert waiting.frames[0]["epoch"] is None
    there.switch.answer = ["yes"]
    await there.said(1)
    await waiting.ended()
    assert [f["seq"] for f in waiting.events()] == [1, 2, 3, 4]
    back = await here.ready(query="?after=4")
    assert back.frames[0]["epoch"] is not None


@pytest.mark.parametrize("purged", ["seq <= 6", "TRUE"])
async def test_events_purged_before_they_were_shown_close_with_4003_and_resync(
    two: list[Service], purged: str
) -> None:
    here, there, watcher, gate = await unread(two)
    await there.said(2)
    await gate.reached.wait()
    async with there.operator.core.database.transaction() as transaction:
        await transaction.execute(f"DELETE FROM operator_event WHERE {purged}")
    gate.open()
    assert await watcher.closed() == 4003
    assert watcher.view.seq == 4
    back = await here.back(watcher)
    await back.until(lambda: back.of("resync"))
    assert back.view.seq == 10


async def test_a_socket_that_leaves_during_a_load_is_unregistered(service: Service) -> None:
    await service.said(1)
    gate = Breakpoint(service.operator.core.stores.sessions, "get")
    leaving = await service.open()
    await gate.reached.wait()
    await leaving.leave()
    gate.open()
    sockets = service.operator.services.clients
    await service.until(lambda: len(sockets) == 0)
    assert not service.operator.core.hub.watched


async def test_sockets_that_come_and_go_lose_no_event_of_those_that_stay(start: Start) -> None:
    service = await start()
    service.switch.answer = ["some ", "words"]
    stayed = await service.ready()

    async def come_and_go(number: int) -> None:
        socket = await service.ready(query="?after=0" if number % 2 else "")
        if number % 3:
            await socket.chat(f"number {number}")
        await socket.leave()

    await asyncio.gather(*(come_and_go(number) for number in range(30)))
    await stayed.ended(20)
    back = await service.ready(query="?after=0")
    await back.shown(1 + 20 * 3)
    assert back.view.texts == stayed.view.texts
    assert back.events() == stayed.events()
    await service.until(lambda: len(service.operator.services.clients) == 2)
