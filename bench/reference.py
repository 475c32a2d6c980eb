"""The references: what the same libraries do with nothing around them.

``relay`` passes chats and streams on and keeps nothing; ``sqlite`` and ``postgresql`` also make
the two transactions of a chat, and nothing else: no validation of what comes, no limits, no
log, no metrics, no resuming, and nobody who looks after a reply whose client leaves. Each frame is
a write of its own, since aiohttp does not join frames, and uvloop writes at once.

``/operator/chat`` asks for JSON, ``/streamed/chat`` for a stream that it answers with JSON, and
``/bare/chat`` stores two rows in a table without constraints and indexes.

    python -m bench.reference relay http://127.0.0.1:8002
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from typing import Any, Protocol

import aiohttp
import msgspec
import uvloop
from aiohttp import WSMsgType, web

from bench.reference_stores import ChatRows, PostgresqlStore, SqliteStore

TOKEN = os.environ.get("OPERATOR_TOKEN", "")


class Body(msgspec.Struct):
    """A chat as a client sends it."""

    message: str
    session_id: str = ""
    metadata: dict[str, Any] = {}


class SwitchAnswer(msgspec.Struct):
    """Switch's answer in one piece."""

    reply: str
    provider: str | None = None
    latency_ms: float | None = None


class Part(msgspec.Struct):
    """One event of Switch's stream."""

    type: str
    content: str = ""


class ChatPart(Part):
    """The same with what the last event of a chat tells."""

    provider: str = ""
    latency_ms: float = 0.0


class DeltaFrame(msgspec.Struct, tag_field="type", tag="delta"):
    """The same frame that Operator sends."""

    reply_id: int
    offset: int
    end: int
    content: str
    kind: str = "text"


class Store(Protocol):
    """The two transactions of a chat, and a bare insert."""

    async def start(self, session_id: str, message: str) -> ChatRows: ...

    async def finish(
        self, stored: ChatRows, reply: str, provider: str, latency_ms: float
    ) -> None: ...

    async def insert(self, session_id: str, role: str, content: str) -> None: ...


_decode_body = msgspec.json.Decoder(Body).decode
_decode_answer = msgspec.json.Decoder(SwitchAnswer).decode
_decode_part = msgspec.json.Decoder(Part).decode
_decode_chat_part = msgspec.json.Decoder(ChatPart).decode
_encode = msgspec.json.Encoder().encode


class ReferenceServer:
    """The handlers."""

    def __init__(self, switch_url: str, store: Store | None) -> None:
        self._url = f"{switch_url}/switch/chat"
        self._store = store
        self._session: aiohttp.ClientSession | None = None
        self._room: set[web.WebSocketResponse] = set()
        self._replies = 0

    def application(self) -> web.Application:
        """An application with these handlers and nothing else."""
        app = web.Application()
        app.cleanup_ctx.append(self._client)
        app.router.add_get("/health", self._health)
        app.router.add_post("/operator/chat", self._chat)
        if self._store is not None:
            app.router.add_post("/streamed/chat", partial(self._streamed_chat, self._store))
            app.router.add_post("/bare/chat", partial(self._bare_chat, self._store))
        app.router.add_get("/ws/{session_id}", self._websocket)
        app.router.add_get("/room/{session_id}", self._in_room)
        return app

    async def _client(self, _: web.Application) -> Any:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"X-VX11-Token": TOKEN},
            timeout=aiohttp.ClientTimeout(total=None),
        ) as self._session:
            yield

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(
            body=_encode({"status": "ok", "module": "operator"}), content_type="application/json"
        )

    def _call(self, message: str, metadata: dict[str, Any], stream: bool) -> Any:
        assert self._session is not None
        body = {
            "messages": [{"role": "user", "content": message}],
            "metadata": metadata,
            "stream": stream,
        }
        accept = "text/event-stream" if stream else "application/json"
        return self._session.post(
            self._url,
            data=_encode(body),
            headers={"Content-Type": "application/json", "Accept": accept},
        )

    async def _chat(self, request: web.Request) -> web.Response:
        body = _decode_body(await request.read())
        stored = None
        if self._store is not None:
            stored = await self._store.start(body.session_id, body.message)
        async with self._call(body.message, body.metadata, stream=False) as response:
            answer = _decode_answer(await response.read())
        if self._store is not None and stored is not None:
            await self._store.finish(
                stored, answer.reply, answer.provider or "", answer.latency_ms or 0.0
            )
        return _answer(body, answer.reply)

    async def _streamed_chat(self, store: Store, request: web.Request) -> web.Response:
        body = _decode_body(await request.read())
        stored = await store.start(body.session_id, body.message)
        texts, last, rest = [], ChatPart("done"), b""
        async with self._call(body.message, body.metadata, stream=True) as response:
            async for chunk in response.content.iter_any():
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    part = _decode_chat_part(event[6:])
                    if part.type == "token":
                        texts.append(part.content)
                    else:
                        last = part
        reply = "".join(texts)
        await store.finish(stored, reply, last.provider, last.latency_ms)
        return _answer(body, reply)

    async def _bare_chat(self, store: Store, request: web.Request) -> web.Response:
        body = _decode_body(await request.read())
        await store.insert(body.session_id, "user", body.message)
        async with self._call(body.message, body.metadata, stream=False) as response:
            answer = _decode_answer(await response.read())
        await store.insert(body.session_id, "assistant", answer.reply)
        return _answer(body, answer.reply)

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        await ws.send_frame(b'{"type":"ready"}', WSMsgType.TEXT)
        async for message in ws:
            body = _decode_body(message.data)
            await self._stream(body, [ws])
        return ws

    async def _in_room(self, request: web.Request) -> web.WebSocketResponse:
        """All sockets here see each reply that one of them asks for."""
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        self._room.add(ws)
        await ws.send_frame(b'{"type":"ready"}', WSMsgType.TEXT)
        try:
            async for message in ws:
                await self._stream(_decode_body(message.data), self._room)
        finally:
            self._room.discard(ws)
        return ws

    async def _stream(self, body: Body, readers: Any) -> None:
        """Every token of Switch's stream as a frame, as soon as it is there."""
        self._replies += 1
        reply_id, end, rest = self._replies, 0, b""
        async with self._call(body.message, body.metadata, stream=True) as response:
            async for chunk in response.content.iter_any():
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    part = _decode_part(event[6:])
                    if part.type != "token":
                        continue
                    offset, end = end, end + len(part.content)
                    frame = _encode(DeltaFrame(reply_id, offset, end, part.content))
                    for ws in list(readers):
                        await ws.send_frame(frame, WSMsgType.TEXT)
        last = b'{"type":"event","event":"reply.completed"}'
        for ws in list(readers):
            await ws.send_frame(last, WSMsgType.TEXT)


def _answer(body: Body, reply: str) -> web.Response:
    said = {"session_id": body.session_id, "response": reply, "reply": reply}
    return web.Response(body=_encode(said), content_type="application/json")


async def serve(kind: str, switch_url: str, database: str) -> None:
    """Serve until the process is ended."""
    store: SqliteStore | PostgresqlStore | None = None
    if kind == "sqlite":
        store = SqliteStore(database)
    elif kind == "postgresql":
        store = await PostgresqlStore.open(database)
    runner = web.AppRunner(ReferenceServer(switch_url, store).application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    port = runner.addresses[0][1]
    print(f'{{"event": "ready", "url": "http://127.0.0.1:{port}"}}', flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main:
        main.run(serve(*sys.argv[1:4]))
