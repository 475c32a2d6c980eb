"""A whole service over real sockets, a Switch whose words the test chooses, and clients that
keep what they are shown as ``api.md`` tells clients to.
"""

from __future__ import annotations

import asyncio
import json
import socket as socket_module
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import websockets
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from operator_svc.app import Operator
from operator_svc.errors import OperatorError
from operator_svc.peers.chat_types import Done, Part, Prompt, Reasoning, Text
from operator_svc.rest.server.listener import Server
from operator_svc.settings import Settings

TOKEN = "token-of-the-tests"
PATIENCE = 10.0
"""Seconds that a test waits for something before it fails."""

Frame = dict[str, Any]
Piece = str | Part | OperatorError | None


class Speaker:
    """One call of Switch. ``closed`` says that whoever called let it go."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self.closed = False

    def say(self, *pieces: Piece) -> None:
        """Words of the reply; None ends it, an error fails it."""
        for piece in pieces:
            self.pieces.put_nowait(piece)


class ScriptedSwitch:
    """A Switch that says what the test says, or ``answer`` at once where that is set."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[Speaker] = asyncio.Queue()
        self.answer: list[Piece] | None = None

    async def chat(self, prompt: Prompt) -> AsyncGenerator[list[Part], None]:
        speaker = Speaker(prompt)
        if self.answer is not None:
            speaker.say(*self.answer, None)
        self.calls.put_nowait(speaker)
        try:
            while (piece := await speaker.pieces.get()) is not None:
                if isinstance(piece, OperatorError):
                    raise piece
                yield [Text(piece)] if isinstance(piece, str) else [piece]
            yield [Done(provider="scripted", tokens_used=3)]
        finally:
            speaker.closed = True

    async def next(self) -> Speaker:
        """The next call."""
        async with asyncio.timeout(PATIENCE):
            return await self.calls.get()


def think(text: str) -> Part:
    """A piece of reasoning."""
    return Reasoning(text)


