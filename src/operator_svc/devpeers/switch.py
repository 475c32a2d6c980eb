"""Stand-in for Switch: streams a reply that names the stand-in, or misbehaves on request."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from operator_svc.devpeers.pacer import PacedStream, Pacer, chunk
from operator_svc.devpeers.script import (
    Script,
    frames,
    reply_text,
    special_events,
    token_event,
)
from operator_svc.devpeers.standin import Standin, cut, json_response
from operator_svc.devpeers.switch_calls import SwitchCalls
from operator_svc.protocol.sse import encode

PROVIDER = "stand-in"
KEPT_CALLS = 100
KEPT_MESSAGES = 10_000


class _Message(msgspec.Struct):
    role: str
    content: Any


class _ChatRequest(msgspec.Struct):
    messages: list[_Message]
    provider_hint: str | None = None
    metadata: dict[str, Any] = {}
    stream: bool = False


class ChatCounts(msgspec.Struct):
    """Counts of the chats with one message, or of all chats."""

    calls: int = 0
    running: int = 0
    max_running: int = 0
    finished: int = 0
    aborted: int = 0
    """Ended by the caller's leaving."""


class SwitchStandin(Standin):
    """Switch, as far as Operator uses it; chats follow ``script``."""

    name = "switch"
    open_paths = frozenset({"/health"})

    def __init__(self, token: str = "", script: Script | None = None) -> None:
        super().__init__(token)
        self.script = script or Script()
        self.times: int | None = None
        self.total = ChatCounts()
        self.by_message: dict[str, ChatCounts] = {}
        self.recent: deque[dict[str, Any]] = deque(maxlen=KEPT_CALLS)
        """Bodies of the last chats, for tests."""
        self.state = SwitchCalls()
        self._pacer = Pacer()

    def routes(self) -> list[web.RouteDef]:
        """The chat, its record, and Switch's other calls."""
        recent = web.get("/standin/recent", self._recent)
        return [web.post("/switch/chat", self._chat), recent, *self.state.routes()]

    def is_chat(self, path: str) -> bool:
        """Chats follow their script."""
        return path == "/switch/chat"

    def set_mode(self, wanted: dict[str, object]) -> None:
        """``chat`` is a Script, for the next ``times`` chats; ``calls`` see Standin."""
        super().set_mode(wanted)
        self.script = msgspec.convert(wanted.get("chat", {}), Script)
        self.times = msgspec.convert(wanted.get("times"), int | None)

    def stats(self) -> dict[str, object]:
        """Counters of all chats, and by message."""
        return super().stats() | {"chats": self.total, "by_message": self.by_message}

    async def aclose(self) -> None:
        """End all streams and stop."""
        self._pacer.close()
        await super().aclose()

    async def _recent(self, _: web.Request) -> web.Response:
        return json_response(list(self.recent))

    def _next_script(self) -> Script:
        if self.times is not None:
            if self.times <= 0:
                return Script(rate=self.script.rate)
            self.times -= 1
        return self.script

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            call = msgspec.json.decode(raw, type=_ChatRequest)
            # As with the real Switch, the first message is the prompt, whatever its role.
            prompt = call.messages[0].content if call.messages else ""
            message = prompt if isinstance(prompt, str) else str(prompt)
            script = self._next_script().overridden(call.metadata, message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return json_response({"detail": [{"loc": ["body"], "msg": str(error)}]}, 422)
        self.recent.append(msgspec.json.decode(raw))
        counters = self._counters(message)
        for counter in counters:
            counter.calls += 1
            counter.running += 1
            counter.max_running = max(counter.max_running, counter.running)
        aborted = 0
        try:
            wants_stream = "text/event-stream" in request.headers.get("Accept", "") and call.stream
            return await self._answer(request, script, message, wants_stream)
        except asyncio.CancelledError:
            aborted = 1
            raise
        except ConnectionError:  # the caller left between two writes
            aborted = 1
            return web.Response()
        finally:
            for counter in counters:
                counter.running -= 1
                counter.aborted += aborted
                counter.finished += 1 - aborted

    def _counters(self, message: str) -> tuple[ChatCounts, ChatCounts]:
        if message not in self.by_message and len(self.by_message) >= KEPT_MESSAGES:
            del self.by_message[next(iter(self.by_message))]
        return self.total, self.by_message.setdefault(message, ChatCounts())

    async def _answer(
        self, request: web.Request, script: Script, message: str, wants_stream: bool
    ) -> web.StreamResponse:
        if script.mode == "stall_first":
            await asyncio.Event().wait()
        if script.delay:
            await asyncio.sleep(script.delay)
        refusal = _plain(script, message)
        if refusal is not None:
            return refusal
        if script.mode == "cut_json":
            response = web.StreamResponse(headers={"Content-Length": "5000"})
            response.content_type = "application/json"
            await response.prepare(request)
            await response.write(b'{"status": "ok", "reply": "[stand-in] ')
            cut(request)
            return response
        if script.mode == "json" or not wants_stream:
            text = "x" * script.size if script.mode == "big" else reply_text(script, message)
            return json_response(_result("ok", reply=text, content=text))
        return await self._stream(request, script, message)

    async def _stream(
        self, request: web.Request, script: Script, message: str
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        response.headers["Cache-Control"] = "no-cache"
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        if script.mode == "stall_head":
            await response.write(b": so far so good\n\n")
            await asyncio.Event().wait()
        pieces = self._pieces(script, message)
        # The first one goes with the head; the rest past aiohttp, as chunks encoded before.
        await response.write(_unchunk(next(pieces, chunk(b":\n\n"))))
        sent = await self._send(transport, pieces, script)
        if script.mode == "stall":
            await asyncio.Event().wait()
        if script.mode == "cut":
            cut(request)
        elif script.mode not in ("no_done", "error_event", "broken_event"):
            done = encode(msgspec.json.encode(_done(sent)))
            if script.mode == "sentinel":
                done += encode(b"[DONE]")
            await response.write_eof(done)
        return response

    async def _send(
        self, transport: asyncio.Transport, pieces: Iterator[bytes], script: Script
    ) -> int:
        """Send all of ``pieces``; returns the number of tokens, the first one included."""
        if script.rate <= 0 and script.mode != "endless":
            count = 1
            for piece in pieces:
                transport.write(piece)
                count += 1
            return count
        paced = PacedStream(transport, pieces, 1 / (script.rate or 1000))
        self._pacer.add(paced)
        try:
            await paced.done
        finally:
            paced.finish()
        return paced.sent + 1

    def _pieces(self, script: Script, message: str) -> Iterator[bytes]:
        mode = script.mode
        if mode in ("stall", "cut"):
            return itertools.islice(frames(script, message), script.after)
        if mode == "endless":
            return itertools.repeat(chunk(token_event(" and on")))
        if mode == "big":
            return itertools.repeat(chunk(token_event("x" * 1000)), script.size // 1000)
        if mode == "empty_stream":
            return iter(())
        if mode in ("ok", "no_done", "sentinel"):
            return frames(script, message)
        events = special_events(script, message)
        if mode == "dribble":
            return (chunk(bytes([byte])) for event in events for byte in event)
        return iter([chunk(event) for event in events])


def _unchunk(data: bytes) -> bytes:
    return data.partition(b"\r\n")[2][:-2]


def _plain(script: Script, message: str) -> web.Response | None:
    """The answer of a mode that is one document; None for the other modes."""
    mode = script.mode
    text = f"[stand-in] {message}"
    if mode in ("400", "500", "503"):
        return json_response({"detail": f"told to fail: {message}"}, int(mode))
    if mode == "redirect":
        return web.Response(status=307, headers={"Location": "/switch/chat?again=1"})
    if mode == "error":
        return json_response(_result("error", content=f"Error: [stand-in] {message}"))
    if mode == "partial":
        return json_response(_result("partial", content="Error en Hermes", reply="Error en Hermes"))
    if mode == "no_text":
        return json_response(_result("ok", content="", reply=None))
    if mode == "non_string":
        return json_response(_result("ok", content={"text": text}, reply=["no", "text"]))
    if mode == "list":
        return json_response([text])
    if mode == "html":
        page = f"<html><body>{text}</body></html>"
        return web.Response(text=page, content_type="text/html")
    if mode == "broken_json":
        body = f'{{"status": "ok", "reply": "{text}'
        return web.Response(text=body, content_type="application/json")
    return None


def _result(status: str, **fields: object) -> dict[str, object]:
    return {
        "status": status,
        "provider": PROVIDER,
        "decision": "fallback",
        "latency_ms": 1,
        "reasoning": "a stand-in answered",
        **fields,
    }


def _done(tokens: int) -> dict[str, object]:
    return {
        "type": "done",
        "provider": PROVIDER,
        "decision": "fallback",
        "latency_ms": 1,
        "tokens_used": tokens,
    }
