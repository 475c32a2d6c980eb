"""One connection from Chromium to its proxy: one request, a tunnel or a plain one.

A refused or failed request is answered so that Chromium sees an error and not a page: a
tunnel with a status, a plain request by closing without an answer.
"""

from __future__ import annotations

import asyncio
import os
from typing import Protocol

import structlog

from operator_svc.background import TaskOwner
from operator_svc.browser_service import http_heads
from operator_svc.browser_service.addresses import Address
from operator_svc.browser_service.egress_policy import UnreachableError

log = structlog.get_logger(__name__)

HEAD_TIMEOUT = 60.0
CONNECT_TIMEOUT = 10.0
MAX_ADDRESSES = 4
_CHUNK = 64 * 1024


class ProxyContext(Protocol):
    """What a connection needs of its lane."""

    tasks: TaskOwner

    async def judge(self, host: str, port: int) -> tuple[Address, ...]:
        """The addresses that may be connected to; raises UnreachableError."""

    def unreachable(self, host: str, port: int, reason: str) -> UnreachableError:
        """Note that a server does not answer; returns what to raise."""

    def count(self, size: int) -> bool:
        """Note ``size`` bytes; False where that is too much for the page."""


class ProxyConnection:
    """Serves one connection of ``road``."""

    def __init__(self, road: ProxyContext) -> None:
        self._road = road

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read the request, pass it on, and close; nothing is raised for what peers do."""
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                lines = await http_heads.read_lines(reader, http_heads.MAX_REQUEST_HEAD)
            if lines:
                await self._pass_on(http_heads.parse_request(lines), reader, writer)
        except (
            http_heads.BadHeadError,
            UnreachableError,
            OSError,
        ) as error:  # OSError holds TimeoutError
            log.debug("proxied request failed", reason=str(error))
        except BaseException:
            writer.transport.abort()
            raise
        finally:
            writer.close()

    async def _pass_on(
        self,
        request: http_heads.Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            server_reader, server_writer = await self._connect(request.host, request.port)
        except UnreachableError:
            if request.tunnel:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n")
            raise
        sender = self._road.tasks.start(self._send(request, reader, server_writer), "send")
        try:
            if request.tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                writer.write(await self._answer_head(server_reader))
            while data := await server_reader.read(_CHUNK):
                if not self._road.count(len(data)):
                    break
                writer.write(data)
                await writer.drain()
        finally:
            sender.cancel()
            server_writer.transport.abort()

    async def _connect(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        addresses = await self._road.judge(host, port)
        reason = "no address"
        for address in addresses[:MAX_ADDRESSES]:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    # The judged address itself, never the name again.
                    return await asyncio.open_connection(
                        str(address), port, limit=http_heads.MAX_RESPONSE_HEAD
                    )
            except TimeoutError:
                reason = "it did not answer in time"
            except ConnectionRefusedError:
                reason = "it refused the connection"
            except OSError as error:
                reason = os.strerror(error.errno).lower() if error.errno else "no connection"
        raise self._road.unreachable(host, port, reason)

    async def _answer_head(self, server: asyncio.StreamReader) -> bytes:
        while True:
            lines = await http_heads.read_lines(server, http_heads.MAX_RESPONSE_HEAD)
            if not lines:
                raise http_heads.BadHeadError("the server closed without an answer")
            answer = http_heads.parse_response(lines)
            if answer.status >= 200 and answer.status != 407:
                self._road.count(len(answer.head))
                return answer.head
            if answer.status in (101, 407):
                # An upgrade was not asked for; a server is no proxy that could want a password.
                raise http_heads.BadHeadError(f"the server answered {answer.status}")

    async def _send(
        self,
        request: http_heads.Request,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
    ) -> None:
        """Send what Chromium sends, until it goes away: then the server's side ends too."""
        try:
            server.write(request.head)
            left = None if request.tunnel else request.body
            while left is None or left > 0:
                data = await reader.read(_CHUNK if left is None else min(_CHUNK, left))
                if not data or not self._road.count(len(data)):
                    return
                left = None if left is None else left - len(data)
                try:
                    server.write(data)
                    await server.drain()
                except OSError:
                    break  # it has answered without reading all: its answer still counts
            await reader.read(1)
        except OSError as error:
            log.debug("proxied request ended", reason=str(error))
        finally:
            server.transport.abort()