class View:
    """What a client has of its session: it follows the rules of ``api.md`` and checks the
    server's promises while it does."""

    def __init__(self) -> None:
        self.seq: int | None = None
        self.epoch: str | None = None
        self.texts: dict[int, str] = {}
        self.thoughts: dict[int, str] = {}
        self.endings: dict[int, str] = {}
        self.events: list[Frame] = []

    def take(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "ready":
            self.epoch = frame["epoch"]
            if self.seq is None:
                self.seq = frame["seq"]
        elif kind == "event":
            self._event(frame)
        elif kind == "delta":
            self._delta(frame)
        elif kind == "reply.snapshot":
            assert frame["reply_id"] not in self.endings, "a snapshot after the last event"
            assert frame["end"] == len(frame["text"])
            self._texts(frame)[frame["reply_id"]] = frame["text"]
        elif kind == "resync":
            self.seq, self.epoch = frame["seq"], frame["epoch"]
            self.endings.clear()
            self.texts = {
                m["id"]: m["content"]
                for m in frame["snapshot"]["messages"]
                if m["role"] == "assistant"
            }

    def expect_replay(self, after: int) -> None:
        """Events after this one will come (again)."""
        self.seq = after
        self.endings.clear()

    def keep(self, other: View) -> None:
        """Go on from what another connection of the same client had."""
        self.seq, self.epoch = other.seq, other.epoch
        self.texts, self.thoughts = dict(other.texts), dict(other.thoughts)
        self.endings = dict(other.endings)

    def _texts(self, frame: Frame) -> dict[int, str]:
        return self.texts if frame["kind"] == "text" else self.thoughts

    def _event(self, frame: Frame) -> None:
        self.events.append(frame)
        if "seq" not in frame:
            return
        if self.seq is None:  # a stream that shows nothing but one reply
            self.seq = frame["seq"] - 1
        assert frame["seq"] == self.seq + 1, f"{frame['seq']} after {self.seq}"
        self.seq = frame["seq"]
        data = frame["data"]
        if frame["event"].startswith("reply.") and "content" in data:
            assert data["reply_id"] not in self.endings, "a second last event"
            assert data["length"] == len(data["content"])
            self.endings[data["reply_id"]] = frame["event"]
            self.texts[data["reply_id"]] = data["content"]

    def _delta(self, frame: Frame) -> None:
        reply_id = frame["reply_id"]
        assert reply_id not in self.endings, "a delta after the last event"
        texts = self._texts(frame)
        text = texts.get(reply_id, "")
        assert frame["offset"] == len(text), "deltas overlap or leave a gap"
        assert frame["end"] == len(text) + len(frame["content"])
        texts[reply_id] = text + frame["content"]


class Socket:
    """A websocket of the tests, which reads all the time (``pause`` stops it), and its view."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws = ws
        self.view = View()
        self.frames: list[Frame] = []
        self.code: int | None = None
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self._numbers = 0

    async def _read(self) -> None:
        while True:
            message = await self.ws.receive()
            if message.type is WSMsgType.TEXT:
                frame = json.loads(message.data)
                self.frames.append(frame)
                self.view.take(frame)
            elif message.type not in (WSMsgType.PING, WSMsgType.PONG):
                self.code = self.ws.close_code
                self._changed.set()
                return
            self._changed.set()

    async def until(self, what: Callable[[], Any]) -> Any:
        """Wait until ``what`` is true of what was shown."""
        async with asyncio.timeout(PATIENCE):
            while not (found := what()):
                if self._reading.done():
                    self._reading.result()
                    found = what()
                    assert found, f"closed with {self.code}; got {str(self.frames)[:2000]}"
                    return found
                self._changed.clear()
                await self._changed.wait()
        return found

    async def shown(self, seq: int) -> None:
        """Wait for the event of this number."""
        await self.until(lambda: self.view.seq is not None and self.view.seq >= seq)

    def of(self, kind: str) -> list[Frame]:
        """The frames of one type so far."""
        return [frame for frame in self.frames if frame["type"] == kind]

    def events(self, *names: str) -> list[Frame]:
        """The events of these names so far; all of them without names."""
        return [f for f in self.of("event") if not names or f["event"] in names]

    async def send(self, frame: Any) -> None:
        """A frame as JSON; text and bytes as they are."""
        if isinstance(frame, bytes):
            await self.ws.send_bytes(frame)
        else:
            await self.ws.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def ask(self, **frame: Any) -> Frame:
        """Send a frame with an id; its result."""
        self._numbers += 1
        number = f"ask-{self._numbers}"
        await self.send({**frame, "id": number})
        found: Frame = await self.until(
            lambda: next((f for f in self.of("result") if f["id"] == number), None)
        )
        return found

    async def ended(self, count: int = 1) -> None:
        """Wait until so many replies have ended."""
        await self.until(lambda: len(self.view.endings) >= count)

    async def chat(self, message: str | None = "hello", **fields: Any) -> Frame:
        """A chat that is accepted; its ids."""
        result = await self.ask(type="chat", message=message, **fields)
        assert result["ok"], result
        return dict(result["data"])

    async def closed(self) -> int | None:
        """Wait for the end; its close code."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
        return self.code

    async def leave(self) -> None:
        """Close as a client does."""
        if not self._reading.done():
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self.ws.close()


class Service:
    """A running service and its clients."""

    def __init__(self, operator: Operator, url: str, session: ClientSession) -> None:
        self.operator = operator
        self.switch = ScriptedSwitch()
        operator.reply_writer._switch = self.switch
        self.url = url
        self.session = session
        self.sockets: list[Socket] = []

    async def open(self, session_id: str = "s", query: str = "", **kwargs: Any) -> Socket:
        """A websocket; ``token=None`` brings none, ``headers`` and ``protocols`` add to it, and
        ``known`` is what an earlier connection of this client has seen."""
        known: View | None = kwargs.pop("known", None)
        headers = dict(kwargs.pop("headers", {}))
        token = kwargs.pop("token", TOKEN)
        if token is not None:
            headers["X-VX11-Token"] = token
        kwargs.setdefault("protocols", ("operator.v1",))
        kwargs.setdefault("autoping", True)
        ws = await self.session.ws_connect(
            f"{self.url}/ws/{session_id}{query}", headers=headers, max_msg_size=0, **kwargs
        )
        socket = Socket(ws)
        if known is not None:
            socket.view.keep(known)
        elif "after=" in query:
            socket.view.seq = int(query.partition("after=")[2].partition("&")[0])
        self.sockets.append(socket)
        return socket

    async def ready(self, session_id: str = "s", query: str = "", **kwargs: Any) -> Socket:
        """A websocket that was let in."""
        socket = await self.open(session_id, query, **kwargs)
        await socket.until(lambda: socket.of("ready"))
        return socket

    async def back(self, gone: Socket, session_id: str = "s") -> Socket:
        """The client of ``gone`` comes back and resumes."""
        view = gone.view
        query = f"?after={view.seq}" + (f"&epoch={view.epoch}" if view.epoch else "")
        return await self.ready(session_id, query, known=view)

    async def http(self, method: str, path: str, **kwargs: Any) -> Frame:
        """A request with the token; its body, with ``http_status`` added."""
        headers = {"X-VX11-Token": TOKEN, **kwargs.pop("headers", {})}
        async with self.session.request(
            method, self.url + path, headers=headers, **kwargs
        ) as response:
            body = await response.json() if response.content_length else {}
            return {**body, "http_status": response.status}

    async def until(self, what: Callable[[], Any]) -> None:
        """Wait until ``what`` is true of the service."""
        async with asyncio.timeout(PATIENCE):
            while not what():
                await asyncio.sleep(0.005)

    async def history(self, session_id: str = "s") -> list[Frame]:
        """The messages of a session."""
        async with self.session.get(
            f"{self.url}/operator/session/{session_id}", headers={"X-VX11-Token": TOKEN}
        ) as response:
            assert response.status == 200, await response.text()
            return list((await response.json())["messages"])

    async def said(self, count: int = 1, session_id: str = "s") -> None:
        """Chats that are over: ``count`` of them, three events each, and one at the first."""
        before, self.switch.answer = self.switch.answer, ["an ", "answer"]
        socket = await self.ready(session_id)
        for number in range(count):
            await socket.chat(f"question {number}")
            await self.switch.next()
        await socket.until(lambda: len(socket.view.endings) == count)
        await socket.leave()
        self.switch.answer = before


class LazyClient:
    """A websocket of another library (websockets), which reads only when it is told to."""

    def __init__(self, ws: websockets.ClientConnection) -> None:
        self.ws = ws
        self.view = View()
        self.frames: list[Frame] = []

    @classmethod
    async def connect(cls, service: Service, path: str = "/ws/s") -> LazyClient:
        """One whose kernel and library hold as little as can be; it has read ``ready``."""
        address = service.url.removeprefix("http://").split(":")
        connection = socket_module.socket()
        connection.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (address[0], int(address[1])))
        ws = await websockets.connect(
            f"ws://{':'.join(address)}{path}",
            sock=connection,
            subprotocols=[websockets.Subprotocol("operator.v1")],
            additional_headers={"X-VX11-Token": TOKEN},
            compression=None,
            max_queue=1,
            max_size=None,
            ping_interval=None,
            close_timeout=1,
        )
        client = cls(ws)
        await client.read()
        return client

    async def read(self) -> Frame:
        """The next frame; raises websockets.ConnectionClosed."""
        async with asyncio.timeout(PATIENCE):
            frame: Frame = json.loads(await self.ws.recv())
        self.frames.append(frame)
        self.view.take(frame)
        return frame

    async def read_to_the_end(self) -> int | None:
        """Read until the connection ends; the close code, None where it was cut."""
        try:
            while True:
                await self.read()
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    def cut(self) -> None:
        """Vanish without a word."""
        self.ws.transport.abort()


@asynccontextmanager
async def serving(database_url: str, **settings: Any) -> AsyncIterator[Service]:
    """A service with these settings, by attribute."""
    defaults: dict[str, Any] = {
        "host": "127.0.0.1", "port": 0, "database_url": database_url, "token": TOKEN,
        "migrate": "off", "tick": 0.02, "chat_rate": 0, "frame_rate": 0,
    }  # fmt: skip
    configured = Settings(**(defaults | settings))
    async with AsyncExitStack() as stack:
        operator = await Operator.open(configured)
        stack.push_async_callback(operator.aclose)
        server = Server(operator.application(), configured)
        stack.push_async_callback(server.close)
        stack.push_async_callback(operator.services.clients.close_all, 4000)
        url = await server.start()
        session = await stack.enter_async_context(ClientSession())
        service = Service(operator, url, session)
        yield service
        for socket in service.sockets:
            await socket.leave()
