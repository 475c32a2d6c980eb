"""Adjustments of Switch's configuration: recorded, applied and reverted, one at a time."""

from __future__ import annotations

import asyncio
import random
import time
from typing import NamedTuple

import structlog

from operator_svc.background import TaskOwner
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_ID, Caller, SwitchAdjustment
from operator_svc.protocol import events
from operator_svc.protocol.switch import (
    AdjustmentBody,
    AdjustmentList,
    adjustment_view,
    check_adjustment,
)
from operator_svc.services.access import HasMessages, listed_user, no_session, session_of
from operator_svc.services.lease import PodIdentity
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.pagination import id_cursor, parse_id_cursor
from operator_svc.services.retry import until_stored
from operator_svc.services.switch.config_changes import (
    ConfigurableSwitch,
    LeaseLostError,
    plan,
    read_config,
    set_config,
)
from operator_svc.stores.switch_adjustments import AdjustmentStore

log = structlog.get_logger(__name__)

POLL_INTERVAL = 0.25
"""Seconds between looks at an adjustment that another process works on."""
TURN_PATIENCE = 300.0
"""Seconds of waiting for other adjustments; above the longest that one can take."""
STORE_PATIENCE = 30.0
"""Seconds for which it is tried to store how an adjustment ended."""


class _Change(NamedTuple):
    """Applying or reverting one adjustment."""

    adjustment_id: int
    applying: bool


