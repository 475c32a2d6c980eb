"""Feedback on engines: kept, and forwarded to Switch from an outbox."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import structlog

from operator_svc import telemetry
from operator_svc.db import ConstraintViolation
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.peers.base import PeerRefusedError
from operator_svc.peers.breaker import CircuitOpenError
from operator_svc.peers.switch import Recorded
from operator_svc.protocol.switch import (
    FeedbackAnswer,
    FeedbackBody,
    check_feedback,
    feedback_answer,
)
from operator_svc.services.access import HasMessages, no_session, session_of
from operator_svc.services.lease import PodIdentity
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.switch.engine_ranking import EngineRankings
from operator_svc.stores.switch_feedback import Claimed, FeedbackStore

log = structlog.get_logger(__name__)

T = TypeVar("T")

RECORDED = "switch_feedback.recorded"

FORWARD_EVERY = 1.0
"""Seconds between looks into the outbox."""
RUN = 100
"""Rows that are forwarded in one look, shared by the engines that have some: Switch hears of
each by a call of its own, and chats come first, at Switch as well as here."""
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 60.0
"""Seconds before feedback is tried again: doubled with each attempt, up to the second number."""
STATUS_ERRORS = 10
"""Attempts after which feedback is given up that Switch answers with 200 and ``error``: it might
be its fault, and might be the row's, which must not hold the engine's others up for ever."""
SETTLE_PATIENCE = 30.0
"""Seconds for which it is tried to store that Switch was told."""


class TakesFeedback(Protocol):
    """Switch, as far as feedback needs it."""

    async def record_result(
        self, engine: str, success: bool, latency_ms: float | None, tokens: int | None
    ) -> Recorded:
        """Tell Switch how an engine did."""


class EngineFeedback:
    """Stores feedback, and forwards it to Switch under this pod's lease."""

    def __init__(
        self,
        switch: TakesFeedback,
        store: FeedbackStore,
        messages: HasMessages,
        hub: SessionHub,
        rankings: EngineRankings,
        lease: PodIdentity,
    ) -> None:
        self._switch = switch
        self._store = store
        self._messages = messages
        self._hub = hub
        self._rankings = rankings
        self._lease = lease
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    # Keeping.

    async def record(self, caller: Caller, body: FeedbackBody) -> FeedbackAnswer:
        """Keep feedback; Switch is told of it later.

        Raises OperatorError: validation_error, session_not_found, message_not_found.
        """
        check_feedback(body)
        session_id = await session_of(self._messages, caller, body.session_id, body.message_id)
        try:
            written = await self._store.record(
                session_id=session_id,
                viewer=caller.user_id,
                message_id=body.message_id,
                engine=body.engine,
                success=body.success,
                latency_ms=round(body.latency_ms or 0),
                tokens_used=body.tokens_used or 0,
                error_message=body.error_message or body.error_msg or None,
            )
        except ConstraintViolation as violation:
            if violation.kind != "foreign_key":
                raise
            written = None  # the message was deleted in this very moment
        if written is None:
            raise no_session()
        self._hub.publish_record(written.session_id, RECORDED, written)
        self._rankings.forget()
        return feedback_answer(written)

    # Forwarding.

    async def forward(self) -> None:
        """Forward what waits, engine by engine. To be called every ``FORWARD_EVERY`` seconds.

        Each engine's oldest row is claimed first, so no other pod forwards of that engine.
        """
        if self._closing:
            return
        self._idle.clear()
        try:
            heads = await self._store.heads(self._lease.pod_id)
            for feedback_id in heads:
                if self._closing or not await self._forward_from(feedback_id, RUN // len(heads)):
                    return
        finally:
            self._idle.set()

    async def free(self) -> None:
        """Take over what pods that are gone were forwarding."""
        if freed := await self._store.free():
            log.warning("feedback of dead processes", rows=freed)

    async def close(self, within: float) -> None:
        """Forward no more; what Switch is being told now is told and marked first, where that
        takes no longer than ``within`` seconds."""
        self._closing = True
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            log.warning("feedback that was being forwarded may be forwarded twice")

    async def _forward_from(self, feedback_id: int, left: int) -> bool:
        """Forward a row and up to ``left`` in all of its engine; False where Switch is away."""
        pod_id = self._lease.pod_id
        row = await self._store.claim(feedback_id, pod_id)
        while row is not None:
            left -= 1
            given_up = False
            try:
                await self._tell(row)
            except OperatorError as error:
                given_up = _is_final(error, row)
                if not given_up:
                    await self._postpone(row, pod_id, error)
                    return isinstance(error, PeerRefusedError)
                _log_given_up(row, error)
            telemetry.FEEDBACK.labels("given_up" if given_up else "forwarded").inc()
            go_on = left > 0 and not self._closing and self._lease.pod_id == pod_id
            row = await self._settle(row, pod_id, given_up=given_up, go_on=go_on)
        return True

    async def _tell(self, row: Claimed) -> None:
        await self._switch.record_result(row.engine, row.success, row.latency_ms, row.tokens_used)

    async def _settle(
        self, row: Claimed, pod_id: str, *, given_up: bool, go_on: bool
    ) -> Claimed | None:
        return await _patiently(
            lambda: self._store.settle(row.id, pod_id, given_up=given_up, go_on=go_on)
        )

    async def _postpone(self, row: Claimed, pod_id: str, error: OperatorError) -> None:
        wait = min(BACKOFF_FIRST * 2 ** min(row.attempts, 16), BACKOFF_MOST)
        if isinstance(error, CircuitOpenError) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        wait *= 0.75 + random.random() / 2  # noqa: S311 - no secret
        log.warning(
            "feedback waits", feedback_id=row.id, error=str(error.code), seconds=round(wait)
        )
        telemetry.FEEDBACK.labels("postponed").inc()
        await _patiently(lambda: self._store.postpone(row.id, pod_id, wait))


def _is_final(error: OperatorError, row: Claimed) -> bool:
    """Whether telling Switch again would change nothing."""
    if not isinstance(error, PeerRefusedError):
        return False
    return 400 <= error.status <= 499 or row.attempts + 1 >= STATUS_ERRORS


def _log_given_up(row: Claimed, error: OperatorError) -> None:
    status = error.status if isinstance(error, PeerRefusedError) else None
    log.warning("feedback given up", feedback_id=row.id, engine=row.engine, status=status)


async def _patiently(write: Callable[[], Awaitable[T]]) -> T:
    """Repeat a write through a short outage: Switch has been told, and must not be told again."""
    deadline = time.monotonic() + SETTLE_PATIENCE
    pause = 0.05
    while True:
        try:
            return await write()
        except OperatorError as error:
            if error.code is not ErrorCode.DATABASE_UNAVAILABLE or time.monotonic() > deadline:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, 2.0)
