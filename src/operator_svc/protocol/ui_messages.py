"""The AI SDK's protocol for user interfaces: its messages, and the events of its streams.

Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol, and what ``ai`` sends and reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from operator_svc.errors import OperatorError
from operator_svc.models import Json, ReplyStatus, Role
from operator_svc.protocol.chat import Chat, Text
from operator_svc.protocol.engine_fields import ENGINE_FIELDS, NO_ENGINE_FIELDS, EngineFields
from operator_svc.protocol.ids import KeyText, SessionId
from operator_svc.protocol.sessions import MessageView
from operator_svc.protocol.tool_calls import ToolCallView

MAX_MESSAGES = 1000
UiRole = Annotated[Literal["system", "user", "assistant"], Meta(title="UiRole")]
UiTrigger = Annotated[Literal["submit-message", "regenerate-message"], Meta(title="UiTrigger")]


class UiPart(msgspec.Struct, frozen=True):
    """A part of a message; those of text and files are read."""

    type: str
    """The kind of part."""
    text: str = ""
    """The text of a part of text."""
    url: str = ""
    """The address of a file, or its content as a ``data:`` URL."""
    mediaType: str = ""  # noqa: N815 - the protocol's name
    """The type of a file."""
    filename: str | None = None
    """The name of a file."""


class UiMessageParam(msgspec.Struct, frozen=True):
    """A message of the client's."""

    role: UiRole
    """The speaker."""
    parts: list[UiPart]
    """The parts of the message."""
    id: str = ""
    """The client's id of the message, which is its idempotency key."""


class UiChatBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body that ``DefaultChatTransport`` posts; ``id`` is the session."""

    id: SessionId
    """The session's id."""
    messages: Annotated[list[UiMessageParam], Meta(max_length=MAX_MESSAGES)] = []
    """The conversation; its last message is the one to answer."""
    trigger: UiTrigger = "submit-message"
    """The reason of the call."""
    messageId: str | None = None  # noqa: N815 - the protocol's name
    """The message that gets another reply, or whose place the last one takes."""


class UiMessage(msgspec.Struct, frozen=True):
    """A stored message as the client shows it."""

    id: str
    """The message's id."""
    role: str
    """The speaker."""
    parts: list[dict[str, Json]]
    """The parts of the message."""
    metadata: dict[str, Json] | UnsetType = UNSET
    """The reply's state, where it is not complete."""


def chat_of(
    body: UiChatBody, named: int | None, key: str | None = None, *, sends_fields: bool = False
) -> Chat:
    """The chat of a body; ``named`` is the message that gets another reply. ``sends_fields`` is
    True where the upstream takes files.

    A message's id is its idempotency key; ``key``, the header's, is that of what has no id.
    Raises OperatorError(validation_error).
    """
    if body.trigger == "regenerate-message":
        if named is None:
            raise OperatorError.invalid("messageId", "it is not the id of a message")
        return Chat(
            message="",
            session_id=body.id,
            client_message_id=key,
            regenerate=named,
            source="ai-sdk",
        )
    message = body.messages[-1] if body.messages else None
    if message is None or message.role != "user":
        raise OperatorError.invalid("messages", "the last one must have the role user")
    field = f"messages[{len(body.messages) - 1}]"
    shown = [p for p in message.parts if p.type == "file" or (p.type == "text" and p.text)]
    text = "".join(part.text for part in shown if part.type == "text")
    files = sends_fields and any(part.type == "file" for part in shown)
    try:
        if text or not files:
            msgspec.convert(text, Text)
        if message.id:
            key = msgspec.convert(message.id, KeyText)
    except msgspec.ValidationError as error:
        raise OperatorError.invalid(field, str(error)) from None
    return Chat(
        message=text,
        session_id=body.id,
        client_message_id=key,
        source="ai-sdk",
        engine=EngineFields(content=[*map(_sent, shown)]) if files else NO_ENGINE_FIELDS,
    )


def _sent(part: UiPart) -> dict[str, Json]:
    """A part of text or a file as chat completions have it."""
    if part.type != "file":
        return {"type": "text", "text": part.text}
    if part.mediaType.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": part.url}}
    named = {} if part.filename is None else {"filename": part.filename}
    return {"type": "file", "file": {"file_data": part.url, **named}}


def _files(view: MessageView) -> Iterator[dict[str, Json]]:
    """The files of a stored message as parts."""
    kept = view.metadata.get(ENGINE_FIELDS)
    content = kept.get("content") if isinstance(kept, dict) else None
    for part in content if isinstance(content, list) else ():
        shown: dict[str, Json] = {"type": "file"}
        match part:
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                kind = "image/*"
            case {"type": "file", "file": {"file_data": str(url), **more}}:
                kind = "application/octet-stream"
                shown |= {name: more[name] for name in ("filename",) if name in more}
            case _:
                continue
        head = url[5:].partition(";")[0] if url.startswith("data:") else ""
        yield {**shown, "mediaType": head or kind, "url": url}


def messages_of(views: Iterable[MessageView]) -> Iterator[UiMessage]:
    """Stored messages as the client's own, of several replies to a message the newest. The client
    has none of the role ``tool``."""
    shown = [view for view in views if view.role != Role.TOOL]
    newest = {view.reply_to: view.id for view in shown if view.reply_to is not None}
    for view in shown:
        if view.reply_to is not None and newest[view.reply_to] != view.id:
            continue
        parts: list[dict[str, Json]] = []
        if isinstance(reasoning := view.metadata.get("reasoning"), str):
            parts.append({"type": "reasoning", "text": reasoning, "state": "done"})
        if view.content:
            parts.append({"type": "text", "text": view.content, "state": "done"})
        parts += _files(view)
        parts += [tool_part(call) for call in view.tool_calls]
        status = {} if view.status == ReplyStatus.COMPLETE else {"status": view.status}
        yield UiMessage(str(view.id), view.role, parts, status or UNSET)


def tool_part(call: ToolCallView) -> dict[str, Json]:
    """A recorded tool call as a part of a message."""
    part: dict[str, Json] = {
        "type": "dynamic-tool",
        "toolName": call.tool_name,
        "toolCallId": str(call.id),
        "input": call.arguments,
    }
    if call.error is not None:
        return {**part, "state": "output-error", "errorText": call.error}
    if call.result is None:
        return {**part, "state": "input-available"}
    return {**part, "state": "output-available", "output": call.result}


def event(kind: str, **fields: Any) -> bytes:
    """The data of an event of a stream."""
    return msgspec.json.encode({"type": kind, **fields})


def tool_events(call: ToolCallView) -> Iterator[bytes]:
    """The events that show a recorded tool call."""
    identity = str(call.id)
    yield event(
        "tool-input-available",
        toolCallId=identity,
        toolName=call.tool_name,
        input=call.arguments,
        dynamic=True,
    )
    if call.error is not None:
        yield event("tool-output-error", toolCallId=identity, errorText=call.error, dynamic=True)
    elif call.result is not None:
        yield event("tool-output-available", toolCallId=identity, output=call.result, dynamic=True)


def finish_reason_of(metadata: dict[str, Any], *, called: bool) -> str:
    """The AI SDK's finish reason of a reply."""
    if called:
        return "tool-calls"
    reason = str(metadata.get("finish_reason") or "stop").replace("_", "-")
    return reason if reason in ("stop", "length", "content-filter") else "other"
