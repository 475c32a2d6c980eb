"""Stand-in for Switch: streams a reply that names the stand-in, or misbehaves on request."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from operator_svc.devpeers.dialects import OPENAI, SENTINEL, VX11, ChatDialect
from operator_svc.devpeers.pacer import PacedStream, Pacer, chunk
from operator_svc.devpeers.script import (
    FINISH_REASONS,
    Script,
    frames,
    reply_text,
    special_events,
)
from operator_svc.devpeers.standin import Standin, cut, json_response
from operator_svc.devpeers.switch_calls import SwitchCalls

RETRY_AFTER = "7"
PLAIN_MODES = ("ok", "no_done", "sentinel", "plain_type", "no_blank")
"""Modes whose tokens are the usual ones."""
ENDLESS = ("no_done", "error_event", "named_error", "broken_event")
"""Modes whose stream has no end."""
KEPT_CALLS = 100
KEPT_MESSAGES = 10_000


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
    open_paths = frozenset({"/health", OPENAI.path, "/v1/models"})
    """A model server of one's own has no key."""

    def __init__(self, token: str = "", script: Script | None = None) -> None:
        super().__init__(token)
        self.script = script or Script()
        self.times: int | None = None
        self.total = ChatCounts()
        self.by_message: dict[str, ChatCounts] = {}
        self.recent: deque[dict[str, Any]] = deque(maxlen=KEPT_CALLS)
        """Bodies of the last chats, for tests."""
        self.state = SwitchCalls()
        self.may_answer = asyncio.Event()
        """Set but for tests: chats are answered once it is."""
        self.may_answer.set()
        self._pacer = Pacer()

    def routes(self) -> list[web.RouteDef]:
        """The chat, its record, and Switch's other calls."""
        return [
            web.post(VX11.path, self._chat),
            web.post(OPENAI.path, self._chat),
            web.get("/v1/models", self.state.openai_models),
            web.get("/standin/recent", self._recent),
            *self.state.routes(),
        ]

    def is_chat(self, path: str) -> bool:
        """Chats follow their script."""
        return path in (VX11.path, OPENAI.path)

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
        dialect = OPENAI if request.path == OPENAI.path else VX11
        try:
            call = dialect.read(raw)
            script = self._next_script().overridden(call.metadata, call.message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return json_response({"detail": [{"loc": ["body"], "msg": str(error)}]}, 422)
        if call.provider_hint == "madre":  # which the real Switch can not reach
            script = msgspec.structs.replace(script, mode="partial")
        self.recent.append(msgspec.json.decode(raw))
        counters = self._counters(call.message)
        for counter in counters:
            counter.calls += 1
            counter.running += 1
            counter.max_running = max(counter.max_running, counter.running)
        aborted = 0
        try:
            await self.may_answer.wait()
            accepts = dialect is OPENAI or "text/event-stream" in request.headers.get("Accept", "")
            answer = _Answer(request, dialect, script, call.message)
            return await self._answer(answer, wants_stream=call.stream and accepts)
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

    async def _answer(self, answer: _Answer, *, wants_stream: bool) -> web.StreamResponse:
        script = answer.script
        if script.mode == "stall_first":
            await asyncio.Event().wait()
        if script.delay:
            await asyncio.sleep(script.delay)
        refusal = _plain(answer)
        if refusal is not None:
            return refusal
        if script.mode == "cut_json":
            response = web.StreamResponse(headers={"Content-Length": "5000"})
            response.content_type = "application/json"
            await response.prepare(answer.request)
            await response.write(b'{"status": "ok", "reply": "[stand-in] ')
            cut(answer.request)
            return response
        if script.mode == "json" or not wants_stream:
            big = script.mode == "big"
            text = "x" * script.size if big else reply_text(script, answer.message)
            return json_response(answer.dialect.document(text))
        return await self._stream(answer)

    async def _stream(self, answer: _Answer) -> web.StreamResponse:
        mode = answer.script.mode
        response = web.StreamResponse()
        response.content_type = "text/plain" if mode == "plain_type" else "text/event-stream"
        response.headers["Cache-Control"] = "no-cache"
        await response.prepare(answer.request)
        transport = answer.request.transport
        if transport is None:
            return response
        if mode == "stall_head":
            await response.write(b": so far so good\n\n")
            await asyncio.Event().wait()
        pieces = answer.pieces()
        # The first one goes with the head; the rest past aiohttp, as chunks encoded before.
        await response.write(_unchunk(next(pieces, chunk(b":\n\n"))))
        sent = await self._send(transport, pieces, answer.script)
        if mode == "stall":
            await asyncio.Event().wait()
        if mode == "cut":
            cut(answer.request)
        elif mode not in ENDLESS:
            end = answer.dialect.end(sent, FINISH_REASONS.get(mode))
            if mode == "sentinel" and answer.dialect is VX11:
                end += SENTINEL
            await response.write_eof(end.rstrip(b"\n") if mode == "no_blank" else end)
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


class _Answer(NamedTuple):
    """One chat that is being answered."""

    request: web.Request
    dialect: ChatDialect
    script: Script
    message: str

    def pieces(self) -> Iterator[bytes]:
        """The stream's events before its end, as chunks."""
        dialect, script, message = self.dialect, self.script, self.message
        mode = script.mode
        if mode in ("stall", "cut"):
            return itertools.islice(frames(dialect, script, message), script.after)
        if mode == "endless":
            return itertools.repeat(chunk(dialect.token(" and on")))
        if mode == "big":
            return itertools.repeat(chunk(dialect.token("x" * 1000)), script.size // 1000)
        if mode == "empty_stream":
            return iter(())
        if mode in PLAIN_MODES:
            return frames(dialect, script, message)
        events = special_events(dialect, script, message)
        if mode == "dribble":
            return (chunk(bytes([byte])) for event in events for byte in event)
        return iter([chunk(event) for event in events])


def _unchunk(data: bytes) -> bytes:
    return data.partition(b"\r\n")[2][:-2]


def _plain(answer: _Answer) -> web.Response | None:
    """The answer of a mode that is one document; None for the other modes."""
    mode, message, dialect = answer.script.mode, answer.message, answer.dialect
    text = f"[stand-in] {message}"
    if mode in ("400", "500", "503"):
        return json_response({"detail": f"told to fail: {message}"}, int(mode))
    if mode == "429":
        busy = json_response({"detail": f"too many calls: {message}"}, 429)
        busy.headers["Retry-After"] = RETRY_AFTER
        return busy
    if mode == "redirect":
        return web.Response(status=307, headers={"Location": f"{dialect.path}?again=1"})
    if mode in ("error", "partial"):
        return json_response(
            dialect.failure(mode, "Error en Hermes" if mode == "partial" else text)
        )
    if mode == "no_text":
        return json_response(dialect.document(""))
    if mode == "non_string":
        return json_response(dialect.document({"text": text}))
    if mode == "list":
        return json_response([text])
    if mode == "html":
        page = f"<html><body>{text}</body></html>"
        return web.Response(text=page, content_type="text/html")
    if mode == "broken_json":
        body = f'{{"status": "ok", "reply": "{text}'
        return web.Response(text=body, content_type="application/json")
    return None
