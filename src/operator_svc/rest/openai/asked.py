"""The fields that a response was asked with."""

from __future__ import annotations

from operator_svc.context import Services
from operator_svc.models import Caller
from operator_svc.protocol.chat import ReplyView
from operator_svc.protocol.engine_fields import NO_ENGINE_FIELDS
from operator_svc.protocol.responses import Asked
from operator_svc.services.chat.message_metadata import (
    clients_metadata,
    kept_engine,
    kept_of_reply,
)


async def asked_of(services: Services, caller: Caller, view: ReplyView) -> Asked:
    """The fields of a reply: its own where it has any, else those of the message, as far as they
    are kept."""
    running = services.replies.running(view.reply_id, view.created_at)
    own = kept_of_reply(view.metadata if running is None else running.kept)
    if own is not None:
        engine, metadata = own
    else:
        engine, metadata = NO_ENGINE_FIELDS, {}
        if view.message_id is not None:  # an adopted reply has none
            message = await services.history.message(caller, view.message_id)
            engine, metadata = kept_engine(message.metadata), clients_metadata(message.metadata)
    return Asked(view.reply_id, view.session_id, view.created_at, engine, metadata)
