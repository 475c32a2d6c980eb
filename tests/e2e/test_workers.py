"""Several workers behind one port: they serve, are replaced, drain, and leave nobody behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, closing
from pathlib import Path

import aiohttp
import pytest

from operator_client import OperatorClient
from operator_svc import devpeers
from operator_svc.errors import EXIT_CONFIGURATION, EXIT_TEMPORARY
from operator_svc.protocol import headers
from tests.cluster.processes import START_SECONDS, TOKEN, Pod, environment
from tests.fakes.eventually import WITHIN, eventually
from tests.project.process import two_free_ports

MANY = 40
"""Connections that the kernel gives to one of two workers alone once in 2**39 times."""


def workers(pod: Pod) -> dict[int, int]:
    """The pid of each worker that is there, by its number."""
    found = {}
    for entry in pod.log:
        if entry["event"] == "worker ready":
            found[entry["worker"]] = entry["pid"]
    return {number: pid for number, pid in found.items() if alive(pid)}


def alive(pid: int) -> bool:
    """True while the process is there, and is not one that only waits to be reaped."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def answering(pod: Pod) -> set[int]:
    """The numbers of the workers that answered MANY connections."""
    connector = aiohttp.TCPConnector(force_close=True)
    known = len(pod.log)
    async with aiohttp.ClientSession(connector=connector) as http:
        for _ in range(MANY):
            async with http.get(
                f"{pod.url}/operator/sessions", headers={headers.TOKEN: TOKEN}
            ) as answer:
                assert answer.status == 200

    def logged() -> list[int]:
        lines = [entry for entry in pod.log[known:] if entry.get("event") == "request"]
        return [entry["worker"] for entry in lines] if len(lines) == MANY else []

    return set(await eventually(logged))


