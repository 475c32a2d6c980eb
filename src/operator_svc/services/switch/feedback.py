"""Feedback on engines, as clients post it; feedback_outbox.py forwards it to Switch."""

from __future__ import annotations

from operator_svc.errors import OperatorError
from operator_svc.models import Caller, Message
from operator_svc.protocol import events
from operator_svc.protocol.switch import (
    MAX_ENGINE,
    FeedbackAnswer,
    FeedbackBody,
    feedback_answer,
)
from operator_svc.services.access import HasMessages, no_session, rated_reply
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
        """Store feedback, in the place of an earlier one on the same reply; it is forwarded to
        Switch later. It counts for the engine that wrote the reply, whichever is named.

        Raises OperatorError: forbidden, session_not_found, message_not_found, validation_error,
        conflict.
        """
        reply = await rated_reply(self._messages, caller, body.session_id, body.message_id)
        session_id = body.session_id if reply is None else reply.session_id
        written = await self._store.record(
            session_id=session_id,
            viewer=caller.user_id,
            message_id=body.message_id,
            engine=body.engine if reply is None else _engine_of(reply),
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


def _engine_of(reply: Message) -> str:
    """The engine that wrote ``reply``, as its own feedback names it."""
    engine = (reply.metadata or {}).get("provider")
    if not isinstance(engine, str) or not engine:
        raise OperatorError.invalid("message_id", "it is not known which engine wrote this reply")
    return engine[:MAX_ENGINE]
