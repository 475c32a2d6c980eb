"""OpenAI's protocol of chat completions: the chats that its bodies ask for, and their answers.

Source: https://platform.openai.com/docs/api-reference/chat, and what its SDKs send and read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from operator_svc.errors import OperatorError
from operator_svc.models import MAX_MESSAGE_CHARS, Json
from operator_svc.protocol import decoding
from operator_svc.protocol.chat import Chat, Turn, checked_metadata
from operator_svc.protocol.completion_body import STAYS, ChatCompletionBody
from operator_svc.protocol.completion_faults import faults_of
from operator_svc.protocol.engine_fields import EngineFields
from operator_svc.protocol.faults import Fault
from operator_svc.protocol.ids import UserId, is_session_id
from operator_svc.protocol.openai_answers import (
    CompletionTokensDetails,
    PromptTokensDetails,
    Usage,
)
from operator_svc.protocol.tool_calls import ToolCallView

ANY_MODEL = "operator"
"""The model that leaves the choice to the upstream."""
SYSTEM = frozenset({"system", "developer"})
WEBUI_TASK = "### Task:"
"""The first words of the prompts with which Open WebUI asks for titles, tags and the like."""


class Place(NamedTuple):
    """The session that a completion is kept in; None for one of its own. ``user_id`` owns it."""

    session_id: str | None
    user_id: str | None


def place_of(body: ChatCompletionBody, session: str | None, user: str | None) -> Place:
    """The place that the headers ``session`` and ``user`` name, or else the body's metadata.

    Raises OperatorError(validation_error).
    """
    param = "X-Operator-Session"
    if session is None and body.metadata is not None:
        session, param = body.metadata.get("session_id"), "metadata.session_id"
    if session is not None and not (isinstance(session, str) and is_session_id(session)):
        raise OperatorError.invalid(param, "it is not the id of a session")
    if user is not None:
        try:
            user = msgspec.convert(user, UserId)
        except msgspec.ValidationError as error:
            raise OperatorError.invalid("X-Operator-User", str(error)) from None
    return Place(session, user)


def is_webui_task(body: ChatCompletionBody) -> bool:
    """True for a call of Open WebUI about a chat (a title, tags): it names the chat, but has only
    its own prompt and does not stream.

    Source: ``routers/tasks.py`` and the prompts of ``config.py`` of Open WebUI 0.6 to 0.11.
    """
    content = body.messages[0].content
    return (
        not body.stream
        and len(body.messages) == 1
        and isinstance(content, str)
        and content.startswith(WEBUI_TASK)
    )


def chat_of(
    body: ChatCompletionBody, plain: dict[str, Json], place: Place, *, sends_fields: bool
) -> Chat:
    """The chat of a completion. ``plain`` is the body as it came; ``sends_fields`` is True where
    the upstream takes OpenAI's fields, with tools and parts that are no text.

    Raises OperatorError(validation_error), which names the field.
    """
    decoding.check(faults_of(body))
    messages: list[dict[str, Any]] = plain["messages"]
    if not sends_fields:
        decoding.check(_unsendable(plain, messages))
    last = _last_of_user(messages)
    content = messages[last].get("content")
    question = text_of(content)
    parts = content if isinstance(content, list) and not _is_text(content) else None
    if (not question and parts is None) or len(question) > MAX_MESSAGE_CHARS:
        raise OperatorError.invalid(
            f"messages[{last}].content", f"its text must have 1 to {MAX_MESSAGE_CHARS} characters"
        )
    parameters = {name: value for name, value in plain.items() if name not in STAYS}
    chosen = body.model if body.model != ANY_MODEL else None
    if chosen is not None:
        parameters["model"] = chosen
    history = conversation = instructions = None
    if place.session_id is None or _brings_history(messages, last):
        history = turns_of(messages[:last])
        if messages != [{"role": "user", "content": question}]:
            conversation = messages
    elif len(messages) > 1:
        system = [text_of(m.get("content")) for m in messages if m["role"] in SYSTEM]
        instructions = "\n\n".join(system) or None
    engine = EngineFields(
        parameters=parameters, content=parts, messages=conversation, instructions=instructions
    )
    return Chat(
        message=question,
        session_id=place.session_id,
        user_id=place.user_id,
        metadata=checked_metadata(_own_metadata(body.metadata)),
        provider_hint=chosen,
        history=history,
        source="openai",
        engine=engine,
    )


def _last_of_user(messages: list[dict[str, Any]]) -> int:
    """The place of the last message of the user; raises OperatorError(validation_error)."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place]["role"] == "user":
            return place
    raise OperatorError.invalid("messages", "no message has the role user")


