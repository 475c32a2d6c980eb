"""Whatever Switch does, the answer says what it was, and nothing is lost or invented."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from operator_svc import devpeers
from tests.cluster.processes import TOKEN, Pod, environment
from tests.fakes.eventually import eventually

LIMITS = {
    "OPERATOR_SWITCH_CONNECT_TIMEOUT": "1",
    "OPERATOR_SWITCH_FIRST_BYTE_TIMEOUT": "1",
    "OPERATOR_SWITCH_IDLE_TIMEOUT": "1",
    "OPERATOR_SWITCH_TOTAL_TIMEOUT": "20",
}
START = "[stand-in] You said"
FAILURES = {
    "500": (502, "switch_error", ""),
    "503": (502, "switch_error", ""),
    "error": (502, "switch_error", ""),
    "partial": (502, "switch_error", ""),
    "no_text": (502, "no_answer", ""),
    "html": (502, "switch_error", ""),
    "list": (502, "switch_error", ""),
    "broken_json": (502, "switch_error", ""),
    "redirect": (502, "switch_error", ""),
    "empty_stream": (502, "no_answer", ""),
    "cut_json": (502, "switch_error", ""),
    "429": (503, "switch_busy", ""),
    "length": (502, "no_answer", ""),
    "filtered": (502, "content_filtered", ""),
    "named_error": (502, "switch_error", START),
    "error_event": (502, "switch_error", START),
    "broken_event": (502, "switch_error", START),
    "cut": (502, "switch_error", START),
    "no_done": (502, "switch_error", START),
    "stall_first": (504, "switch_timeout", ""),
    "stall_head": (504, "switch_timeout", ""),
    "stall": (504, "switch_timeout", START),
    "big": (502, "reply_too_large", "xxx"),
}


class Service:
    """One process on one engine, its Switch, and a client."""

    def __init__(self, pod: Pod, peers: devpeers.DevPeers, http: aiohttp.ClientSession) -> None:
        self.pod = pod
        self.peers = peers
        self.http = http

    async def chat(self, message: str, **body: Any) -> tuple[int, dict[str, Any]]:
        async with self.http.post(
            f"{self.pod.url}/operator/chat", json={"message": message, **body}
        ) as answer:
            return answer.status, msgspec.json.decode(await answer.read())

    async def history(self, session_id: str) -> dict[str, Any]:
        async with self.http.get(f"{self.pod.url}/operator/session/{session_id}") as answer:
            assert answer.status == 200
            told: dict[str, Any] = msgspec.json.decode(await answer.read())
            return told


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    async with (
        await devpeers.start(TOKEN) as peers,
        aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}) as http,
    ):
        pod = Pod(environment(database_url, peers, **LIMITS))
        await pod.start()
        try:
            yield Service(pod, peers, http)
        finally:
            await pod.end()


async def test_each_failure_has_its_code_and_loses_nothing(service: Service) -> None:
    for mode, (status, code, partial) in FAILURES.items():
        # A failure counts towards Switch's circuit; a success in between keeps it closed.
        ok, answer = await service.chat("fine [[rate=0]]", session_id=mode)
        assert (ok, answer["reply"]) == (200, "[stand-in] You said: fine [[rate=0]]"), mode
        message = f"now {mode} [[{mode}]] [[rate=0]] [[after=3]]"
        got, problem = await service.chat(message, session_id=mode)
        assert (got, problem["error"]) == (status, code), (mode, problem)
        assert problem["status"] == problem["status_code"] == status
        told = msgspec.json.encode(problem).decode()
        for words in ("hermes", "told to", "fails after"):
            assert words not in told.lower(), "an upstream's own message is not for clients"
        history = await service.history(mode)
        asked, reply = history["messages"][-2:]
        assert asked["content"] == message
        assert reply["status"] == "failed"
        assert reply["metadata"]["error"] == code
        assert reply["content"].startswith(partial)
        assert bool(reply["content"]) == bool(partial), mode
        assert (reply["id"], asked["id"]) == (problem["reply_id"], problem["message_id"])
        if mode == "big":
            assert len(reply["content"]) == 200_000
    after, answer = await service.chat("at last [[rate=0]]")
    assert after == 200
    assert all(entry.get("level") != "error" for entry in service.pod.log)


async def test_odd_text_is_made_storable(service: Service) -> None:
    for mode in ("nul", "surrogates", "json", "reasoning", "comments", "sentinel", "dribble"):
        status, answer = await service.chat(f"x [[{mode}]] [[rate=0]]", session_id="odd")
        assert status == 200, (mode, answer)
        assert "\0" not in answer["reply"]
        answer["reply"].encode()
        assert answer["metadata"]["streamed"] == (mode != "json")
        assert (await service.history("odd"))["messages"][-1]["content"] == answer["reply"]


async def test_a_switch_that_is_away_opens_the_circuit(service: Service) -> None:
    await service.peers.switch.aclose()
    for _ in range(6):
        status, problem = await service.chat("anybody there?", session_id="away")
        assert (status, problem["error"]) == (503, "switch_unavailable")
    history = await service.history("away")
    assert [m["status"] for m in history["messages"]] == ["complete", "failed"] * 6
    async with service.http.get(f"{service.pod.url}/health") as answer:
        assert answer.status == 200


async def test_a_client_that_gives_up_finds_the_reply_in_the_history(service: Service) -> None:
    chats = service.peers.switch.total
    asking = asyncio.create_task(
        service.chat("slowly now please, word by word [[rate=10]]", session_id="left")
    )
    await eventually(lambda: chats.running)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    async def ended() -> dict[str, Any] | None:
        last: dict[str, Any] = (await service.history("left"))["messages"][-1]
        return last if last["status"] != "streaming" else None

    reply = await eventually(ended)
    assert reply is not None
    assert reply["status"] == "complete"
    assert reply["content"].endswith("slowly now please, word by word [[rate=10]]")
