"""A reply as a stream of a UI message's parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from aiohttp import web

from operator_svc.context import Services
from operator_svc.errors import OperatorError
from operator_svc.models import ReplyStatus
from operator_svc.protocol import ui_messages
from operator_svc.protocol.chat import ChatAnswer
from operator_svc.protocol.ui_messages import event
from operator_svc.rest.reply_answer import ReplyAnswer
from operator_svc.services.chat.running_replies import Accepted
from operator_svc.services.live.reply_stream import Kind

DONE = b"[DONE]"


class UiMessageStream(ReplyAnswer):
    """A reply's parts. Of text and reasoning one part is open at a time."""

    more_headers: ClassVar[Mapping[str, str]] = {"x-vercel-ai-ui-message-stream": "v1"}

    def __init__(self, services: Services, request: web.Request, accepted: Accepted) -> None:
        super().__init__(services, request, accepted)
        self._open: tuple[Kind, str] | None = None
        self._parts = 0

    def opening(self) -> bytes:
        """See ReplyAnswer.opening."""
        return event("start", messageId=str(self.accepted.reply_id))

    def piece(self, kind: Kind, content: str) -> Iterator[bytes]:
        """See ReplyAnswer.piece."""
        if self._open is None or self._open[0] != kind:
            yield from self._end_part()
            if not self._parts:
                yield event("start-step")
            self._parts += 1
            self._open = (kind, f"{kind}-{self._parts}")
            yield event(f"{kind}-start", id=self._open[1])
        yield event(f"{kind}-delta", id=self._open[1], delta=content)

    def _end_part(self) -> Iterator[bytes]:
        if self._open is not None:
            yield event(f"{self._open[0]}-end", id=self._open[1])
            self._open = None

    def closing(self, answer: ChatAnswer) -> Iterator[bytes]:
        """See ReplyAnswer.closing."""
        yield from self._end_part()
        if not self._parts:
            yield event("start-step")
        for call in answer.tool_calls:
            yield from ui_messages.tool_events(call)
        yield event("finish-step")
        if answer.metadata.get("status") == ReplyStatus.CANCELLED:
            yield event("abort", reason="cancelled")
        else:
            called = bool(answer.tool_calls) and not answer.reply
            reason = ui_messages.finish_reason_of(answer.metadata, called=called)
            yield event("finish", finishReason=reason)
        yield DONE

    def failure(self, error: OperatorError) -> bytes:
        """See EventStream.failure."""
        return event("error", errorText=error.detail)
