"""Pods that run browser tasks, without HTTP: each with its worker, its lease and its live view."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from operator_svc.background import TaskOwner
from operator_svc.db import Database
from operator_svc.models import Caller
from operator_svc.peers.browser import PNG, BrowserAwayError, BrowserDiedError
from operator_svc.protocol.browser import BrowserTaskRequest, BrowserTaskView
from operator_svc.protocol.navigate import Visit
from operator_svc.services.browser.runner import WorkerOptions
from operator_svc.services.browser.tasks import BrowserTasks
from operator_svc.services.browser.worker import BrowserWorker
from operator_svc.services.drain import DrainState
from operator_svc.services.live.events import LiveEvent
from operator_svc.stores.browser_tasks import BrowserTaskStore
from operator_svc.stores.events import EventStore
from operator_svc.stores.pods import PodStore
from operator_svc.stores.sessions import SessionStore
from tests.fakes.eventually import WITHIN, eventually
from tests.fakes.hubs import hub_over
from tests.fakes.records import lease

ANYBODY = Caller()
AWAY = BrowserAwayError("refused")
DIED = BrowserDiedError("died")
DELAYS = (0.01, 0.02, 0.03, 0.04, 0.05)

Answer = Visit | Exception | Callable[[], Awaitable[Visit]]


def visit(url: str = "https://example.org/", **fields: Any) -> Visit:
    """A page that was opened."""
    given = {
        "status": "ok",
        "url": url,
        "final_url": url,
        "http_status": 200,
        "title": "A page",
        "text": "What it says. " * 100,
        "links": [{"url": "https://example.org/next", "text": "next"}],
        "screenshot": PNG + b"pixels",
        "script_result": {"n": [1, None]},
        "console": ["log: hello"],
        "duration_ms": 5,
    }
    return Visit(**{**given, **fields})


def visit_of(**fields: Any) -> Visit:
    """A page with nothing on it."""
    given = {"status": "ok", "url": "u", "final_url": "u", "duration_ms": 1}
    return Visit(**{**given, **fields})


class FakeBrowser:
    """Answers each address as its test says: by the next of its answers, the last one again."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[str] = []
        self.left: list[str] = []
        """Addresses whose caller went away."""
        self.together: list[frozenset[str]] = []
        """Which pages were open whenever one more was."""
        self.hold = asyncio.Event()
        """The event that the pages named ``hold`` wait for."""
        self._open: list[str] = []

    def on(self, url: str, *answers: Answer) -> str:
        self.answers[url] = list(answers)
        return url

    async def navigate(self, url: str, options: Mapping[str, Any], seconds: float) -> Visit:
        self.seen.append(url)
        self._open.append(url)
        self.together.append(frozenset(self._open))
        try:
            if "hold" in url:
                await self.hold.wait()
            answers = self.answers.get(url, [visit(url)])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer if isinstance(answer, Visit) else await answer()
        except asyncio.CancelledError:
            self.left.append(url)
            raise
        finally:
            self._open.remove(url)


class Pod:
    """One process that runs browser tasks."""

    def __init__(self, database: Database, browser: FakeBrowser, name: str, **given: Any) -> None:
        self.database = database
        self.browser = browser
        self.pod_id = name
        self.store = BrowserTaskStore(database)
        self.pods = PodStore(database)
        self.events = EventStore(database)
        self.sessions = SessionStore(database)
        self._owner = TaskOwner(name)
        self.hub = hub_over(database, self._owner)
        delays: dict[str, Any] = {"retry_delays": DELAYS, "death_delay": 0.01}
        options = WorkerOptions(**({"shared": True} | delays | given))
        drain = DrainState()
        self.worker = BrowserWorker(self.store, browser, self.hub, self, drain, options)
        self.tasks = BrowserTasks(
            self.store, self.worker, self.hub, self, drain, screenshot_retention=30
        )
        self.ttl = 30.0

    async def open(self) -> Pod:
        await lease(self.database, self.pod_id, self.ttl)  # beside others, on SQLite too
        self.hub.start()
        self.tasks.start()
        return self

    async def aclose(self) -> None:
        await self.tasks.aclose()
        await self._owner.aclose()

    async def kill(self) -> None:
        """End as a process that is killed does: nothing is written, the lease runs out."""
        await self.worker.abandon()
        await self.pods.remove(self.pod_id)

    async def add(
        self, url: str, session_id: str | None = None, *, user: str | None = None, **options: Any
    ) -> str:
        request = BrowserTaskRequest(url, options, session_id, user)
        return await self.tasks.add(ANYBODY, request)

    async def get(self, task_id: str) -> BrowserTaskView:
        return await self.tasks.get(ANYBODY, task_id)

    async def end(self, task_id: str, within: float = WITHIN) -> BrowserTaskView:
        """The task when it has ended, which it must."""
        view = await self.tasks.wait(ANYBODY, task_id, within)
        assert view.completed_at is not None, view
        return view

    async def until(self, task_id: str, status: str) -> BrowserTaskView:
        """The task once it stands so."""

        async def stands_so() -> BrowserTaskView | None:
            view = await self.get(task_id)
            return view if view.status == status else None

        found = await eventually(stands_so)
        assert found is not None
        return found

    async def replayed(self, session_id: str) -> list[LiveEvent]:
        """All events of a session, which must be numbered without a gap."""
        rows = (await self.events.after(session_id, 0, 1000)).rows
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        session = await self.sessions.get(session_id)
        assert session is not None
        return [LiveEvent.of_row(row, session.epoch) for row in rows]

    async def steps(self, session_id: str, task_id: str) -> list[str]:
        """The events of a task, in order."""
        prefix = "browser_task."
        return [
            event.name.removeprefix(prefix)
            for event in await self.replayed(session_id)
            if event.name.startswith(prefix) and event.data["task_id"] == task_id
        ]


MakePod = Callable[..., Awaitable[Pod]]