def _brings_history(messages: list[dict[str, Any]], last: int) -> bool:
    """True where there is more than the message to answer, at ``last``, and system messages."""
    return len(messages) > 1 and any(
        message["role"] not in SYSTEM for i, message in enumerate(messages) if i != last
    )


def with_results(chat: Chat, message_id: int) -> Chat:
    """``chat``, whose conversation ends with results of tools, as a further reply to the message
    that led to their calls: nobody has said it again. It keeps the results, and what came between,
    for later turns."""
    messages = chat.engine.messages or []
    asked = _last_of_user(messages)
    called = max(i for i, message in enumerate(messages) if message["role"] != "tool")
    engine = msgspec.structs.replace(
        chat.engine, before=messages[asked : called + 1], input=messages[called + 1 :]
    )
    return msgspec.structs.replace(chat, message="", regenerate=message_id, engine=engine)


def turns_of(messages: Iterable[dict[str, Json]]) -> list[Turn]:
    """Messages of chat completions as a history of text."""
    return [Turn(message["role"], text_of(message.get("content"))) for message in messages]


def text_of(content: str | list[dict[str, Json]] | None) -> str:
    """The text of a message's content."""
    if not isinstance(content, list):
        return content or ""
    return "".join(str(part.get("text") or "") for part in content if part.get("type") == "text")


def _is_text(parts: Iterable[dict[str, Json]]) -> bool:
    return all(part.get("type") == "text" for part in parts)


def _unsendable(plain: dict[str, Json], messages: Iterable[dict[str, Json]]) -> Iterable[Fault]:
    for name in ("tools", "functions"):  # the second one is their older form
        if plain.get(name):
            yield name, "the upstream of this service takes none"
    for index, message in enumerate(messages):
        content = message.get("content")
        if isinstance(content, list) and not _is_text(content):
            yield f"messages[{index}].content", "the upstream of this service takes text only"


def _own_metadata(metadata: dict[str, Json] | None) -> dict[str, Json]:
    if not metadata:
        return {}
    return {name: value for name, value in metadata.items() if name != "session_id"}


# Answers.


def completion_id(reply_id: int) -> str:
    """The id of the completion that is a reply."""
    return f"chatcmpl-{reply_id}"


def usage_of(metadata: dict[str, Any]) -> Usage:
    """The usage that a reply's metadata have."""
    counted = metadata.get("usage") or {}
    completion = counted.get("completion_tokens") or metadata.get("tokens_used") or 0
    prompt = counted.get("prompt_tokens") or 0
    cached, reasoning = counted.get("cached_tokens"), counted.get("reasoning_tokens")
    return Usage(
        prompt,
        completion,
        counted.get("total_tokens") or prompt + completion,
        msgspec.UNSET if cached is None else PromptTokensDetails(cached),
        msgspec.UNSET if reasoning is None else CompletionTokensDetails(reasoning),
    )


def tool_calls_of(calls: Iterable[ToolCallView], *, indexed: bool) -> list[dict[str, Json]]:
    """Recorded tool calls as OpenAI's; with their index for a chunk."""
    shown = []
    for index, call in enumerate(calls):
        arguments = call.arguments
        text = arguments if isinstance(arguments, str) else _json(arguments)
        function = {"name": call.tool_name, "arguments": text}
        entry: dict[str, Json] = {"id": f"call_{call.id}", "type": "function", "function": function}
        shown.append({"index": index, **entry} if indexed else entry)
    return shown


def _json(value: Json) -> str:
    return "{}" if value is None else msgspec.json.encode(value).decode()


def finish_reason_of(metadata: dict[str, Any], *, called: bool) -> str:
    """OpenAI's finish reason of a reply."""
    reason = metadata.get("finish_reason")
    if called:
        return "tool_calls"
    return reason if reason in ("stop", "length", "content_filter") else "stop"
