"""News between processes by NATS, and without it."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing

import aiohttp
import pytest
import uvloop
from prometheus_client import REGISTRY

from operator_svc.bus.nats_connection import NatsConnection
from operator_svc.rest.server.listener import Server
from operator_svc.settings import Settings
from tests.bus.conftest import talk
from tests.fakes.eventually import eventually
from tests.fakes.nats_server import Frame, NatsRelay, NatsServer
from tests.fakes.pods import Pods, chat, watch

pytestmark = pytest.mark.one_bus


def connected() -> float | None:
    """The gauge of the pod that changed it last."""
    return REGISTRY.get_sample_value("operator_bus_connected", {"bus": "nats"})


async def test_cut_connections_come_back(nats_pods: Pods, relay: NatsRelay) -> None:
    one, two = await nats_pods.start(), await nats_pods.start()
    seen = relay.accepted
    relay.cut()
    await talk(nats_pods, "cut")
    await eventually(lambda: relay.accepted >= seen + 2)
    await eventually(lambda: not (one.core.bus.degraded or two.core.bus.degraded))
    await talk(nats_pods, "again")


def test_connections_cut_while_much_is_sent_leave_nothing_behind(nats_server: NatsServer) -> None:
    """On uvloop, as in production: it raises for bytes that it is given after a cut."""
    failures: list[str] = []

    async def cut_often() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(str(context)))
        async with NatsRelay(nats_server) as relay:
            connection = NatsConnection(Settings(bus_url=relay.url), lambda _: None, lambda: None)
            async with aclosing(connection):
                connection.subscribe("heard")
                connection.start()
                for _ in range(3):
                    await eventually(lambda: connection.is_open)
                    loop.call_later(0.05, relay.cut)
                    while connection.send("heard", b"x"):
                        await asyncio.sleep(0)
        gc.collect()  # tasks that nobody awaits say so when they go
        await asyncio.sleep(0)

    uvloop.run(cut_often())
    assert failures == []


@pytest.mark.parametrize(("end", "begin"), [("stop", "start"), ("pause", "resume")])
async def test_a_server_that_goes_is_done_without_and_comes_back(
    nats_pods: Pods, nats_server: NatsServer, end: str, begin: str
) -> None:
    one, two = await nats_pods.start(), await nats_pods.start()
    getattr(nats_server, end)()
    try:
        await talk(nats_pods, "unnoticed")
        await eventually(lambda: one.core.bus.degraded and two.core.bus.degraded)
        await eventually(lambda: connected() == 0)
        await talk(nats_pods, "without")
    finally:
        getattr(nats_server, begin)()
    await eventually(lambda: not (one.core.bus.degraded or two.core.bus.degraded))
    await eventually(lambda: connected() == 1)
    await talk(nats_pods, "again")


async def test_health_is_degraded_without_a_server_and_the_pod_is_ready(
    nats_pods: Pods, nats_server: NatsServer
) -> None:
    pod = await nats_pods.start(port=0)
    server = Server(pod.application(), pod.core.settings)
    url = await server.start()
    async with aiohttp.ClientSession() as http:

        async def told(path: str) -> str:
            async with http.get(url + path) as answer:
                assert answer.status == 200
                status: str = (await answer.json())["status"]
                return status

        assert await told("/health") == "ok"
        nats_server.stop()
        try:
            await eventually(lambda: pod.core.bus.degraded)
            assert (await told("/health"), await told("/health/ready")) == ("degraded", "ready")
        finally:
            nats_server.start()
    await server.close()


@pytest.mark.parametrize("delay", [0.3, 60.0])
async def test_a_server_that_answers_late_delays_no_chat_and_no_probe(
    nats_pods: Pods, relay: NatsRelay, delay: float
) -> None:
    """Late within the pings' time, so that it is kept, and beyond it."""
    one, two = await nats_pods.start(port=0), await nats_pods.start()
    server = Server(one.application(), one.core.settings)
    url = await server.start()
    relay.delay = delay
    accepted = await chat(one, session_id="own")
    nats_pods.switch.say("some ", "text", None)
    outcome = await one.services.replies.wait(accepted)
    assert outcome is not None
    assert outcome.content == "some text"
    await talk(nats_pods, "other")
    async with aiohttp.ClientSession() as http:

        async def told() -> bool:
            async with http.get(f"{url}/health") as answer:
                assert answer.status == 200
                return bool((await answer.json())["status"] == ("ok" if delay < 1 else "degraded"))

        await eventually(told)
    relay.delay = 0.0
    await eventually(lambda: not (one.core.bus.degraded or two.core.bus.degraded))
    await talk(nats_pods, "again")
    await server.close()


async def test_a_server_that_is_not_there_at_the_start_is_found_later(
    nats_pods: Pods, nats_server: NatsServer
) -> None:
    nats_server.stop()
    try:
        for _ in range(2):
            pod = await nats_pods.start(connected=False)
            assert pod.core.bus.degraded
        await talk(nats_pods, "without")
    finally:
        nats_server.start()
    await eventually(lambda: not any(pod.core.bus.degraded for pod in nats_pods.all))
    await talk(nats_pods, "with")


async def test_of_several_servers_one_that_is_there_is_used(
    nats_pods: Pods, nats_server: NatsServer
) -> None:
    other = NatsServer()
    other.stop()
    both = f"{other.url},nats://unknown.invalid,{nats_server.url}"
    for _ in range(2):
        await nats_pods.start(bus_url=both)
    await talk(nats_pods, "s")
    other.remove()


@pytest.mark.parametrize("fault", ["lost", "doubled", "reordered", "torn"])
async def test_messages_that_are_not_as_they_were_sent_break_no_promise(
    nats_pods: Pods, relay: NatsRelay, fault: str
) -> None:
    kept: list[Frame] = []

    def change(frame: Frame) -> list[Frame]:
        if fault == "lost":
            return []
        if fault == "doubled":
            return [frame, frame]
        if fault == "torn":
            head = frame.partition(b"\r\n")[0].rsplit(b" ", 1)[0]
            return [head + b" 3\r\n\x93\xa1x\r\n"]
        kept.append(frame)
        if len(kept) < 3:
            return []
        late = list(reversed(kept))
        kept.clear()
        return late

    for _ in range(2):
        await nats_pods.start(checkpoint=0.05)
    relay.change = change
    for n in range(2):
        await talk(nats_pods, f"s{n}")
    reader = await watch(nats_pods.all[1], "s")
    accepted = await chat(nats_pods.all[0], session_id="s")
    for n in range(20):
        nats_pods.switch.say(f"{n} ")
        await asyncio.sleep(0)  # a turn of the loop, so that each is a piece of its own
    whole = "".join(f"{n} " for n in range(20))
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == whole)
    nats_pods.switch.say(None)
    await reader.until(lambda: accepted.reply_id in reader.endings)
