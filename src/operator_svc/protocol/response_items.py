"""Items of OpenAI's Responses and conversations, made of stored messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from operator_svc.models import Json
from operator_svc.protocol.engine_fields import EngineFields
from operator_svc.protocol.openai import tool_calls_of
from operator_svc.protocol.tool_calls import ToolCallView


def items_of(
    message_id: int, content: str, engine: EngineFields, role: str = "user"
) -> Iterator[dict[str, Json]]:
    """The items of a stored message of ``role``, each with an id of its own. The last one of that
    role has the stored message's."""
    if engine.reasoning is not None:
        yield {"type": "reasoning", "id": f"rs_{message_id}", **engine.reasoning}
        return
    for place, message, own in _asked(content, engine, role):
        identity = f"msg_{message_id}" if own else f"msg_{message_id}_{place}"
        yield from _items(message, identity)


def named_message(content: str, engine: EngineFields, role: str) -> dict[str, Json]:
    """The message of chat completions that the item with a stored message's own id stands for."""
    for _, message, own in _asked(content, engine, role):
        if own:
            return {"role": role, "content": message.get("content")}
    return {"role": role, "content": content}


def _asked(
    content: str, engine: EngineFields, role: str
) -> Iterator[tuple[int, dict[str, Json], bool]]:
    """The messages of a stored one of ``role``, each with its place, and True for the last one of
    that role. A call that was added is one of the role that its result has, ``tool``."""
    asked = engine.input or [{"role": role, "content": engine.content or content}]
    if role == "tool":
        asked = [with_text(message, content) for message in asked]
    speakers = (role,) if role != "tool" else (role, "assistant")
    last = max((i for i, m in enumerate(asked) if m.get("role") in speakers), default=None)
    for place, message in enumerate(asked):
        yield place, message, place == last


def with_text(message: dict[str, Json], text: str) -> dict[str, Json]:
    """A message that is kept beside its text, with it."""
    return {"content": text, **message}


def _items(message: dict[str, Json], identity: str) -> Iterator[dict[str, Json]]:
    role, content = message.get("role"), message.get("content")
    done = {"status": "completed"}
    if role == "tool":
        yield {
            "type": "function_call_output",
            "id": f"fco{identity[3:]}",
            "call_id": message.get("tool_call_id"),
            "output": list(_item_parts(content)) if isinstance(content, list) else content,
            **done,
        }
        return
    if content is not None:
        parts = list(_item_parts(content, output=role == "assistant"))
        yield {"type": "message", "id": identity, "role": role, "content": parts, **done}
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function", {})
        yield {
            "type": "function_call",
            "id": f"fc{identity[3:]}_{index}",
            "call_id": call.get("id"),
            "name": function.get("name"),
            "arguments": function.get("arguments"),
            **done,
        }


def _item_parts(content: str | list[Json], *, output: bool = False) -> Iterator[dict[str, Json]]:
    """The parts of an item; those that this protocol has no name for are as they came."""
    text: list[Json] = [{"type": "text", "text": content}]
    for part in text if isinstance(content, str) else content:
        match part.get("type"):
            case "image_url":
                url = part["image_url"]
                yield {"type": "input_image", "image_url": url.get("url"),
                       "detail": url.get("detail", "auto")}  # fmt: skip
            case "file":
                yield {"type": "input_file", **part["file"]}
            case "text" if output:
                yield text_part(part["text"])
            case "text":
                yield {"type": "input_text", "text": part["text"]}
            case _:
                yield part


def output_of(
    reply_id: int, text: str, calls: Iterable[ToolCallView], status: str
) -> list[dict[str, Json]]:
    """The items of a reply; ``status`` is that of its text."""
    items = [message_item(reply_id, text, status)] if text else []
    return [*items, *map(call_item, calls)]


def message_item(reply_id: int, text: str | None, status: str) -> dict[str, Json]:
    """A reply's text; without one the item has no part yet."""
    return {
        "type": "message",
        "id": message_id(reply_id),
        "status": status,
        "role": "assistant",
        "content": [] if text is None else [text_part(text)],
    }


def text_part(text: str) -> dict[str, Json]:
    """A part of a reply's text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(call: ToolCallView) -> dict[str, Json]:
    """A tool call of a reply."""
    (shown,) = tool_calls_of([call], indexed=False)
    return {
        "type": "function_call",
        "id": f"fc_{call.id}",
        "call_id": shown["id"],
        **shown["function"],
        "status": "completed",
    }


def message_id(row_id: int) -> str:
    """The id of the item that is a stored message."""
    return f"msg_{row_id}"
