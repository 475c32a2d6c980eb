"""Writes replies. A reply belongs to the service, not to the client that asked for it.

The pod that owns a reply shows each piece at once, stores new text every tick, and ends the reply
with one write that only the owner can make. Whoever else wants it to stop says so in the database;
a pod that finds its owner gone ends it as interrupted (``recovery``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

import structlog

from operator_svc import telemetry
from operator_svc.background import TaskOwner, forever
from operator_svc.errors import ErrorCode
from operator_svc.models import Json, ReplyStatus
from operator_svc.peers.chat_types import Prompt
from operator_svc.services.chat.reply_storage import ReplyStorage
from operator_svc.services.chat.running_replies import (
    NOTHING_KEPT,
    Asker,
    RunningReplies,
    RunningReply,
)
from operator_svc.services.chat.upstream import TRUNCATED, ReplyOutcome, UpstreamReader
from operator_svc.services.lease import Lease
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.message_rows import Started

log = structlog.get_logger(__name__)


class Checkpoints:
    """Tells each ``tick`` seconds if text is to be stored, which is every ``seconds()``."""

    def __init__(self, tick: float, seconds: Callable[[], float]) -> None:
        self._tick = tick
        self._seconds = seconds
        self._last = 0.0

    def is_due(self) -> bool:
        """True at the tick that is nearest to the time."""
        now = time.monotonic()
        if now - self._last + self._tick / 2 < self._seconds() > self._tick:
            return False
        self._last = now
        return True


class ReplyWriter:
    """Runs a task for each reply of this pod, and stores the text of all of them every tick."""

    def __init__(
        self,
        upstream: UpstreamReader,
        storage: ReplyStorage,
        running: RunningReplies,
        hub: SessionHub,
        lease: Lease,
        tasks: TaskOwner,
    ) -> None:
        self._upstream = upstream
        self._storage = storage
        self.running = running
        self._hub = hub
        self._lease = lease
        self._tasks = tasks
        self._remote_change = asyncio.Event()
        lease.on_loss(self.abandon_all)

    @property
    def pod_id(self) -> str:
        """The owner of replies that begin now."""
        return self._lease.pod_id

    def start(self, tick: float, checkpoint: Callable[[], float]) -> None:
        """Begin to notify every ``tick`` seconds, and to store text every ``checkpoint()`` ones.
        To be called in the running loop."""
        step = partial(self._tick, Checkpoints(tick, checkpoint))
        self._tasks.start(forever(step, tick, "tick"), "tick")
        if self._lease.shared:
            self._tasks.start(self._watch_others(), "remote-changes")

    # Starting and stopping.

    def begin(
        self,
        session_id: str,
        started: Started,
        prompt: Prompt,
        asker: Asker,
        kept: Mapping[str, Json] = NOTHING_KEPT,
    ) -> RunningReply:
        """Begin to write a reply that is stored as begun; its metadata have ``kept``, too."""
        running = RunningReply(session_id, started, asker, kept)
        self.running.add(running)
        self._hub.begin_reply(running.stream)
        telemetry.REPLIES_RUNNING.inc()
        name = f"reply-{running.reply_id}"
        running.run_as(self._tasks.start(self._write(running, prompt), name))
        return running

    def abandon_all(self) -> None:
        """The lease is lost, or the database away for too long: stop all calls and write nothing
        more."""
        if self.running:
            log.error("replies abandoned", replies=len(self.running))
        for running in self.running:
            running.abandon()

    def abandon_session(self, session_id: str) -> None:
        """A session was deleted: stop its calls and write nothing more."""
        for running in self.running:
            if running.session_id == session_id:
                running.abandon()

    def interrupt_all(self) -> None:
        """End what still runs, with the text that there is."""
        for running in self.running:
            running.end_with(ReplyStatus.INTERRUPTED)

    # A reply's life.

    async def _write(self, running: RunningReply, prompt: Prompt) -> None:
        pod_id = self._lease.pod_id
        structlog.contextvars.bind_contextvars(
            session_id=running.session_id, reply_id=running.reply_id
        )
        try:
            outcome = await self._read_until_stopped(running, prompt)
            outcome.metadata.update(running.kept)
            if running.tool_calls.truncated:
                outcome.metadata[TRUNCATED] = True
            if not running.abandoned:
                # From here on nothing but losing the lease stops it.
                running.stop = outcome.status
                await self._finish(running, pod_id, outcome)
        except asyncio.CancelledError:
            if not running.abandoned:
                raise
        finally:
            running.resolve(None)
            self.running.remove(running)
            self._hub.end_reply(running.stream)
            telemetry.REPLIES_RUNNING.dec()

    async def _read_until_stopped(self, running: RunningReply, prompt: Prompt) -> ReplyOutcome:
        if running.stop is None and not running.abandoned:
            running.reading = True
            try:
                return await self._upstream.read(running, prompt)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if running.stop is None or running.abandoned or task is None:
                    raise
                task.uncancel()
            finally:
                running.reading = False
        status = running.stop or ReplyStatus.INTERRUPTED
        metadata: dict[str, Json] = {"status": str(status)}
        if status is ReplyStatus.INTERRUPTED:
            metadata["error"] = str(ErrorCode.REPLY_INTERRUPTED)
        return ReplyOutcome(status, metadata)

    async def _finish(self, running: RunningReply, pod_id: str, outcome: ReplyOutcome) -> None:
        event = await self._storage.store_end(running, pod_id, outcome)
        if event is None:
            self._hub.refresh((running.session_id,))
            return
        telemetry.reply_counter(str(outcome.status))()
        telemetry.CHAT_OVERHEAD_SECONDS.observe(
            max(time.perf_counter() - running.begun - running.switch_s, 0.0)
        )
        self._hub.publish(running.session_id, event)
        running.resolve(event)

    # Every tick.

    async def _tick(self, checkpoints: Checkpoints) -> None:
        due = checkpoints.is_due()
        try:
            await self.store_texts(
                running for running in self.running if due or running.stream.watched_as_stored
            )
        finally:
            await self._hub.flush_notifications()

    async def store_texts(self, replies: Iterable[RunningReply]) -> None:
        """Store the new text of these replies, and abandon those that this pod does not own."""
        stored, refused = await self._storage.store_texts(replies)
        for running in stored:
            self._hub.text_stored(running.stream)
        for running in refused:
            if running in self.running and running.stop is None:
                log.warning("reply ended by another pod", reply_id=running.reply_id)
                running.abandon()

    # What other pods ask for.

    def on_notification(self, session_ids: Collection[str] | None) -> None:
        """Look at the own replies soon where another pod wrote to one of their sessions."""
        if session_ids is None or not self.running.sessions().isdisjoint(session_ids):
            self._remote_change.set()

    def poll(self) -> None:
        """Look at the own replies soon."""
        self._remote_change.set()

    async def _watch_others(self) -> None:
        while True:
            await self._remote_change.wait()
            self._remote_change.clear()
            try:
                await self.apply_remote_changes()
            except Exception as error:  # the next poll asks again
                log.warning("running replies not read", exc_info=error)

    async def apply_remote_changes(self) -> None:
        """Stop the replies that another pod asked to stop, ended or deleted.

        Raises OperatorError(database_unavailable).
        """
        mine = [running for running in self.running if running.reading]
        if not mine:
            return
        owned = await self._storage.owned()
        for running in mine:
            reply = owned.get(running.reply_id)
            if reply is None or reply.begun_at != running.begun_at:
                if running.reading:
                    running.abandon()
            elif reply.cancel_requested:
                running.end_with(ReplyStatus.CANCELLED)
