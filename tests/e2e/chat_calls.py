"""Calls of ``operator-svc chat``."""

from __future__ import annotations

import asyncio
import os
import sys

from tests.cluster.processes import TOKEN, Pod

CHAT = (sys.executable, "-m", "operator_svc", "chat")


async def call(
    url: str, *arguments: str, stdin: bytes | None = None, token: str = TOKEN
) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *CHAT, *arguments, env={**os.environ, "OPERATOR_TOKEN": token, "OPERATOR_URL": url},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(stdin or b""), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def run(
    pod: Pod, *arguments: str, stdin: str = "", token: str = TOKEN
) -> tuple[int, str, str]:
    return await call(pod.url, *arguments, stdin=stdin.encode(), token=token)


class CuttingProxy:
    """A TCP proxy that can be cut."""

    def __init__(self, target: str) -> None:
        self._host, self._port = target.removeprefix("http://").split(":")
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def start(self, port: int = 0) -> asyncio.Server:
        server = await asyncio.start_server(self._proxy, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._host, int(self._port))
        self._writers |= {writer, up_writer}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except ConnectionError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
