"""A Switch that is an OpenAI-compatible server, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.base import PeerRefusedError
from operator_svc.peers.chat_types import ChatError
from operator_svc.peers.modules import make_modules
from operator_svc.peers.switch import Switch
from operator_svc.protocol.sse import encode
from operator_svc.settings import Settings
from tests.fakes.chats import TOKEN, Answer, ask, prompt, switch_at
from tests.fakes.eventually import WITHIN, eventually

KEY = "key-of-the-tests"


class Completions:
    """A small chat completions server that records what it was asked."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.mode = "stream"
        self.url = ""
        self.left = asyncio.Event()
        self.until_read: Callable[[str], Awaitable[object]] = lambda _: asyncio.sleep(0)
        """Holds the next word up."""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(await request.json())
        self.headers.append(dict(request.headers))
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": f"not {KEY}"}}, status=401)
        if self.mode == "whole":
            message = {"role": "assistant", "content": "in one piece"}
            return web.json_response({"model": "m", "choices": [{"message": message}]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in ("in", " many", " pieces"):
            await response.write(self._delta(content=word))
            await asyncio.sleep(0.01)  # the pace of the words
            await self.until_read(word)
        try:
            while self.mode == "endless":
                await response.write(self._delta(content=" more"))
                await asyncio.sleep(0.01)  # the pace of the words
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        if self.mode != "cut":
            await response.write(self._delta("stop") + encode(b"[DONE]"))
        return response

    @staticmethod
    def _delta(finish: str | None = None, **delta: str) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return encode(msgspec.json.encode({"model": "m", "choices": [choice]}))

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m"}, {"id": "n"}]})


@pytest.fixture
async def server(aiohttp_server: Any) -> Completions:
    completions = Completions()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", completions.chat)
    app.router.add_get("/v1/models", completions.models)
    running = await aiohttp_server(app)
    completions.url = str(running.make_url("/"))
    return completions


@pytest.fixture
async def switch(server: Completions) -> AsyncIterator[Switch]:
    async with switch_at(
        server.url,
        switch_dialect="openai",
        switch_model="m",
        switch_api_key=KEY,
    ) as switch:
        yield switch


async def test_a_chat_is_answered_in_pieces(server: Completions, switch: Switch) -> None:
    answer = Answer()

    async def until_read(word: str) -> None:
        await eventually(lambda: answer.text.endswith(word))

    server.until_read = until_read
    await ask(switch, prompt("hello", context_summary="so far"), answer)
    assert answer.text == "in many pieces"
    assert len(answer.reads) >= 3
    assert answer.done.provider == "m"
    assert answer.done.latency_ms is not None
    assert answer.done.latency_ms > 20
    assert [m["role"] for m in server.calls[0]["messages"]] == ["system", "user"]
    assert server.calls[0]["stream"] is True
    assert "X-VX11-Token" not in server.headers[0], "VX11's token is not for strangers"


async def test_a_server_that_does_not_stream(server: Completions, switch: Switch) -> None:
    server.mode = "whole"
    answer = await ask(switch, "hello")
    assert answer.text == "in one piece"
    assert not answer.done.streamed


async def test_a_cut_stream_is_a_failure(server: Completions, switch: Switch) -> None:
    server.mode = "cut"
    with pytest.raises(OperatorError) as caught:
        await ask(switch, "hello")
    assert caught.value.code == ErrorCode.SWITCH_ERROR


async def test_a_wrong_key_is_not_shown(server: Completions) -> None:
    async with switch_at(
        server.url,
        switch_dialect="openai",
        switch_api_key="wrong-key-of-the-tests",
    ) as switch:
        with pytest.raises(ChatError) as caught:
            await ask(switch, "hello")
    refusal = caught.value.__cause__
    assert isinstance(refusal, PeerRefusedError)
    assert refusal.status == 401
    assert "key-of-the-tests" not in str(caught.value)


async def test_leaving_closes_the_call(server: Completions, switch: Switch) -> None:
    server.mode = "endless"
    answer = Answer()
    task = asyncio.create_task(ask(switch, "hello", answer))
    await eventually(lambda: " more" in answer.text)
    task.cancel()
    await asyncio.wait_for(server.left.wait(), WITHIN)


async def test_only_models_can_be_asked_for_beside_chats(switch: Switch) -> None:
    models = await switch.models_available()
    assert [model.name for model in models.models] == ["m", "n"]
    for call in (
        switch.context(),
        switch.providers(),
        switch.set_mode("ECO"),
        switch.set_default_model("m"),
        switch.record_result("m", True, 1.0, 2),
    ):
        with pytest.raises(PeerRefusedError) as caught:
            await call
        assert caught.value.status == 404


async def test_the_token_does_not_go_to_a_strangers_health() -> None:
    modules = make_modules(Settings(token=TOKEN, switch_dialect="openai"))
    assert TOKEN not in modules["switch"].peer.http.headers.values()
    assert TOKEN in modules["hermes"].peer.http.headers.values()
