"""A whole service over real sockets, a Switch whose words the test chooses, and clients that
keep what they are shown as ``api.md`` tells clients to.
"""

from __future__ import annotations

import asyncio
import json
import socket as socket_module
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import websockets
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from operator_svc import lifecycle
from operator_svc.peers.chat_types import Part, Reasoning
from operator_svc.protocol.frames import CloseCode
from operator_svc.rest.server.listener import Server
from operator_svc.settings import Settings
from tests.fakes.client_view import ClientView, Frame
from tests.fakes.eventually import eventually
from tests.fakes.running_service import RunningService
from tests.fakes.scripted_switch import ScriptedCall, ScriptedSwitch
from tests.fakes.started import BROWSER_AWAY, LEASE_TTL, started

TOKEN = "token-of-the-tests"
PATIENCE = 30.0
"""Seconds that a test waits for something before it fails."""


def think(text: str) -> Part:
    """A piece of reasoning."""
    return Reasoning(text)


class Socket:
    """A websocket of the tests, which reads all the time (``pause`` stops it), and its view."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws = ws
        self.view = ClientView()
        self.frames: list[Frame] = []
        self.code: int | None = None
        self.reason = ""
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
                self.reason = message.extra or ""
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


@dataclass(eq=False)
class Service(RunningService[ScriptedSwitch]):
    """A running service and its clients."""

    sockets: list[Socket] = field(default_factory=list)

    async def open(self, session_id: str = "s", query: str = "", **kwargs: Any) -> Socket:
        """A websocket; ``token=None`` brings none, ``headers`` and ``protocols`` add to it, and
        ``known`` is what an earlier connection of this client has seen."""
        known: ClientView | None = kwargs.pop("known", None)
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

    async def speaking(self, *texts: Any) -> tuple[Socket, Frame, ScriptedCall]:
        """A client that was shown ``texts`` of a reply; the chat's ids, and Switch's call."""
        socket = await self.ready()
        ids = await socket.chat()
        call = await self.switch.next()
        call.say(*texts)
        await socket.until(lambda: len(socket.of("delta")) == len(texts))
        return socket, ids, call

    async def resync(self) -> Frame:
        """The frame from which a client starts whose number nobody has given out."""
        socket = await self.ready(query="?after=999")
        await socket.until(lambda: socket.of("resync"))
        return socket.of("resync")[0]

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
        await eventually(what, PATIENCE, every=0.005)

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
        self.view = ClientView()
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
        "browser_url": BROWSER_AWAY, "lease_ttl": LEASE_TTL,
    }  # fmt: skip
    configured = Settings(**(defaults | settings))
    async with AsyncExitStack() as stack:
        switch = ScriptedSwitch()
        operator = await started(configured, switch=switch)
        stack.push_async_callback(lifecycle.close, operator)
        server = Server(operator.application(), configured)
        stack.push_async_callback(server.close)
        stack.push_async_callback(operator.services.clients.close_all, CloseCode.DRAINING)
        url = await server.start()
        session = await stack.enter_async_context(ClientSession())
        service = Service(operator, switch, url, session)
        yield service
        for socket in service.sockets:
            await socket.leave()
