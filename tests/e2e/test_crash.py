"""Acknowledged data survives SIGKILL, and nothing stays half-written."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import msgspec

from operator_svc import devpeers
from tests.cluster.processes import TOKEN, Pod


async def test_kill_in_mid_stream(sqlite_url: str) -> None:
    async with (
        await devpeers.start(TOKEN) as peers,
        aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}) as http,
    ):
        environment = {
            "OPERATOR_TOKEN": TOKEN,
            "OPERATOR_DATABASE_URL": sqlite_url,
            "OPERATOR_LOG_FORMAT": "json",
            "BROWSER_URL": "",
            **peers.environment,
        }
        pod = Pod(environment)
        await pod.start()
        acknowledged: dict[str, int] = {}
        for n in range(5):
            async with http.post(
                f"{pod.url}/operator/chat",
                json={"message": f"number {n}", "session_id": f"done{n}"},
            ) as answer:
                told = await answer.json()
                assert answer.status == 200
                acknowledged[f"done{n}"] = told["reply_id"]
        for n in range(5):
            async with http.post(
                f"{pod.url}/operator/chat",
                json={"message": f"{'many words ' * 50} [[rate=20]]", "session_id": f"cut{n}"},
                headers={"Prefer": "respond-async"},
            ) as answer:
                assert answer.status == 202
                acknowledged[f"cut{n}"] = (await answer.json())["reply_id"]
        await asyncio.sleep(1.0)  # some of each reply is stored
        await pod.end(signal.SIGKILL)
        await pod.start()
        for session_id, reply_id in acknowledged.items():
            async with http.get(f"{pod.url}/operator/session/{session_id}") as answer:
                history = msgspec.json.decode(await answer.read())
            asked, reply = history["messages"]
            assert reply["id"] == reply_id
            if session_id.startswith("done"):
                assert reply["status"] == "complete"
            else:
                assert reply["status"] == "interrupted"
                assert reply["metadata"]["error"] == "reply_interrupted"
                assert 10 < len(reply["content"]) < len(asked["content"])
            async with http.get(f"{pod.url}/operator/session/{session_id}/events") as answer:
                events = msgspec.json.decode(await answer.read())["events"]
            assert [e["seq"] for e in events] == [1, 2, 3, 4]
        assert await pod.end() == 0