async def failed(given: Mapping[str, str], *options: str) -> tuple[int, list[str]]:
    """The exit code of a start that fails, and what it said on stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "operator_svc", "serve", *options,
        env={**os.environ, "OPERATOR_PORT": "0", **given},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode().splitlines()


@pytest.fixture
async def pod(postgresql_url: str) -> AsyncIterator[Pod]:
    """A supervisor with two workers, both ready."""
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(await devpeers.start(TOKEN))
        one = Pod(environment(postgresql_url, peers, OPERATOR_WORKERS="2"))
        stack.push_async_callback(one.end, signal.SIGKILL)
        await one.start()
        await eventually(lambda: len(workers(one)) == 2, START_SECONDS)
        yield one


async def test_a_killed_worker_is_replaced_and_its_clients_come_back(pod: Pod) -> None:
    assert await answering(pod) == {0, 1}
    before = workers(pod)
    async with aiohttp.ClientSession(headers={headers.TOKEN: TOKEN}) as http:
        os.kill(before[1], signal.SIGKILL)

        async def answered() -> bool:
            body = {"message": "Hello", "session_id": "s"}
            try:
                async with http.post(f"{pod.url}/operator/chat", json=body) as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False  # the connection was the killed worker's

        await eventually(answered)
        await eventually(lambda: len(workers(pod)) == 2, START_SECONDS)
    assert workers(pod)[0] == before[0], "the other one stays"
    assert await answering(pod) == {0, 1}
    # SIGTERM to a worker alone is the way to restart it gently.
    os.kill(before[0], signal.SIGTERM)
    await eventually(lambda: workers(pod).get(0, before[0]) != before[0], START_SECONDS)
    assert await pod.end() == 0
    assert workers(pod) == {}


async def test_a_client_resumes_on_another_worker_and_has_the_whole_text(pod: Pod) -> None:
    resumed = asyncio.Event()
    async with (
        OperatorClient(pod.url, TOKEN) as client,
        client.conversation("s", on_reconnect=resumed.set) as conversation,
    ):
        reply = await conversation.ask("word " * 60 + "[[rate=20]]")
        pieces: list[str] = []
        async for piece in reply:
            pieces.append(piece)
            # Whichever has the socket and the reply: each of them drains in turn.
            if len(pieces) in (5, 25):
                os.kill(workers(pod)[len(pieces) // 25], signal.SIGTERM)
        assert reply.status == "complete"
        await asyncio.wait_for(resumed.wait(), WITHIN)
        history = await client.get_session("s")
    assert "".join(pieces) == reply.text == history.messages[1].content
    assert reply.text.count("word") >= 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_all_and_a_second_one_ends_them(
    pod: Pod, number: signal.Signals
) -> None:
    async with aiohttp.ClientSession(headers={headers.TOKEN: TOKEN}) as http:
        body = {"message": "for long [[rate=10]][[tokens=600]]", "session_id": "s"}
        async with http.post(
            f"{pod.url}/operator/chat", json=body, headers={"Prefer": "respond-async"}
        ) as answer:
            assert answer.status == 202
        pod.send(number)
        # systemd sends it to all processes, so that each worker has it twice.
        for pid in workers(pod).values():
            with contextlib.suppress(ProcessLookupError):  # one that had no reply may have ended
                os.kill(pid, signal.SIGTERM)
        await eventually(lambda: len([e for e in pod.log if e["event"] == "draining"]) == 2)
        # Only the one that writes the reply is left.
        await eventually(lambda: len(workers(pod)) == 1)
        assert pod.running
        assert await pod.end(number) == 0, pod.log[-20:]
    assert workers(pod) == {}
    assert pod.faults() == []


async def test_no_worker_outlives_a_killed_supervisor(pod: Pod) -> None:
    left = workers(pod)
    os.kill(pod.pid, signal.SIGKILL)
    await eventually(lambda: not any(map(alive, left.values())))


async def test_tokens_are_read_again_by_all_workers_at_sighup(pod: Pod) -> None:
    pod.send(signal.SIGHUP)
    await eventually(
        lambda: {e["worker"] for e in pod.log if e["event"] == "tokens reloaded"} == {0, 1}
    )


async def test_each_worker_has_an_admin_port_and_the_main_port_is_held(
    postgresql_url: str,
) -> None:
    port = two_free_ports()
    given = environment(postgresql_url, OPERATOR_WORKERS="2", OPERATOR_METRICS_PORT=str(port))
    async with AsyncExitStack() as stack:
        pod = Pod(given)
        stack.push_async_callback(pod.end, signal.SIGKILL)
        await pod.start()
        await eventually(lambda: len(workers(pod)) == 2, START_SECONDS)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for admin in (port, port + 1):
            async with http.get(f"http://127.0.0.1:{admin}/health/ready") as answer:
                assert answer.status == 200
        taken = pod.url.rpartition(":")[2]
        second = {**given, "OPERATOR_METRICS_PORT": "0", "OPERATOR_PORT": taken}
        code, lines = await failed(second)
        assert (code, len(lines)) == (EXIT_CONFIGURATION, 1)
        assert "Address already in use" in lines[0]


async def test_sqlite_is_refused_in_one_line(sqlite_url: str) -> None:
    code, lines = await failed(environment(sqlite_url), "--workers", "2")
    assert code == EXIT_CONFIGURATION
    assert lines == [
        "operator-svc: OPERATOR_WORKERS: SQLite serves one process; several need PostgreSQL"
    ]


async def test_a_worker_that_cannot_start_ends_all_with_its_exit_code(
    postgresql_url: str, tmp_path: Path
) -> None:
    away = environment(f"postgresql://postgres@/x?host={tmp_path}")
    code, lines = await failed(away, "--workers", "2")
    assert (code, len(lines)) == (EXIT_TEMPORARY, 1)
    # The second worker's admin port is another one's, the first one's is free.
    port = two_free_ports() + 1
    with closing(socket.create_server(("127.0.0.1", port))):
        given = environment(postgresql_url, OPERATOR_METRICS_PORT=str(port - 1))
        code, lines = await failed(given, "--workers", "2")
    assert code == EXIT_CONFIGURATION
    assert len(lines) == 1
    assert lines[0].startswith(f"operator-svc: cannot listen on 127.0.0.1:{port}: ")
