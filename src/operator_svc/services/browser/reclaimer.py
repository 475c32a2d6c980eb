"""Takes over browser tasks that nobody runs any more, and deletes old screenshots."""

from __future__ import annotations

from functools import partial

import structlog

from operator_svc.models import BrowserTask
from operator_svc.services.browser import outcomes
from operator_svc.services.browser.recorder import TaskRecorder
from operator_svc.services.browser.runner import RETRY_DELAYS
from operator_svc.services.browser.worker import BrowserWorker
from operator_svc.services.lease import PodIdentity
from operator_svc.services.retry import purge_pages
from operator_svc.stores.browser_task_rows import TaskOutcome
from operator_svc.stores.browser_tasks import BrowserTaskStore

log = structlog.get_logger(__name__)

PURGE_PAGE = 100
"""Screenshots that are deleted in one write."""


class TaskReclaimer:
    """Moves tasks that do not run here. ``retention`` of screenshots is in days."""

    def __init__(
        self,
        store: BrowserTaskStore,
        recorder: TaskRecorder,
        worker: BrowserWorker | None,
        lease: PodIdentity,
        retention: float,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._worker = worker
        self._lease = lease
        self._retention = retention
        self._suspects: set[str] = set()

    async def sweep(self) -> None:
        """Queue tasks again whose owner is gone; only while the lease allows to judge other pods.

        A task of this pod that nobody here runs comes from a claim whose answer was lost. It
        counts only when it is seen twice, since a task is claimed a moment before it is run.
        """
        pod_id = self._lease.pod_id
        orphans: set[str] = set()
        for task in await self._store.unowned(pod_id):
            if task.owner == pod_id:
                if self._worker is not None and self._worker.runner.get(task.task_id) is not None:
                    continue
                if task.task_id not in self._suspects:
                    orphans.add(task.task_id)
                    continue
            await self._reclaim(task)
        self._suspects = orphans

    async def end(self, task: BrowserTask, outcome: TaskOutcome) -> bool:
        """Store the end of a task that does not run here; False where it changed meanwhile."""
        ended = await self._recorder.end(task, outcome)
        if ended and self._worker is not None:
            self._worker.notify(task.task_id)
        return ended

    async def purge(self) -> None:
        """Delete screenshots that are older than their retention."""
        await purge_pages(partial(self._store.purge_screenshots, self._retention), PURGE_PAGE)

    async def _reclaim(self, task: BrowserTask) -> None:
        attempts = task.attempts + 1
        log.warning("browser task reclaimed", task_id=task.task_id, attempts=attempts)
        if task.cancel_requested:
            await self.end(task, outcomes.cancelled(task))
        elif attempts > len(RETRY_DELAYS):
            await self.end(task, outcomes.unavailable(task, attempts, task.deaths))
        else:
            queued = await self._recorder.release(
                task, attempts=attempts, deaths=task.deaths, delay=0.0
            )
            if queued and self._worker is not None:
                self._worker.wake()
