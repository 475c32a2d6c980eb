"""Stores the moves of browser tasks and publishes the event of each."""

from __future__ import annotations

from collections.abc import Sequence

from operator_svc import telemetry
from operator_svc.models import BrowserTask
from operator_svc.protocol import events
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.browser_task_rows import ClaimedTask, TaskOutcome
from operator_svc.stores.browser_tasks import BrowserTaskStore, last_event


class TaskRecorder:
    """Moves tasks from state to state, and publishes each move to the clients of its session."""

    def __init__(self, store: BrowserTaskStore, hub: SessionHub) -> None:
        self._store = store
        self._hub = hub

    async def claim(
        self, pod_id: str, *, after: str, passed_over: Sequence[str]
    ) -> ClaimedTask | None:
        """Make a task that is due this pod's; see BrowserTaskStore.claim."""
        claimed = await self._store.claim(pod_id, after=after, passed_over=passed_over)
        if claimed is not None:
            self._hub.publish_record(claimed.session_id, events.TASK_STARTED, claimed)
        return claimed

    async def release(self, task: BrowserTask, *, attempts: int, deaths: int, delay: float) -> bool:
        """Queue a running task again; False where it changed meanwhile or was asked to stop."""
        stored = await self._store.release(task, attempts=attempts, deaths=deaths, delay=delay)
        if stored is None:
            return False
        self._hub.publish_record(task.session_id, events.TASK_QUEUED, stored)
        return True

    async def end(self, task: BrowserTask, outcome: TaskOutcome) -> bool:
        """Store how a task ended; False where it changed meanwhile."""
        stored = await self._store.end(task, outcome)
        if stored is not None:
            telemetry.BROWSER_TASKS.labels(str(outcome.status)).inc()
            self._hub.publish_record(task.session_id, last_event(outcome.status), stored)
            return True
        if task.session_id is not None:
            # Another pod ended it, or an attempt that seemed to fail was stored.
            self._hub.refresh((task.session_id,))
        return False
