"""Many clients at once: restarts lose them nothing, their return is cheap, idle ones are held."""

from __future__ import annotations

import asyncio
import signal
import socket
import time

import aiohttp

from tests.cluster.clients import Chat, Reader, chat_until_answered, end_all
from tests.cluster.conftest import Cluster
from tests.cluster.processes import TOKEN
from tests.fakes.eventually import eventually

SOCKETS = 500
SESSIONS = 50


def tell(*words: object) -> None:
    print(*words)  # noqa: T201 - a figure that the test prints is part of what it is for


async def test_a_rolling_restart_loses_no_event(cluster: Cluster) -> None:
    readers = [Reader(cluster, f"s{n % SESSIONS}", f"r{n}") for n in range(SOCKETS)]
    reading = [asyncio.create_task(reader.run()) for reader in readers]
    stop, hurry = asyncio.Event(), asyncio.Event()
    chats: list[Chat] = []

    async def write(number: int) -> None:
        while not stop.is_set():
            chat = Chat(f"s{number % SESSIONS}", f"message {len(chats)} [[rate=50]]")
            chats.append(chat)
            await chat_until_answered(cluster, chat, hurry)

    writing = [asyncio.create_task(write(n * 7)) for n in range(8)]
    try:
        await eventually(lambda: sum(reader.connections for reader in readers) >= SOCKETS, 60)
        for pod in list(cluster.pods):
            assert await pod.end(signal.SIGTERM) == 0, pod.log[-10:]
            await pod.start()
        stop.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*writing)
        assert all(chat.answer is not None for chat in chats)
        last: dict[str, int] = {}
        for n in range(SESSIONS):
            url = f"{cluster.pods[0].url}/operator/session/s{n}/events?limit=1"
            async with cluster.http.get(url) as answer:
                last[f"s{n}"] = (await answer.json())["seq"] if answer.status == 200 else 0
        await eventually(
            lambda: all(reader.seq >= last[reader.session_id] for reader in readers), 60
        )
    finally:
        stop.set()
        hurry.set()
        await end_all(*reading, *writing)
    assert [problem for reader in readers for problem in reader.problems] == []
    for reader in readers:
        if not reader.view.resyncs:
            assert reader.view.seqs == list(range(1, last[reader.session_id] + 1))
    tell(
        f"\n{SOCKETS} sockets, {len(chats)} chats, all answered;",
        f"connections {sum(r.connections for r in readers)},",
        f"events shown {sum(len(r.view.seqs) for r in readers)}",
    )


async def test_a_reconnect_storm_costs_a_bounded_number_of_queries(cluster: Cluster) -> None:
    pod = cluster.pods[0]
    for n in range(SESSIONS):
        chat = Chat(f"s{n}", "hello [[rate=0]]")
        await chat_until_answered(cluster, chat, asyncio.Event())
    before = await cluster.metric(pod, "operator_db_query_seconds_count")
    begun = time.monotonic()

    async def come_back(number: int) -> aiohttp.ClientWebSocketResponse:
        socket = await cluster.http.ws_connect(
            f"{pod.url}/ws/s{number % SESSIONS}?after=2", protocols=("operator.v1",)
        )
        kinds = []
        while "resumed" not in kinds:
            kinds.append((await socket.receive_json(timeout=30))["type"])
        told = [kind for kind in kinds if kind != "ping"]  # one may come whenever time has passed
        assert told == ["ready", "event", "event", "resumed"]
        return socket

    sockets = await asyncio.gather(*(come_back(n) for n in range(SOCKETS)))
    took = time.monotonic() - begun
    queries = await cluster.metric(pod, "operator_db_query_seconds_count") - before
    tell(f"\n{SOCKETS} sockets came back in {took:.2f} s with {queries:g} queries")
    # One replay a socket; what a session costs to load (three reads) is shared by its sockets.
    assert queries <= SOCKETS + SESSIONS * 3 + 10 * took + 20
    await asyncio.gather(*(socket.close() for socket in sockets))


async def test_readers_that_never_read_do_not_grow_memory(cluster: Cluster) -> None:
    pod = await cluster.add(OPERATOR_OUTBOX_BYTES="65536", OPERATOR_HEARTBEAT="60")
    raw = []
    for n in range(100):
        host, port = pod.url.removeprefix("http://").split(":")
        deaf = socket.socket()
        # Segments as on a network: with those of the loopback the kernel alone holds a megabyte.
        deaf.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        deaf.connect((host, int(port)))
        reader, writer = await asyncio.open_connection(sock=deaf, limit=2**16)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(
            f"GET /ws/deaf{n % 4} HTTP/1.1\r\nHost: x\r\nX-VX11-Token: {TOKEN}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        raw.append((reader, writer))
    await asyncio.sleep(1.0)  # all of them are subscribed
    words = "word " * 1000

    async def flood(rounds: int) -> None:
        for _ in range(rounds):
            await asyncio.gather(
                *(
                    cluster.http.post(
                        f"{pod.url}/operator/chat",
                        json={"session_id": f"deaf{n}", "message": f"{words} [[rate=0]]"},
                    )
                    for n in range(4)
                )
            )

    await flood(10)
    warm = pod.memory()
    peak = warm
    for _ in range(8):
        await flood(10)
        peak = max(peak, pod.memory())
    closes = await cluster.metric(pod, "operator_slow_consumer_disconnects_total")
    waiting = await cluster.metric(pod, "operator_queued_bytes")
    tell(
        f"\n100 readers that never read: {warm / 2**20:.1f} MiB warm, {peak / 2**20:.1f} MiB at"
        f" most, {closes:g} cut off, {waiting:g} bytes queued"
    )
    assert peak < warm + 100 * 65536 + 16 * 2**20
    assert waiting <= 100 * 65536
    assert closes > 0
    for _, writer in raw:
        writer.transport.abort()
