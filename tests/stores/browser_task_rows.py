"""Browser tasks in a database, as a test moves them."""

from __future__ import annotations

import uuid
from typing import Any

from operator_svc.db import Database
from operator_svc.models import BrowserTask, TaskStatus
from operator_svc.stores.browser_task_rows import ClaimedTask, NewTask, Picture, TaskOutcome
from operator_svc.stores.browser_tasks import BrowserTaskStore
from operator_svc.stores.events import EventRow, EventStore, StoredEvent
from operator_svc.stores.pods import PodStore
from operator_svc.stores.sessions import SessionStore

POD = "pod-1"

URL = "https://example.org/ñ"


class Tasks:
    """The stores of one database, and short ways to use them."""

    def __init__(self, database: Database) -> None:
        self.store = BrowserTaskStore(database)
        self.sessions = SessionStore(database)
        self.pods = PodStore(database)
        self._events = EventStore(database)

    async def add(
        self,
        session_id: str | None = None,
        *,
        viewer: str | None = None,
        url: str = URL,
        user: str = "ana",
    ) -> tuple[str, StoredEvent | None]:
        task_id = uuid.uuid4().hex
        new = NewTask(
            task_id=task_id, session_id=session_id, user_id=user, url=url,
            options={"full_page": True},
        )  # fmt: skip
        return task_id, await self.store.add(new, viewer)

    async def add_new(self, session_id: str, user: str = "ana") -> tuple[str, StoredEvent | None]:
        task_id = uuid.uuid4().hex
        new = NewTask(
            task_id=task_id, session_id=session_id, user_id=user, url=URL, options={}
        )  # fmt: skip
        return task_id, await self.store.add_new(new, str(uuid.uuid4()), "web")

    async def get(self, task_id: str) -> BrowserTask:
        task = await self.store.get(task_id)
        assert task is not None
        return task

    async def claim(self, pod: str = POD) -> ClaimedTask:
        claimed = await self.store.claim(pod)
        assert claimed is not None
        return claimed

    async def end(self, task: BrowserTask, outcome: TaskOutcome) -> StoredEvent | None:
        return await self.store.end(task, outcome)

    async def release(self, task: BrowserTask, **changes: Any) -> StoredEvent | None:
        given = {"attempts": task.attempts, "deaths": task.deaths, "delay": 0.0} | changes
        return await self.store.release(task, **given)

    async def events(self, session_id: str) -> list[EventRow]:
        rows = (await self._events.after(session_id, 0, 1000)).rows
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        session = await self.sessions.get(session_id)
        assert session is not None
        assert session.last_seq == len(rows)
        return rows


DONE = TaskOutcome(
    status=TaskStatus.COMPLETED,
    attempts=1,
    deaths=0,
    result={
        "status": "ok",
        "final_url": "https://example.org/end",
        "http_status": 404,
        "title": "Título",
        "text_snippet": "漢",
        "text": "漢字",
        "links": [{"url": "https://a.test/", "text": "a"}],
    },
    duration_ms=12,
    picture=Picture(b"\x89PNG\r\n\x1a\n\0\xff", "abc"),
)
