"""Changes of Switch's configuration: recorded, applied, reverted, one at a time."""

from __future__ import annotations

import asyncio
import random
import time
from typing import NamedTuple

import structlog

from operator_svc.background import TaskOwner
from operator_svc.db import ConstraintViolation
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, SwitchAdjustment
from operator_svc.protocol.switch import (
    AdjustmentBody,
    AdjustmentList,
    adjustment_view,
    check_adjustment,
)
from operator_svc.services.access import HasMessages, after_id, no_session, session_of
from operator_svc.services.lease import PodIdentity
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.switch.config_changes import (
    LeaseLostError,
    Tunable,
    perform,
    read_config,
    steps,
)
from operator_svc.stores.switch_adjustments import NEWEST, AdjustmentStore, WrittenAdjustment

log = structlog.get_logger(__name__)

RECORDED = "switch_adjustment.recorded"
APPLIED = "switch_adjustment.applied"
REVERTED = "switch_adjustment.reverted"
FAILED = "switch_adjustment.failed"

LOOK_AGAIN = 0.25
"""Seconds between looks at a change that another process works on."""
WAIT_MOST = 300.0
"""Seconds that one waits for changes of others; above the longest that one can take."""
STORE_PATIENCE = 30.0
"""Seconds for which it is tried to store what came of a change."""


class _Work(NamedTuple):
    """Applying or reverting one change."""

    adjustment_id: int
    applying: bool


