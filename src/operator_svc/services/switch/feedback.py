"""Feedback on engines, as clients post it; feedback_outbox.py forwards it to Switch."""

from __future__ import annotations

from operator_svc.models import Caller
from operator_svc.protocol import events
from operator_svc.protocol.switch import (
    FeedbackAnswer,
    FeedbackBody,
    feedback_answer,
)
from operator_svc.services.access import HasMessages, no_session, session_of
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.switch.engine_ranking import EngineRankings
from operator_svc.stores.switch_feedback import FeedbackStore


class EngineFeedback:
    """Stores feedback."""

    def __init__(
        self,
        store: FeedbackStore,
        messages: HasMessages,
        hub: SessionHub,
        rankings: EngineRankings,
    ) -> None:
        self._store = store
        self._messages = messages
        self._hub = hub
        self._rankings = rankings

    async def record(self, caller: Caller, body: FeedbackBody) -> FeedbackAnswer:
        """Store feedback; it is forwarded to Switch later.

        Raises OperatorError: session_not_found, message_not_found.
        """
        session_id = await session_of(self._messages, caller, body.session_id, body.message_id)
        written = await self._store.record(
            session_id=session_id,
            viewer=caller.user_id,
            message_id=body.message_id,
            engine=body.engine,
            success=body.success,
            latency_ms=None if body.latency_ms is None else round(body.latency_ms),
            tokens_used=body.tokens_used or 0,
            error_message=body.error_message or body.error_msg or None,
        )
        if written is None:
            raise no_session()
        self._hub.publish_record(session_id, events.FEEDBACK_RECORDED, written.event)
        self._rankings.forget()
        return feedback_answer(written.row)
