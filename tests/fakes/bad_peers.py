"""Peers that hang or refuse, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from operator_svc.settings import Settings

URLS = (
    "tentaculo_link_url", "madre_url", "switch_url", "hermes_url", "hormiguero_url",
    "manifestator_url", "mcp_url", "shub_url", "spawner_url",
)  # fmt: skip
"""Settings that hold the peers' addresses."""
TOKEN = "token-of-the-tests"


def unused_url() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def gone(**urls: str) -> Settings:
    """Settings with which all peers but those given refuse connections."""
    return everywhere(unused_url(), **urls)


def everywhere(url: str, **urls: str) -> Settings:
    """Settings with all peers but those given at ``url``."""
    places: dict[str, Any] = {**dict.fromkeys(URLS, url), **urls}
    return Settings(token=TOKEN, **places)


class Hung:
    """A server that takes connections and says nothing; ``calls`` are the requests it read."""

    def __init__(self) -> None:
        self.url = ""
        self.calls = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read what comes until the client leaves."""
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                self.calls += line == b"\r\n"
        except ConnectionError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def hung() -> AsyncIterator[Hung]:
    """A peer that hangs."""
    peer = Hung()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield peer
    finally:
        server.close()
        for writer in peer._writers:
            writer.close()
        await server.wait_closed()
