"""Signals: a second one ends the process at once; SIGHUP has it read its tokens again."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from operator_svc import devpeers
from tests.cluster.processes import TOKEN, Pod, environment
from tests.e2e.long_reply import LONG, begin_long_reply
from tests.fakes.eventually import WITHIN, eventually

AT_ONCE = 20.0
"""Seconds that the end may take on a busy machine; the reply would go on for a minute."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_at_once(database_url: str, number: signal.Signals) -> None:
    async with (
        AsyncExitStack() as stack,
        await devpeers.start(TOKEN) as peers,
        aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}) as http,
    ):
        slow = {"OPERATOR_DRAIN_TIMEOUT": "60", "OPERATOR_LEASE_TTL": "3"}
        pod = Pod(environment(database_url, peers, **slow))
        stack.push_async_callback(pod.end, signal.SIGKILL)
        await pod.start()
        await begin_long_reply(http, pod)
        socket = await http.ws_connect(f"{pod.url}/ws/s")
        await socket.receive(timeout=WITHIN)
        # Reads and writes go on meanwhile, so that the threads of the database are at work.
        asking = asyncio.create_task(_ask(http, pod))
        await asyncio.sleep(0.5)  # it asks
        pod.send(number)
        await asyncio.sleep(1.0)  # time in which it would end
        assert pod.running, "one signal lets the reply go on"
        begun = time.monotonic()
        assert await pod.end(number) == 0, pod.log[-20:]
        took = time.monotonic() - begun
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await socket.close()
        assert took < AT_ONCE
        assert pod.faults() == []
        await pod.start()

        async def ended() -> list[dict[str, Any]]:
            async with http.get(f"{pod.url}/operator/session/s") as answer:
                messages: list[dict[str, Any]] = (await answer.json())["messages"]
            return messages if messages[1]["status"] != "streaming" else []

        asked, reply = await eventually(ended)
        assert asked["content"] == LONG["message"]
        assert reply["status"] == "interrupted"
        assert reply["content"] != ""
        assert await pod.end() == 0


async def _ask(http: aiohttp.ClientSession, pod: Pod) -> None:
    while True:
        try:
            async with http.get(f"{pod.url}/operator/session/s") as answer:
                await answer.read()
        except aiohttp.ClientError:
            await asyncio.sleep(0.05)  # the pace of a client that is refused


async def test_tokens_are_read_again_at_sighup(sqlite_url: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.jsonl"
    tokens.write_text('{"name": "old", "token": "old-token", "user_id": "ana"}\n')
    pod = Pod(environment(sqlite_url, OPERATOR_TOKENS_FILE=str(tokens)))
    await pod.start()
    try:
        async with aiohttp.ClientSession() as http:

            async def known(token: str) -> bool:
                url, headers = f"{pod.url}/operator/sessions", {"X-VX11-Token": token}
                async with http.get(url, headers=headers) as answer:
                    return answer.status == 200

            assert await known("old-token")
            tokens.write_text('{"name": "new", "token": "new-token", "user_id": "ana"}\n')
            assert not await known("new-token")
            pod.send(signal.SIGHUP)
            await eventually(lambda: known("new-token"))
            assert not await known("old-token")
            tokens.write_text("no JSON, and new-token is not to be shown\n")
            pod.send(signal.SIGHUP)
            await eventually(lambda: [e for e in pod.log if e["event"] == "tokens not reloaded"])
            assert await known("new-token")
            assert "new-token" not in str(pod.log)
    finally:
        assert await pod.end() == 0