class Adjustments:
    """Works on one adjustment at a time, here and on all pods: the configuration that is read back
    from Switch must come from that adjustment alone.

    A pod claims the adjustment that it works on; ``release_orphaned`` gives up the claims of pods
    that are gone.
    """

    def __init__(
        self,
        switch: ConfigurableSwitch,
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
        self._running: dict[_Change, asyncio.Task[SwitchAdjustment | OperatorError]] = {}

    async def record(self, caller: Caller, body: AdjustmentBody) -> SwitchAdjustment:
        """Store an adjustment; nothing is done to Switch.

        Raises OperatorError: validation_error, forbidden, session_not_found, message_not_found,
        and Switch's codes where ``before_config`` is left out and cannot be read.
        """
        check_adjustment(body)
        session_id = await session_of(self._messages, caller, body.session_id, body.message_id)
        if session_id is None and caller.user_id is not None:
            raise OperatorError(
                ErrorCode.FORBIDDEN,
                "this token is bound to a user: name the session that the change belongs to",
            )
        before = body.before_config
        written = await self._store.record(
            session_id=session_id,
            viewer=caller.user_id,
            message_id=body.message_id,
            before_config=await read_config(self._switch) if before is None else before,
            after_config=body.after_config,
            reason=body.reason,
        )
        if written is None:
            raise no_session()
        self._hub.publish_record(session_id, events.ADJUSTMENT_RECORDED, written.event)
        return written.row

    async def page(
        self,
        caller: Caller,
        *,
        session_id: str | None,
        applied: bool | None,
        limit: int,
        cursor: str | None,
        user_id: str | None = None,
    ) -> AdjustmentList:
        """A page of adjustments, newest first. Raises OperatorError: forbidden,
        invalid_parameter."""
        page = await self._store.page(
            viewer=listed_user(caller, user_id, session_id),
            session_id=session_id,
            applied=applied,
            before=parse_id_cursor(cursor, MAX_ID),
            limit=limit,
        )
        return AdjustmentList(
            adjustments=[adjustment_view(row) for row in page.rows],
            next_cursor=id_cursor(page.last.id) if page.last else None,
        )

    async def apply(self, caller: Caller, adjustment_id: int) -> SwitchAdjustment:
        """Configure Switch as an adjustment says; one that is applied stays so.

        A call while it is being applied waits, and gets the same answer. Raises OperatorError:
        adjustment_not_found, conflict, and Switch's codes with the record in ``extra``.
        """
        return await self._change(caller, _Change(adjustment_id, True))

    async def revert(self, caller: Caller, adjustment_id: int) -> SwitchAdjustment:
        """Restore the configuration from before an adjustment. Raises as ``apply``."""
        return await self._change(caller, _Change(adjustment_id, False))

    async def release_orphaned(self) -> None:
        """Release the claims of pods that are gone, once this pod's lease allows it to judge
        others; and those of this pod, while it works on none.

        The latter come from writes whose answers were lost: other pods would wait for them.
        """
        if self._turn.locked():
            released = await self._store.release_orphaned(None)
        else:
            async with self._turn:
                released = await self._store.release_orphaned(self._lease.pod_id)
        if released:
            log.warning("orphaned adjustments released", rows=released)

    async def _change(self, caller: Caller, change: _Change) -> SwitchAdjustment:
        if await self._store.get(change.adjustment_id, caller.user_id) is None:
            raise _not_found()
        task = self._running.get(change)
        if task is None:
            task = self._tasks.start(self._run(change), f"adjustment-{change.adjustment_id}")
            self._running[change] = task
        outcome = await asyncio.shield(task)
        if isinstance(outcome, OperatorError):
            raise outcome
        return outcome

    async def _run(self, change: _Change) -> SwitchAdjustment | OperatorError:
        """Make the change in a task of its own: a client that leaves does not stop it half-way."""
        try:
            async with self._turn:
                return await self._take_turn(change)
        except OperatorError as error:
            return error
        finally:
            del self._running[change]

    async def _take_turn(self, change: _Change) -> SwitchAdjustment:
        """Wait until no other pod works on an adjustment, then make the change."""
        deadline = time.monotonic() + TURN_PATIENCE
        others_change = False
        while time.monotonic() < deadline:
            pod_id = self._lease.pod_id
            claims = await self._store.in_progress()
            for forgotten in (claim for claim in claims if claim.owner == pod_id):
                await self._store.release(forgotten.id, pod_id)  # or two pods wait for each other
            others = {claim.id for claim in claims if claim.owner != pod_id}
            # Read last: where no other pod works on it any more, the outcome is in it.
            found = await self._store.get(change.adjustment_id)
            if found is None:
                raise _not_found()
            if others:
                # While it is under way, `applied` still has the state that it had before.
                if found.id in others:
                    others_change = found.applied != change.applying
                await asyncio.sleep(POLL_INTERVAL)
                continue
            if others_change and found.applied != change.applying and found.error is not None:
                raise _failure(found)
            others_change = False
            if found.applied == change.applying:
                return _unchanged(found, change)
            plan(found, applying=change.applying)
            claimed = await self._claim(change, pod_id)
            if claimed is not None:
                return await self._perform(claimed, change, pod_id)
            await asyncio.sleep(POLL_INTERVAL * random.random())  # noqa: S311 - no secret
        raise OperatorError(ErrorCode.CONFLICT, "other changes of Switch take too long")

    async def _claim(self, change: _Change, pod_id: str) -> SwitchAdjustment | None:
        """Claim the adjustment, unless another pod works on any.

        Of two pods that claim two adjustments at once, each looks after it has claimed, so at least
        one sees the other's: whoever does steps back.
        """
        claimed = await self._store.claim(change.adjustment_id, pod_id, applied=not change.applying)
        if claimed is None:
            return None
        if any(other.owner != pod_id for other in await self._store.in_progress()):
            await self._store.release(change.adjustment_id, pod_id)
            return None
        return claimed

    async def _perform(
        self, claimed: SwitchAdjustment, change: _Change, pod_id: str
    ) -> SwitchAdjustment:
        def check_lease() -> None:
            if self._lease.pod_id != pod_id:
                raise LeaseLostError

        event = events.ADJUSTMENT_APPLIED if change.applying else events.ADJUSTMENT_REVERTED
        error = None
        try:
            await set_config(self._switch, plan(claimed, applying=change.applying), check_lease)
        except OperatorError as failure:
            event, error = events.ADJUSTMENT_FAILED, f"{failure.code}: {failure.detail}"
            log.warning("adjustment failed", adjustment_id=claimed.id, error=error)
        except LeaseLostError:
            raise OperatorError(
                ErrorCode.CONFLICT, "this process lost its lease: look at the change again"
            ) from None
        # Switch has the new configuration by now, so a short outage of the database is waited out.
        written = await until_stored(
            lambda: self._store.finish(claimed, pod_id, event, error),
            "an adjustment's outcome",
            within=STORE_PATIENCE,
        )
        if written is None:
            return await self._stored_elsewhere(change)
        self._hub.publish_record(claimed.session_id, event, written.event)
        log.info("adjustment finished", adjustment_id=claimed.id, outcome=event)
        if error is not None:
            raise _failure(written.row)
        return written.row

    async def _stored_elsewhere(self, change: _Change) -> SwitchAdjustment:
        """An adjustment that another pod took over meanwhile, or whose outcome was stored by an
        attempt that seemed to fail."""
        now = await self._store.get(change.adjustment_id)
        if now is None:
            raise _not_found()
        if now.session_id is not None:
            self._hub.refresh((now.session_id,))
        if now.applied != change.applying and now.error is not None:
            raise _failure(now)
        return now


def _unchanged(found: SwitchAdjustment, change: _Change) -> SwitchAdjustment:
    """An adjustment that is applied, or reverted, already. Raises where it never was applied."""
    if not change.applying and found.reverted_at is None:
        raise OperatorError(ErrorCode.CONFLICT, "this change is not applied")
    return found


def _not_found() -> OperatorError:
    return OperatorError(ErrorCode.ADJUSTMENT_NOT_FOUND, "there is no such adjustment")


def _failure(found: SwitchAdjustment) -> OperatorError:
    """The error of an adjustment whose failure is stored, the same for all who waited."""
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
