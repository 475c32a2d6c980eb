"""The end of a server while requests are in progress."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession, web

from operator_svc.rest.server.admission import Limits
from operator_svc.rest.server.runner import Runner
from operator_svc.services.byte_budget import ByteBudget
from operator_svc.settings import Settings
from tests.fakes.eventually import eventually


async def test_a_request_that_ends_as_its_shutdown_is_cancelled_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        begun.set()
        await release.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = Runner(app, Settings(), Limits(10, 1), ByteBudget(1))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with ClientSession() as session:
        asking = asyncio.create_task(session.get(f"http://{host}:{port}/"))
        await begun.wait()
        assert runner.server is not None
        (connection,) = runner.server.connections
        ending = asyncio.create_task(runner.cleanup())
        await eventually(lambda: connection._handler_waiter is not None)
        release.set()
        ending.cancel()
        assert (await asking).status == 200
        with pytest.raises(asyncio.CancelledError):
            await ending
        await runner.cleanup()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