class Adjustments:
    """Only one change is worked on at a time, here and on all pods: what Switch says while it
    is read back must come from that change alone.

    A pod marks the change that it works on with its id; what a pod left that is gone is taken
    off by ``free``.
    """

    def __init__(
        self,
        switch: Tunable,
        store: AdjustmentStore,
        messages: HasMessages,
        hub: SessionHub,
        tasks: TaskOwner,
        lease: PodIdentity,
    ) -> None:
        self._switch = switch
        self._store = store
        self._messages = messages
        self._hub = hub
        self._tasks = tasks
        self._lease = lease
        self._turn = asyncio.Lock()
        self._under_way: dict[_Work, asyncio.Task[SwitchAdjustment | OperatorError]] = {}

    async def record(self, caller: Caller, body: AdjustmentBody) -> SwitchAdjustment:
        """Keep a change; nothing is done to Switch.

        Raises OperatorError: validation_error, forbidden, session_not_found, message_not_found,
        and Switch's codes where ``before_config`` is left out and can't be read.
        """
        check_adjustment(body)
        session_id = await session_of(self._messages, caller, body.session_id, body.message_id)
        if session_id is None and caller.user_id is not None:
            raise OperatorError(
                ErrorCode.FORBIDDEN,
                "this token is bound to a user: name the session that the change belongs to",
            )
        before = body.before_config
        try:
            written = await self._store.record(
                session_id=session_id,
                viewer=caller.user_id,
                message_id=body.message_id,
                before_config=await read_config(self._switch) if before is None else before,
                after_config=body.after_config,
                reason=body.reason,
            )
        except ConstraintViolation as violation:
            if violation.kind != "foreign_key":
                raise
            written = None  # the message was deleted in this very moment
        if written is None:
            raise no_session()
        self._hub.publish_record(written.session_id, RECORDED, written)
        return written

    async def page(
        self,
        caller: Caller,
        *,
        session_id: str | None,
        applied: bool | None,
        limit: int,
        cursor: str | None,
    ) -> AdjustmentList:
        """A page of changes, newest first."""
        rows = await self._store.page(
            viewer=caller.user_id,
            session_id=session_id,
            applied=applied,
            before=after_id(cursor, NEWEST),
            limit=limit + 1,
        )
        more = len(rows) > limit
        rows = rows[:limit]
        return AdjustmentList(
            adjustments=[adjustment_view(row) for row in rows],
            next_cursor=str(rows[-1].id) if more else None,
        )

    async def apply(self, caller: Caller, adjustment_id: int) -> SwitchAdjustment:
        """Do a change on Switch; one that is applied stays so.

        Who asks while it is being done waits, and is told the same. Raises OperatorError:
        adjustment_not_found, conflict, and Switch's codes with the record in ``extra``.
        """
        return await self._change(caller, _Work(adjustment_id, True))

    async def revert(self, caller: Caller, adjustment_id: int) -> SwitchAdjustment:
        """Put back what was before a change. Raises as ``apply``."""
        return await self._change(caller, _Work(adjustment_id, False))

    async def free(self) -> None:
        """Take over changes of pods that are gone."""
        if freed := await self._store.free():
            log.warning("changes of Switch that dead processes left", rows=freed)

    async def _change(self, caller: Caller, work: _Work) -> SwitchAdjustment:
        if await self._store.get(work.adjustment_id, caller.user_id) is None:
            raise _not_found()
        task = self._under_way.get(work)
        if task is None:
            task = self._tasks.start(self._run(work), f"adjustment-{work.adjustment_id}")
            self._under_way[work] = task
        outcome = await asyncio.shield(task)
        if isinstance(outcome, OperatorError):
            raise outcome
        return outcome

    async def _run(self, work: _Work) -> SwitchAdjustment | OperatorError:
        """A task of its own: a client that leaves does not leave Switch half-way."""
        try:
            async with self._turn:
                return await self._work(work)
        except OperatorError as error:
            return error
        finally:
            del self._under_way[work]

    async def _work(self, work: _Work) -> SwitchAdjustment:
        deadline = time.monotonic() + WAIT_MOST
        followed = False
        while time.monotonic() < deadline:
            found = await self._store.get(work.adjustment_id)
            if found is None:
                raise _not_found()
            pod_id = self._lease.pod_id
            others = {w.id for w in await self._store.at_work() if w.owner != pod_id}
            if others:
                # While it is under way, `applied` still has the state that it had before.
                if found.id in others:
                    followed = found.applied != work.applying
                await asyncio.sleep(LOOK_AGAIN)
                continue
            if followed and found.applied != work.applying and found.error is not None:
                raise _failure(found)
            followed = False
            if found.applied == work.applying:
                return _as_it_is(found, work)
            steps(found, applying=work.applying)
            claimed = await self._claim(work, pod_id)
            if claimed is not None:
                return await self._perform(claimed, work, pod_id)
            await asyncio.sleep(LOOK_AGAIN * random.random())  # noqa: S311 - no secret
        raise OperatorError(ErrorCode.CONFLICT, "other changes of Switch take too long")

    async def _claim(self, work: _Work, pod_id: str) -> SwitchAdjustment | None:
        """Mark the change, unless any other is being worked on by another pod.

        Of two pods that mark two changes at once, each looks after it has marked, so one at
        least sees the other: whoever does steps back.
        """
        claimed = await self._store.claim(work.adjustment_id, pod_id, applied=not work.applying)
        if claimed is None:
            return None
        if any(other.owner != pod_id for other in await self._store.at_work()):
            await self._store.release(work.adjustment_id, pod_id)
            return None
        return claimed

    async def _perform(
        self, claimed: SwitchAdjustment, work: _Work, pod_id: str
    ) -> SwitchAdjustment:
        def still_ours() -> None:
            if self._lease.pod_id != pod_id:
                raise LeaseLostError

        event, error = APPLIED if work.applying else REVERTED, None
        try:
            await perform(self._switch, steps(claimed, applying=work.applying), still_ours)
        except OperatorError as failure:
            event, error = FAILED, f"{failure.code}: {failure.detail}"
            log.warning("a change of Switch failed", adjustment_id=claimed.id, error=error)
        except LeaseLostError:
            raise OperatorError(
                ErrorCode.CONFLICT, "this process lost its lease: look at the change again"
            ) from None
        written = await self._stored(claimed, pod_id, event, error)
        if written is None:
            # Another pod took it over meanwhile, or an attempt that seemed to fail was stored.
            now = await self._store.get(claimed.id)
            if now is None:
                raise _not_found()
            if now.applied != work.applying and now.error is not None:
                raise _failure(now)
            return now
        self._hub.publish_record(written.session_id, event, written)
        log.info("switch adjustment", adjustment_id=claimed.id, outcome=event)
        if error is not None:
            raise _failure(written)
        return written

    async def _stored(
        self, claimed: SwitchAdjustment, pod_id: str, event: str, error: str | None
    ) -> WrittenAdjustment | None:
        """Store what came of it; Switch has it by now, so a short outage is waited out."""
        deadline = time.monotonic() + STORE_PATIENCE
        pause = 0.05
        while True:
            try:
                return await self._store.finish(claimed, pod_id, event, error)
            except OperatorError as failure:
                log.warning("a change's outcome could not be stored yet", error=str(failure.code))
                if time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)


def _as_it_is(found: SwitchAdjustment, work: _Work) -> SwitchAdjustment:
    """A change that needs no work: it is applied, or was reverted; raises where it never was."""
    if not work.applying and found.reverted_at is None:
        raise OperatorError(ErrorCode.CONFLICT, "this change is not applied")
    return found


def _not_found() -> OperatorError:
    return OperatorError(ErrorCode.ADJUSTMENT_NOT_FOUND, "there is no such adjustment")


def _failure(found: SwitchAdjustment) -> OperatorError:
    """The error of a change whose reason to fail is stored, the same for all who waited."""
    raw, _, detail = (found.error or "").partition(": ")
    code = ErrorCode.named(raw) or ErrorCode.SWITCH_ERROR
    return OperatorError(
        code,
        detail or code.summary,
        extra={
            "adjustment_id": found.id,
            "applied": found.applied,
            "adjustment": adjustment_view(found),
        },
    )
