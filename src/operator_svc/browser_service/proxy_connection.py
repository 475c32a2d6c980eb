"""One connection from Chromium to its page's proxy: one request, tunnelled or plain.

A request that is refused or fails is answered so that Chromium reports a network error and
shows no page: a tunnel by a status, a plain request by closing without an answer.
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
"""Addresses of a host that are tried, in the resolver's order."""
_CHUNK = 64 * 1024


class ProxyContext(Protocol):
    """The parts of a `PageProxy` that its connections use."""

    tasks: TaskOwner

    async def authorize(self, host: str, port: int) -> tuple[Address, ...]:
        """Return the addresses to connect to; raises UnreachableError."""

    def connect_failed(self, host: str, port: int, reason: str) -> UnreachableError:
        """Record that a server does not answer; returns the error to raise."""

    def count_bytes(self, size: int) -> bool:
        """Add ``size`` bytes; False past the page's limit."""


class ProxyConnection:
    """Serves one client connection of the proxy ``context``."""

    def __init__(self, context: ProxyContext) -> None:
        self._context = context

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read the request, forward it, and close; the peers' failures raise nothing."""
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                lines = await http_heads.read_lines(reader, http_heads.MAX_REQUEST_HEAD)
            if lines:
                await self._forward(http_heads.parse_request(lines), reader, writer)
        except (
            http_heads.BadHeadError,
            UnreachableError,
            OSError,
        ) as error:  # OSError includes TimeoutError
            log.debug("proxied request failed", reason=str(error))
        except BaseException:
            writer.transport.abort()
            raise
        finally:
            writer.close()

    async def _forward(
        self,
        request: http_heads.RequestHead,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            server_reader, server_writer = await self._connect(request.host, request.port)
        except UnreachableError:
            if request.tunnel:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n")
            raise
        upload = self._context.tasks.start(self._upload(request, reader, server_writer), "upload")
        try:
            if request.tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                writer.write(await self._response_head(server_reader))
            while data := await server_reader.read(_CHUNK):
                if not self._context.count_bytes(len(data)):
                    break
                writer.write(data)
                await writer.drain()
        finally:
            upload.cancel()
            server_writer.transport.abort()

    async def _connect(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        addresses = await self._context.authorize(host, port)
        reason = "no address"
        for address in addresses[:MAX_ADDRESSES]:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    # The checked address itself, never the name again.
                    return await asyncio.open_connection(
                        str(address), port, limit=http_heads.MAX_RESPONSE_HEAD
                    )
            except TimeoutError:
                reason = "it did not answer in time"
            except ConnectionRefusedError:
                reason = "it refused the connection"
            except OSError as error:
                reason = os.strerror(error.errno).lower() if error.errno else "no connection"
        raise self._context.connect_failed(host, port, reason)

    async def _response_head(self, server: asyncio.StreamReader) -> bytes:
        """Read heads up to the final one (interim 1xx ones are dropped) and return that."""
        while True:
            lines = await http_heads.read_lines(server, http_heads.MAX_RESPONSE_HEAD)
            if not lines:
                raise http_heads.BadHeadError("the server closed without an answer")
            head = http_heads.parse_response(lines)
            if head.status >= 200 and head.status != 407:
                self._context.count_bytes(len(head.head))
                return head.head
            if head.status in (101, 407):
                # No upgrade was requested, and a server is no proxy that may ask for a password.
                raise http_heads.BadHeadError(f"the server answered {head.status}")

    async def _upload(
        self,
        request: http_heads.RequestHead,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
    ) -> None:
        """Forward Chromium's bytes until it closes; then close the server's side, too."""
        try:
            server.write(request.head)
            left = None if request.tunnel else request.body
            while left is None or left > 0:
                data = await reader.read(_CHUNK if left is None else min(_CHUNK, left))
                if not data or not self._context.count_bytes(len(data)):
                    return
                left = None if left is None else left - len(data)
                try:
                    server.write(data)
                    await server.drain()
                except OSError:
                    break  # it answered without reading everything; the answer still counts
            await reader.read(1)
        except OSError as error:
            log.debug("upload ended", reason=str(error))
        finally:
            server.transport.abort()
