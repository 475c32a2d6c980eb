"""The metrics that tell of the process itself are those of its own life, seen through /metrics."""

from __future__ import annotations

import asyncio
import platform
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

from prometheus_client import REGISTRY, Metric
from prometheus_client.registry import Collector

from operator_svc import __version__
from operator_svc.peers.breaker import COOL_DOWN, FAILURES_TO_OPEN
from operator_svc.services.maintenance import LAG_INTERVAL
from tests.fakes.eventually import WITHIN, eventually
from tests.rest.conftest import Start
from tests.rest.rest_service import TOKEN, Service

LAG = "operator_event_loop_lag_seconds"
TOKENS = "operator_tokens_total{"


async def value(service: Service, series: str) -> float:
    """The value of one series; the test fails where it is not told."""
    text = await (await service.get("/metrics", token=None)).text()
    (line,) = [line for line in text.splitlines() if line.startswith(f"{series} ")]
    return float(line.rpartition(" ")[2])


async def test_build_info_names_version_and_python(service: Service) -> None:
    labels = f'python="{platform.python_version()}",version="{__version__}"'
    assert await value(service, f"operator_build_info{{{labels}}}") == 1


async def test_a_blocked_event_loop_is_measured(service: Service) -> None:
    async def looks() -> float:
        return await value(service, f"{LAG}_count")

    first = await looks()
    begun = time.monotonic()
    await eventually(lambda: _is_more(looks, first))
    late = await value(service, f"{LAG}_sum")
    time.sleep(0.6)  # blocks the loop
    before = await looks()
    await eventually(lambda: _is_more(looks, before))
    assert await value(service, f"{LAG}_sum") >= late + 0.3
    count = await looks() - first
    assert count <= (time.monotonic() - begun) / LAG_INTERVAL + 1


async def _is_more(read: Callable[[], Awaitable[float]], than: float) -> bool:
    return await read() > than


class Long(Collector):
    """Metrics that are not told before something else was answered."""

    def __init__(self) -> None:
        self.asked, self.answered = threading.Event(), threading.Event()

    def collect(self) -> Iterator[Metric]:
        self.asked.set()
        assert self.answered.wait(WITHIN), "nothing was answered meanwhile"
        yield from ()


async def test_others_are_answered_while_metrics_are_told(service: Service) -> None:
    long = Long()
    long.answered.set()
    REGISTRY.register(long)  # asks once by itself
    try:
        long.asked.clear()
        long.answered.clear()
        telling = asyncio.create_task(service.get("/metrics", token=None))
        await eventually(long.asked.is_set)
        assert (await service.get("/health/live", token=None)).status == 200
        assert not telling.done()
        long.answered.set()
        assert (await telling).status == 200
    finally:
        REGISTRY.unregister(long)


async def test_a_breaker_shows_its_state(service: Service) -> None:
    async def states() -> list[float]:
        return [
            await value(service, f'operator_breaker_state{{peer="switch",state="{state}"}}')
            for state in ("closed", "open", "half_open")
        ]

    await service.chat()
    assert await states() == [1, 0, 0]
    for number in range(FAILURES_TO_OPEN + 1):
        body = {"message": f"{number}", "metadata": {"standin": {"mode": "500"}}}
        answer = await service.post("/operator/chat", body)
        assert answer.status == (503 if number == FAILURES_TO_OPEN else 502)
    assert await states() == [0, 1, 0]
    await asyncio.sleep(COOL_DOWN)
    await service.chat("back again")
    assert await states() == [1, 0, 0]


async def series(service: Service) -> dict[str, float]:
    """All series with their values."""
    text = await (await service.get("/metrics", token=None)).text()
    lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith("operator_")]
    return {name: float(number) for name, _, number in lines}


async def grown(service: Service, before: dict[str, float]) -> dict[str, float]:
    """The metrics that have changed since ``before``, and by how much."""
    now = await series(service)
    return {k: v - before.get(k, 0.0) for k, v in now.items() if v != before.get(k, 0.0)}


