"""A real browser service, a site that it opens, and a client of Operator."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from operator_svc.app import Operator
from tests.browser_service.processes import processes
from tests.fakes.eventually import block_until, eventually
from tests.fakes.raw import dead_address

TOKEN = "token-of-the-tests"

START_SECONDS = 40


class BrowserProcess:
    """``operator-browser`` on a port that stays the same over restarts."""

    def __init__(self, log: Path) -> None:
        self.url = dead_address()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPERATOR_", "BROWSER_"))}
        environ = {
            "BROWSER_PORT": self.url.rpartition(":")[2],
            "BROWSER_TOKEN": TOKEN,
            "BROWSER_ALLOW": "127.0.0.1:*",
            "OPERATOR_LOG_FORMAT": "json",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "operator_svc.browser_service"],
                env={**kept, **environ},
                stdout=log,
            )
        block_until(self._is_ready, START_SECONDS)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "operator-browser does not start"
        return b'"ready"' in self._log.read_bytes()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def chromiums(self) -> set[int]:
        """The process groups of its Chromiums that have a page open."""
        assert self._process is not None
        return {
            os.getpgid(pid)
            for pid, (_, line) in processes().items()
            if "--type=renderer" in line and self._process.pid in _ancestors(pid)
        }

    def kill_chromiums(self, spared: set[int]) -> None:
        """Kill its Chromiums that have a page open, but not these."""
        killed = self.chromiums() - spared
        assert killed, "there is no Chromium to kill"
        for group in killed:
            os.killpg(group, signal.SIGKILL)


def _ancestors(pid: int) -> list[int]:
    everything, line = processes(), []
    while pid in everything:
        pid = everything[pid][0]
        line.append(pid)
    return line


class Site:
    """Pages of this test."""

    def __init__(self, app: web.Application) -> None:
        self.seen: list[str] = []
        self.left: list[str] = []
        self.hold = asyncio.Event()
        self.on_kill: Callable[[], None] = lambda: None
        self.url = ""
        app.router.add_get("/{name:.*}", self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.seen.append(name)
        if name.startswith("hold"):
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.left.append(name)
                raise
        if name.startswith("kill"):
            self.on_kill()
            await self.hold.wait()
        if name == "download":
            headers = {"Content-Disposition": "attachment; filename=x.bin"}
            return web.Response(body=b"data", headers=headers)
        if name == "inside":
            return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest"})
        if name == "crash":
            script = "const all = []; for (;;) all.push(new Array(1e7).fill(all.length));"
            return _html(f"<script>{script}</script>")
        status = 404 if name == "nowhere" else 200
        return _html(
            f"<title>Título {name}</title><p>漢字 of {name}</p><a href='/next'>next</a>"
            "<script>console.log('it', 'ran')</script>",
            status,
        )


def _html(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, content_type="text/html", charset="utf-8", status=status)


class Client:
    """Calls one Operator."""

    def __init__(self, url: str, session: ClientSession, operator: Operator) -> None:
        self.operator = operator
        self._url = url
        self._session = session

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        headers = {"X-VX11-Token": TOKEN}
        async with self._session.request(
            method, self._url + path, json=body, headers=headers
        ) as response:
            return response.status, await response.json()

    async def open(self, url: str, **fields: Any) -> dict[str, Any]:
        """A task that ends while it is waited for."""
        body = {"url": url, "wait": 60, **fields}
        status, task = await self.call("POST", "/operator/browser/task", body)
        assert status == 200, task
        return task

    async def begin(self, url: str, **fields: Any) -> str:
        """A task that is not waited for; its id."""
        body = {"url": url, "wait": 0, **fields}
        status, task = await self.call("POST", "/operator/browser/task", body)
        assert status == 202, task
        return str(task["task_id"])

    async def task(self, task_id: str) -> dict[str, Any]:
        status, task = await self.call("GET", f"/operator/browser/task/{task_id}")
        assert status == 200, task
        return task

    async def end(self, task_id: str, seconds: float = 60) -> dict[str, Any]:
        """The task once it has ended."""

        async def ended() -> dict[str, Any] | None:
            task = await self.task(task_id)
            return None if task["completed_at"] is None else task

        task: dict[str, Any] | None = await eventually(ended, seconds)
        assert task is not None
        return task

    async def events(self, session_id: str) -> list[dict[str, Any]]:
        _, body = await self.call("GET", f"/operator/session/{session_id}/events?limit=1000")
        events: list[dict[str, Any]] = body["events"]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        return events


Start = Callable[[], Awaitable[Client]]
