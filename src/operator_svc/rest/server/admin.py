"""The admin port: probes and metrics, on a thread with an event loop of its own.

On the application's event loop a probe waits behind all that clients want, which may be much. The
thread waits for the interpreter only, and gets it within a few of Python's switch intervals: so
liveness is answered at once, and says whether the application's loop still turns.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future

import structlog
from aiohttp import web

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.system import Probe
from operator_svc.rest import responses
from operator_svc.rest.handlers import health
from operator_svc.rest.problems import problem
from operator_svc.rest.request_context import request_id_of
from operator_svc.rest.server.admission import Limits
from operator_svc.rest.server.runner import Runner
from operator_svc.services.byte_budget import ByteBudget
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

BEAT = 0.25
"""Seconds between two beats of the application's event loop."""
STUCK = 5.0
"""Seconds without a beat after which the process is not alive: the time that the manifests give
a probe, so that one which asks the loop itself would fail as well."""
READY_TIMEOUT = health.READY_TIMEOUT + 0.5
"""Seconds that readiness waits for the application's loop: less than the manifests' probe does."""
CONNECTIONS = 64
"""Connections at once. A cluster and Prometheus have a few."""
BYTES = 16 * 2**20
"""Bytes of metrics that may wait for their readers."""

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminServer:
    """Serves ``/health/live``, ``/health/ready`` and ``/metrics``, without a token."""

    def __init__(self, settings: Settings, readiness: health.Readiness) -> None:
        self._settings = settings
        self._readiness = readiness
        self._beaten = 0.0
        self._beating: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._served_by = 0  # the ident of the application's thread

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on ``sockets`` for the application whose event loop runs this; takes them over."""
        self._main = asyncio.get_running_loop()
        self._served_by = threading.get_ident()
        self._beat()
        listening: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(sockets, listening), name="admin", daemon=True
        )
        self._thread.start()
        await asyncio.wrap_future(listening)

    async def close(self) -> None:
        """Stop, once the requests that are being answered have ended."""
        if self._thread is None or self._beating is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join)
        self._beating.cancel()

    def _beat(self) -> None:
        self._beaten = time.monotonic()
        self._beating = self._main.call_later(BEAT, self._beat)

    # On the thread.

    def _run(self, sockets: Sequence[socket.socket], listening: Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=type(self._main)) as runner:
                runner.run(self._serve(sockets, listening))
        except BaseException as error:
            if not listening.done():
                listening.set_exception(error)
            log.critical("the admin port failed", exc_info=error)

    async def _serve(self, sockets: Sequence[socket.socket], listening: Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.on_response_prepare.append(responses.finish_headers)
        for path, answer in (
            ("/health/live", self._live),
            ("/health/ready", self._ready),
            ("/metrics", health.get_metrics),
        ):
            app.router.add_get(path, self._counted(path, answer))
        runner = Runner(app, self._settings, Limits(CONNECTIONS, 1), ByteBudget(BYTES))
        await runner.setup()
        try:
            for bound in sockets:
                await web.SockSite(runner, bound).start()
            listening.set_result(None)
            await self._stop.wait()
        finally:
            await runner.cleanup()

    def _counted(self, path: str, answer: Answering) -> Answering:
        """``answer``, with its failures answered, and counted by the thread that counts."""
        metrics = telemetry.HTTP.route(path, "GET")

        def count(status: int, seconds: float) -> None:
            metrics.count(status)
            metrics.observe(seconds)

        async def counted(request: web.Request) -> web.StreamResponse:
            begun = time.perf_counter()
            try:
                response = await answer(request)
            except OperatorError as error:
                response = problem(error, request_id_of(request.headers))
            took = time.perf_counter() - begun
            self._main.call_soon_threadsafe(count, response.status, took)
            return response

        return counted

    async def _live(self, _: web.Request) -> web.StreamResponse:
        late = time.monotonic() - self._beaten
        if late > STUCK:
            frame = sys._current_frames().get(self._served_by)
            stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
            log.error("the event loop is stuck", seconds=round(late, 1), stack=stack)
            raise OperatorError(
                ErrorCode.INTERNAL_ERROR, f"the event loop has not turned for {late:.0f} s"
            )
        return responses.json(Probe("ok"))

    async def _ready(self, _: web.Request) -> web.StreamResponse:
        check = asyncio.run_coroutine_threadsafe(self._readiness.check(), self._main)
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                await asyncio.wrap_future(check)
        except TimeoutError:
            raise OperatorError(
                ErrorCode.INTERNAL_ERROR, f"the event loop did not answer in {READY_TIMEOUT:g} s"
            ) from None
        return responses.json(Probe("ready"))