async def test_a_chat_moves_its_metrics(service: Service) -> None:
    await service.chat("the first one")
    before = await series(service)
    begun = time.monotonic()
    asked = asyncio.ensure_future(service.chat("slowly [[delay=1]]"))
    await eventually(lambda: service.switch.total.running)
    assert await value(service, "operator_replies_running") == 1
    told = await asked
    took = time.monotonic() - begun
    assert await value(service, "operator_replies_running") == 0
    moved = await grown(service, before)
    assert moved['operator_chats_total{kind="new"}'] == 1
    assert moved['operator_replies_total{status="complete"}'] == 1
    used = [number for name, number in moved.items() if name.startswith(TOKENS)]
    assert sum(used) == told["metadata"]["tokens_used"] > 0
    for name in ("operator_switch_seconds", "operator_time_to_first_token_seconds"):
        assert moved[f"{name}_count"] == 1
        assert 1 <= moved[f"{name}_sum"] < took
    # Operator's own share is what is left without Switch's.
    assert moved["operator_chat_overhead_seconds_count"] == 1
    own = moved["operator_chat_overhead_seconds_sum"]
    assert 0 < own < took - moved["operator_switch_seconds_sum"]
    assert any(name.startswith("operator_db_query_seconds_count") for name in moved)
    before = await series(service)
    body = {"message": "x", "metadata": {"standin": {"mode": "400"}}}
    assert (await service.post("/operator/chat", body)).status == 502
    moved = await grown(service, before)
    assert moved['operator_replies_total{status="failed"}'] == 1
    assert not [name for name in moved if name.startswith(TOKENS)]


async def test_clients_that_stay_are_counted(service: Service) -> None:
    await service.chat("hello", session_id="s")
    before = await series(service)
    headers = {"X-VX11-Token": TOKEN}
    path = "/ws/s?after=1"
    async with service.session.ws_connect(service.url + path, headers=headers) as socket:
        while (await socket.receive_json(timeout=WITHIN))["type"] != "resumed":
            pass
        events = {**headers, "Accept": "text/event-stream", "Last-Event-ID": "99"}
        async with service.session.get(
            f"{service.url}/operator/session/s/events", headers=events
        ) as stream:
            assert stream.status == 200
            await stream.content.readuntil(b"\n\n")

            async def counted() -> bool:
                moved = await grown(service, before)
                names = ["websocket", "event_stream"]
                now = [moved.get(f'operator_sockets{{transport="{name}"}}') for name in names]
                ends = ["resumed", "resync"]
                now += [moved.get(f'operator_resumes_total{{outcome="{end}"}}') for end in ends]
                return now == [1] * 4

            await eventually(counted)

    async def gone() -> bool:
        open_sockets = [
            await value(service, f'operator_sockets{{transport="{transport}"}}')
            for transport in ("websocket", "event_stream")
        ]
        return not any(open_sockets)

    await eventually(gone)  # that a stream's client is gone is looked for once a second


async def test_waits_for_a_database_connection_are_measured(start: Start) -> None:
    service = await start(db_pool_size=1)
    await service.chat("hello", session_id="s")
    before = await series(service)
    await asyncio.gather(*(service.get("/operator/session/s") for _ in range(20)))
    moved = await grown(service, before)
    assert moved["operator_db_pool_wait_seconds_count"] >= 1
    assert moved["operator_db_pool_wait_seconds_sum"] > 0


async def test_what_is_cut_off_is_counted_by_its_reason(start: Start) -> None:
    service = await start(header_timeout=0.2)
    before = await series(service)
    reader, writer = await asyncio.open_connection(*service.url[7:].split(":"))
    writer.write(b"GET /health HTTP/1.1\r\n")
    assert await asyncio.wait_for(reader.read(), WITHIN) == b""
    writer.close()
    moved = await grown(service, before)
    assert moved['operator_connections_refused_total{reason="slow_head"}'] == 1
