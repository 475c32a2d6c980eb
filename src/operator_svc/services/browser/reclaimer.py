"""Browser tasks that nobody runs any more, or that still wait: ended or queued from outside."""

from __future__ import annotations

import structlog

from operator_svc import telemetry
from operator_svc.models import BrowserTask
from operator_svc.services.browser import outcomes as facts
from operator_svc.services.browser.runner import RETRY_DELAYS
from operator_svc.services.browser.worker import BrowserWorker
from operator_svc.services.lease import PodIdentity
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.browser_tasks import BrowserTaskStore, Ending, last_event

log = structlog.get_logger(__name__)

PURGE_PAGE = 100
"""Pictures that are deleted in one write."""


class TaskReclaimer:
    """Moves tasks that do not run here. ``retention`` of pictures is in days."""

    def __init__(
        self,
        store: BrowserTaskStore,
        worker: BrowserWorker | None,
        hub: SessionHub,
        lease: PodIdentity,
        retention: float,
    ) -> None:
        self._store = store
        self._worker = worker
        self._hub = hub
        self._lease = lease
        self._retention = retention
        self._suspects: set[str] = set()

    async def end(self, task: BrowserTask, ending: Ending) -> bool:
        """Store a task's end; False where it changed meanwhile."""
        moved = await self._store.end(task, ending, facts.of_ending(task, ending))
        if moved is None:
            return False
        telemetry.BROWSER_TASKS.labels(str(ending.status)).inc()
        facts.show(self._hub, task.session_id, moved, last_event(ending.status))
        if self._worker is not None:
            self._worker.tell(task.task_id)
        return True

    async def reclaim(self) -> None:
        """Let tasks wait again whose owner is gone.

        To be called at the start where no other process uses the database, else now and then,
        but only while the lease allows to judge other pods (see services.lease). Tasks of
        this pod that nobody here runs come from a claim whose answer was lost;
        they count when they are seen twice, since a task is claimed a moment before it is run.
        """
        pod_id = self._lease.pod_id
        orphans: set[str] = set()
        for task in await self._store.unowned(pod_id):
            if task.owner == pod_id:
                if self._worker is not None and self._worker.runs.get(task.task_id) is not None:
                    continue
                if task.task_id not in self._suspects:
                    orphans.add(task.task_id)
                    continue
            await self._reclaim(task)
        self._suspects = orphans

    async def _reclaim(self, task: BrowserTask) -> None:
        attempts = task.attempts + 1
        log.warning("browser task left by its owner", task_id=task.task_id, attempts=attempts)
        if task.cancel_requested:
            await self.end(task, facts.cancelled(task))
        elif attempts > len(RETRY_DELAYS):
            await self.end(task, facts.unavailable(task, attempts, task.deaths))
        else:
            data = facts.of_pending(task, attempts)
            moved = await self._store.release(
                task, attempts=attempts, deaths=task.deaths, delay=0.0, data=data
            )
            if moved is not None:
                facts.show(self._hub, task.session_id, moved, "browser_task.queued")
                if self._worker is not None:
                    self._worker.wake()

    async def purge(self) -> None:
        """Delete pictures that are older than their retention."""
        purged = PURGE_PAGE
        while purged >= PURGE_PAGE:
            purged = await self._store.purge_screenshots(self._retention, PURGE_PAGE)
