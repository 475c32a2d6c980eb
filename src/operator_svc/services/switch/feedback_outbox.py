"""Forwards feedback to Switch: each row once, in the order of its engine."""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import structlog

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.base import PeerRefusedError
from operator_svc.peers.breaker import CircuitOpenError
from operator_svc.peers.failures import PeerLostError
from operator_svc.peers.switch import Recorded
from operator_svc.services.lease import PodIdentity
from operator_svc.services.retry import until_stored
from operator_svc.stores.switch_feedback import ClaimedFeedback, FeedbackStore

log = structlog.get_logger(__name__)

FORWARD_INTERVAL = 1.0
"""Seconds between rounds of forwarding."""
ROUND = 1000
"""Rows of one engine that are forwarded in one round."""
CONCURRENCY = 8
"""Engines whose feedback is forwarded at once: chats come first, at Switch as well as here."""
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 60.0
"""Seconds before feedback is tried again: doubled with each attempt, up to the second number."""
ERROR_ANSWERS = 10
"""Answers of Switch that do not say whether it took a row (``status: "error"``, HTTP 500, nonsense)
after which the row is given up: it might be Switch's fault, and might be the row's, which must not
hold the engine's others up, nor be counted by Switch again and again, for ever."""
STORE_PATIENCE = 30.0
"""Seconds for which it is tried to store that Switch has a row: it must not get it twice."""


class TakesFeedback(Protocol):
    """Switch, as far as feedback needs it."""

    async def record_result(
        self, engine: str, success: bool, latency_ms: float | None, tokens: int | None
    ) -> Recorded:
        """Tell Switch how an engine did."""


class FeedbackOutbox:
    """Forwards stored feedback under this pod's lease."""

    def __init__(self, switch: TakesFeedback, store: FeedbackStore, lease: PodIdentity) -> None:
        self._switch = switch
        self._store = store
        self._lease = lease
        self._error_answers: dict[str, tuple[int, int]] = {}
        """By engine, the row that Switch answered with an error, and how often it did."""
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def forward(self) -> None:
        """Forward what waits, several engines at once and the rows of each in order. To be called
        every ``FORWARD_INTERVAL`` seconds.

        Each engine's oldest row is claimed first, so no other pod forwards of that engine. The
        first row of all finds out whether Switch is there at all.
        """
        if self._closing:
            return
        self._idle.clear()
        try:
            pod_id = self._lease.pod_id
            heads = await self._store.heads(pod_id)
            if not heads or not await self._forward_from(heads[0], 1):
                return
            if self._closing or self._lease.pod_id != pod_id:
                return
            heads = await self._store.heads(pod_id)
            slots = asyncio.Semaphore(CONCURRENCY)
            work = [self._forward_engine(head, slots) for head in heads]
            for outcome in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        finally:
            self._idle.set()

    async def release_orphaned(self) -> None:
        """Release the claims of pods that are gone, once this pod's lease allows it to judge
        others."""
        if released := await self._store.release_orphaned():
            log.warning("orphaned feedback released", rows=released)

    async def close(self, within: float) -> None:
        """Forward no more; the call to Switch under way ends and is stored first, where that takes
        no longer than ``within`` seconds."""
        self._closing = True
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            log.warning("feedback may be forwarded twice")

    async def _forward_engine(self, feedback_id: int, slots: asyncio.Semaphore) -> None:
        async with slots:
            if not self._closing:
                await self._forward_from(feedback_id, ROUND)

    async def _forward_from(self, feedback_id: int, room: int) -> bool:
        """Forward a row and those after it of the same engine, at most ``room`` in all; False where
        Switch is unreachable."""
        pod_id = self._lease.pod_id
        row = await self._store.claim(feedback_id, pod_id)
        while row is not None:
            room -= 1
            given_up = False
            try:
                await self._switch.record_result(
                    row.engine, row.success, row.latency_ms or 0, row.tokens_used
                )
            except OperatorError as error:
                given_up = self._is_final(error, row)
                if not given_up:
                    await self._postpone(row, pod_id, error)
                    return _is_answer(error)
                _log_given_up(row, error)
            self._error_answers.pop(row.engine, None)
            telemetry.FEEDBACK.labels("given_up" if given_up else "forwarded").inc()
            go_on = room > 0 and not self._closing and self._lease.pod_id == pod_id
            row = await self._settle(row, pod_id, given_up=given_up, go_on=go_on)
        return True

    def _is_final(self, error: OperatorError, row: ClaimedFeedback) -> bool:
        """True where another call with this row would fail as well, as far as can be told."""
        if isinstance(error, PeerRefusedError) and error.status >= 400:
            return True
        if not _is_answer(error):
            return False
        known, answers = self._error_answers.get(row.engine, (row.id, 0))
        answers = answers + 1 if known == row.id else 1
        self._error_answers[row.engine] = row.id, answers
        return answers >= ERROR_ANSWERS

    async def _settle(
        self, row: ClaimedFeedback, pod_id: str, *, given_up: bool, go_on: bool
    ) -> ClaimedFeedback | None:
        return await until_stored(
            lambda: self._store.settle(row.id, pod_id, given_up=given_up, go_on=go_on),
            "that feedback was forwarded",
            within=STORE_PATIENCE,
        )

    async def _postpone(self, row: ClaimedFeedback, pod_id: str, error: OperatorError) -> None:
        pause = min(BACKOFF_FIRST * 2 ** min(row.attempts, 16), BACKOFF_MOST)
        if isinstance(error, CircuitOpenError) and error.retry_after is not None:
            pause = max(pause, error.retry_after)
        pause *= 0.75 + random.random() / 2  # noqa: S311 - no secret
        log.warning(
            "feedback postponed", feedback_id=row.id, error=str(error.code), seconds=round(pause)
        )
        telemetry.FEEDBACK.labels("postponed").inc()
        await until_stored(
            lambda: self._store.postpone(row.id, pod_id, pause),
            "that feedback was postponed",
            within=STORE_PATIENCE,
        )


def _is_answer(error: OperatorError) -> bool:
    """True where Switch was there, and answered."""
    return error.code is ErrorCode.SWITCH_ERROR and not isinstance(error, PeerLostError)


def _log_given_up(row: ClaimedFeedback, error: OperatorError) -> None:
    status = error.status if isinstance(error, PeerRefusedError) else None
    log.warning("feedback given up", feedback_id=row.id, engine=row.engine, status=status)
