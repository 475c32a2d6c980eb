"""A proxy before the service that loses requests and answers, delays them, and answers itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple

import aiohttp
from aiohttp import web

Kind = Literal["none", "refuse", "fail", "lose", "answer_for", "cut"]
HOP_BY_HOP = ("host", "connection", "transfer-encoding", "content-length", "keep-alive")


class Fault(NamedTuple):
    """One request's: it is passed to ``target`` after ``delay`` seconds, and then

    - ``none``: answered;
    - ``refuse``: not passed on, the connection is cut; ``fail``: answered with ``status`` instead;
    - ``lose``: passed on, and ``after`` seconds later the connections on both sides are cut;
      ``answer_for``: the same, and answered with ``status``;
    - ``cut``: answered as far as ``size`` bytes of the body.
    """

    kind: Kind
    target: str
    delay: float = 0.0
    after: float = 0.0
    status: int = 503
    size: int = 0


class FaultyProxy:
    """Does to each request what ``choose`` says, and counts the kinds of faults."""

    def __init__(self, choose: Callable[[web.Request], Fault]) -> None:
        self._choose = choose
        self._runner = web.AppRunner(
            _application(self._handle), handler_cancellation=True, shutdown_timeout=1.0
        )
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
        )
        self.url = ""
        self.counts: Counter[Kind] = Counter()

    async def __aenter__(self) -> FaultyProxy:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        fault = self._choose(request)
        self.counts[fault.kind] += 1
        body = await request.read()
        await asyncio.sleep(fault.delay)
        if fault.kind == "refuse":
            return _cut(request)
        if fault.kind == "fail":
            return _failure(fault)
        try:
            async with asyncio.timeout(
                fault.after if fault.kind in ("lose", "answer_for") else None
            ):
                return await self._pass_on(request, body, fault)
        except TimeoutError:
            return _failure(fault) if fault.kind == "answer_for" else _cut(request)
        except aiohttp.ClientError:  # the process was killed
            return _cut(request)

    async def _pass_on(self, request: web.Request, body: bytes, fault: Fault) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        async with self._http.request(
            request.method, fault.target + request.path_qs, data=body, headers=headers
        ) as answer:
            if fault.kind in ("lose", "answer_for"):
                await answer.read()
                await asyncio.Event().wait()  # the answer came before it could be lost
            passed = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    passed.headers[name] = value
            passed.content_length = answer.content_length
            await passed.prepare(request)
            left = fault.size if fault.kind == "cut" else None
            async for data in answer.content.iter_any():
                if left is not None and len(data) >= left:
                    await passed.write(data[:left])
                    return _cut(request)
                await passed.write(data)
                left = None if left is None else left - len(data)
            await passed.write_eof()
            return passed


def _application(handle: Callable[[web.Request], object]) -> web.Application:
    application = web.Application(client_max_size=16 * 2**20)
    application.router.add_route("*", "/{path:.*}", handle)  # type: ignore[arg-type]
    return application


def _failure(fault: Fault) -> web.Response:
    return web.Response(status=fault.status, text="<html>the proxy has failed</html>")


def _cut(request: web.Request) -> web.Response:
    """Cut the connection; what was written before may still arrive."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()
