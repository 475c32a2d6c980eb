"""A response as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from aiohttp import web

from operator_svc.context import Services
from operator_svc.errors import OperatorError
from operator_svc.models import ReplyStatus
from operator_svc.protocol import sse
from operator_svc.protocol.response_events import (
    TEXT_AT,
    call_events,
    event,
    is_whole,
    pieces,
)
from operator_svc.protocol.response_items import message_id, message_item, text_part
from operator_svc.protocol.response_view import ResponseView
from operator_svc.protocol.responses import Asked, ReplyState, item_status
from operator_svc.rest.openai import errors
from operator_svc.rest.reply_answer import Ending, Following, ReplyAnswer
from operator_svc.services.chat.running_replies import Accepted, ReplyResult
from operator_svc.services.live.reply_stream import Kind

FIRST: dict[str, Any] = {"output_index": 0, "content_index": 0}


async def ended_response(
    services: Services, accepted: Accepted, asked: Asked, result: ReplyResult
) -> ResponseView:
    """The response of a reply that has ended."""
    calls = await services.replies.tool_calls(accepted)
    return asked.response(
        ReplyState(result.status, result.content, result.metadata, calls, result.ended_at)
    )


class ResponseStream(ReplyAnswer):
    """A response as the events with a number over ``after``.

    The number of an event follows from the text alone, and the text is cut where it says itself,
    so a stream is the same whenever, and by whichever process, it is shown.
    """

    stored_only: ClassVar[bool] = True

    def __init__(
        self,
        services: Services,
        request: web.Request,
        accepted: Accepted,
        asked: Asked,
        after: int = -1,
    ) -> None:
        begin = max(0, after - TEXT_AT)
        super().__init__(services, request, accepted, begin=begin)
        self._asked = asked
        self._after = after
        self._message = {"item_id": message_id(accepted.reply_id), **FIRST}
        self._opened = False
        self._shown = begin
        """The code point up to which deltas were made."""
        self._held = ""
        """The beginning of a piece that is not whole yet."""

    async def before_head(self, following: Following) -> None:
        """See ReplyAnswer.before_head. Nothing: a client needs the id to come back with."""

    def encode(self, frame: bytes, seq: int | None = None) -> bytes:
        """See EventStream.encode: the events are made whole, with their names."""
        return frame

    def opening(self) -> bytes:
        """See ReplyAnswer.opening."""
        begun = self._asked.response(ReplyState(ReplyStatus.STREAMING, "", {}))
        events = [
            *self._event(0, "response.created", response=begun),
            *self._event(1, "response.in_progress", response=begun),
        ]
        return b"".join(events) or sse.comment("resumed")

    def piece(self, kind: Kind, content: str) -> Iterator[bytes]:
        """See ReplyAnswer.piece; reasoning is not shown."""
        if kind == "text":
            yield from self._open_message()
            yield from self._deltas(content, ended=False)

    async def ending(self, result: ReplyResult) -> Ending:
        """See ReplyAnswer.ending: however the reply ended, the response says so."""
        response = await ended_response(self._services, self.accepted, self._asked, result)
        return Ending.of(response, self._ending(response, result.content))

    def failure(self, error: OperatorError) -> bytes:
        """See EventStream.failure."""
        number = TEXT_AT + self._shown + 1
        return event(number, "error", error=errors.body_of(error).error)

    def _event(self, number: int, kind: str, **fields: Any) -> Iterator[bytes]:
        if number > self._after:
            yield event(number, kind, **fields)

    def _open_message(self) -> Iterator[bytes]:
        if self._opened:
            return
        self._opened = True
        item = message_item(self.accepted.reply_id, None, "in_progress")
        yield from self._event(2, "response.output_item.added", output_index=0, item=item)
        yield from self._event(
            3, "response.content_part.added", **self._message, part=text_part("")
        )

    def _deltas(self, content: str, *, ended: bool) -> Iterator[bytes]:
        held, self._held = self._held + content, ""
        for piece in pieces(held, self._shown):
            if not (ended or is_whole(piece, self._shown)):
                self._held = piece
                return
            self._shown += len(piece)
            yield from self._event(
                TEXT_AT + self._shown,
                "response.output_text.delta",
                **self._message,
                delta=piece,
                logprobs=[],
            )

    def _ending(self, response: ResponseView, text: str) -> Iterator[bytes]:
        number = TEXT_AT + len(text) + 1
        if text:
            yield from self._open_message()
            yield from self._deltas("", ended=True)
            item = message_item(self.accepted.reply_id, text, item_status(response.status))
            yield from self._event(
                number, "response.output_text.done", **self._message, text=text, logprobs=[]
            )
            yield from self._event(
                number + 1, "response.content_part.done", **self._message, part=text_part(text)
            )
            yield from self._event(
                number + 2, "response.output_item.done", output_index=0, item=item
            )
        calls = response.output[1:] if text else response.output
        for at, kind, fields in call_events(calls, int(bool(text)), number + 3):
            yield from self._event(at, kind, **fields)
        last = "incomplete" if response.status == "cancelled" else response.status
        number += 3 + 4 * len(calls)
        yield from self._event(number, f"response.{last}", response=response)
