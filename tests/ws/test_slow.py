"""Clients that read slowly, or not at all, or vanish."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
import tracemalloc
from pathlib import Path

from prometheus_client import REGISTRY

import operator_svc
from tests.fakes.scripted_switch import ScriptedCall
from tests.ws.conftest import Start
from tests.ws.ws_service import LazyClient, Service, Socket

PIECE = "😀" * 1000  # 4 KB as a frame


async def speak(speaker: ScriptedCall, quick: Socket, pieces: int) -> None:
    """So many pieces, as fast as a quick reader reads them."""
    for _ in range(pieces):
        shown = len(quick.of("delta"))
        speaker.say(PIECE)
        await quick.until(lambda shown=shown: len(quick.of("delta")) > shown)  # type: ignore[misc]


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_pieces_for_a_slow_reader_are_merged(service: Service) -> None:
    merged = metric("operator_merged_deltas_total")
    slow = await LazyClient.connect(service)
    quick = await service.ready()
    ids = await quick.chat()
    speaker = await service.switch.next()
    await speak(speaker, quick, 110)
    assert metric("operator_queued_bytes") > 0
    speaker.say("end", None)
    await quick.ended()
    while not slow.view.endings:
        await slow.read()
    deltas = [f for f in slow.frames if f["type"] == "delta"]
    assert len(deltas) < 110
    assert metric("operator_merged_deltas_total") >= merged + 110 - len(deltas)
    assert "".join(d["content"] for d in deltas) == PIECE * 110 + "end"
    assert slow.view.texts == quick.view.texts == {ids["reply_id"]: PIECE * 110 + "end"}
    await slow.ws.close()
    await service.until(lambda: metric("operator_queued_bytes") == 0)


async def slow_and_quick(service: Service) -> tuple[LazyClient, Socket, ScriptedCall]:
    """A client that reads when it is told to, one that reads at once, and its chat at Switch."""
    slow = await LazyClient.connect(service)
    quick = await service.ready()
    await quick.chat()
    return slow, quick, await service.switch.next()


async def chats(service: Service, client: Socket, count: int, reply: str) -> None:
    """So many chats of a client, each with this reply."""
    service.switch.answer = [reply]
    for number in range(count):
        await client.chat(f"number {number}")
    await client.ended(count)


async def test_a_reader_that_does_not_read_is_cut_off_and_resuming_repairs_it(
    start: Start,
) -> None:
    service = await start(outbox_bytes=64 * 1024)
    slow, quick, speaker = await slow_and_quick(service)
    cut_off = metric("operator_slow_consumer_disconnects_total")
    begun = time.monotonic()
    await speak(speaker, quick, 190)
    assert time.monotonic() - begun < 20  # nobody waited the 30 s that it may read nothing
    assert metric("operator_slow_consumer_disconnects_total") == cut_off + 1
    assert metric("operator_queued_bytes") == 0
    speaker.say("end", None)
    await quick.ended()
    assert await slow.read_to_the_end() in (4001, None)
    assert slow.view.endings == {}
    back = await service.ready(query=f"?after={slow.view.seq}", known=slow.view)
    await back.ended()
    assert back.view.texts == quick.view.texts


async def test_a_slow_client_that_reads_again_gets_the_close_code(start: Start) -> None:
    service = await start(outbox_bytes=4096)
    slow, quick, speaker = await slow_and_quick(service)
    await speak(speaker, quick, 150)
    assert await slow.read_to_the_end() == 4001


async def test_a_slow_client_resumes_however_small_its_queue(start: Start) -> None:
    service = await start(outbox_bytes=4096)
    quick = await service.ready()
    await chats(service, quick, 10, PIECE * 20)
    service.switch.answer = None
    ids = await quick.chat("the last")
    for _ in range(10):
        await service.switch.next()
    speaker = await service.switch.next()
    await speak(speaker, quick, 100)
    assert len(quick.view.texts[ids["reply_id"]]) == 100_000
    slow = await LazyClient.connect(service, "/ws/s?after=0")  # 800 KB of events, 400 of text
    slow.view.seq = 0
    speaker.say(PIECE)
    await asyncio.sleep(0.2)  # two ticks
    speaker.say("end", None)
    await quick.ended(11)
    while len(slow.view.endings) < 11:
        await slow.read()
    assert slow.view.texts == quick.view.texts
    assert slow.view.seq == quick.view.seq
    await slow.ws.close()


async def test_a_late_slow_client_gets_all_of_a_long_text(start: Start) -> None:
    service = await start(outbox_bytes=4096)
    quick = await service.ready()
    await quick.chat()
    speaker = await service.switch.next()
    await speak(speaker, quick, 150)
    slow = await LazyClient.connect(service)
    await speak(speaker, quick, 10)
    while sum(map(len, slow.view.texts.values())) < 160_000:
        await slow.read()
    assert slow.view.texts == quick.view.texts
    await slow.ws.close()


async def test_a_client_that_does_not_answer_a_close_is_cut_off(start: Start) -> None:
    service = await start(outbox_bytes=4096)
    lazy, quick, speaker = await slow_and_quick(service)
    await speak(speaker, quick, 150)
    sockets = service.operator.services.clients
    assert len(sockets) == 2
    await service.until(lambda: len(sockets) == 1)
    lazy.cut()


async def test_a_client_that_vanishes_is_unregistered(service: Service) -> None:
    client, quick, speaker = await slow_and_quick(service)
    sockets = service.operator.services.clients
    assert len(sockets) == 2
    client.cut()
    await service.until(lambda: len(sockets) == 1)
    speaker.say("it goes on", None)
    await quick.ended()
    await quick.leave()
    await service.until(lambda: len(sockets) == 0)
    assert not service.operator.core.hub.watched


async def test_a_client_that_reads_slowly_stays_connected(start: Start) -> None:
    service = await start(heartbeat=0.3)
    quick = await service.ready()
    await chats(service, quick, 3, PIECE * 150)
    slow = await LazyClient.connect(service, "/ws/s?after=0")
    slow.ws.transport.pause_reading()
    descriptor = slow.ws.transport.get_extra_info("socket").fileno()
    sockets = service.operator.services.clients
    read = 0
    for _ in range(60):  # in 1.5 s less than a megabyte: the pong comes after them
        with contextlib.suppress(BlockingIOError):
            read += len(os.read(descriptor, 16_000))
        await asyncio.sleep(0.025)  # the pace of the reader
    assert read < 1_000_000
    assert len(sockets) == 2
    await service.until(lambda: len(sockets) == 1)  # now it reads no more
    slow.cut()


async def test_a_slow_reader_is_cut_off_sooner_while_the_budget_is_used_up(start: Start) -> None:
    service = await start(bytes_in_flight=100_000)  # its queue alone could have a megabyte
    slow, quick, speaker = await slow_and_quick(service)
    await speak(speaker, quick, 140)
    assert await slow.read_to_the_end() in (4001, None)
    speaker.say("end", None)
    await quick.ended()
    await service.until(lambda: service.operator.services.byte_budget.held == 0)
    back = await service.ready(query=f"?after={slow.view.seq}", known=slow.view)
    await back.ended()
    assert back.view.texts == quick.view.texts


async def test_resume_is_refused_while_the_budget_is_used_up(start: Start) -> None:
    service = await start(bytes_in_flight=100_000)
    await service.said(1)
    budget = service.operator.services.byte_budget
    budget.add(100_000)
    socket = await service.open(query="?after=0")
    assert await socket.closed() == 4006
    assert socket.of("error")[0]["error"] == "rate_limited"
    budget.add(-100_000)
    back = await service.ready(query="?after=0")
    await back.until(lambda: back.of("resumed"))


async def idle_bytes(service: Service, name: str, count: int) -> int:
    """The bytes that so many more sockets, of a session each, hold in the service's own code."""

    def held() -> int:
        gc.collect()
        traces = tracemalloc.take_snapshot().filter_traces([ours])
        return sum(trace.size for trace in traces.statistics("filename"))

    ours = tracemalloc.Filter(True, str(Path(operator_svc.__file__).parent / "*"))
    before = held()
    await asyncio.gather(*[service.ready(f"{name}-{n}") for n in range(count)])
    return held() - before


async def test_idle_sockets_hold_little(service: Service) -> None:
    tracemalloc.start()
    try:
        await idle_bytes(service, "first", 10)
        assert await idle_bytes(service, "more", 50) < 50 * 6 * 1024  # 4 KiB, and some to spare
    finally:
        tracemalloc.stop()
