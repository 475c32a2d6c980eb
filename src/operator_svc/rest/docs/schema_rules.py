"""What bodies need beyond the types of their fields, as JSON Schema: the rules that the code
checks after decoding (``chat_of``, ``check_tool_call``, ``check_feedback``, ``url_problem``)."""

from __future__ import annotations

from typing import Any

from operator_svc.models import MAX_MESSAGE_CHARS

NOT_NULL = {"not": {"type": "null"}}


def _given(*names: str, **more: Any) -> dict[str, Any]:
    """That these fields are there and not null; ``more`` narrows some."""
    narrowed = dict.fromkeys(names, NOT_NULL) | more
    return {"required": list(narrowed), "properties": narrowed}


_ROW_ID = {"type": "integer", "minimum": 1}
_OF_USER = {
    "properties": {
        "role": {"const": "user"},
        "content": {"type": "string", "minLength": 1, "maxLength": MAX_MESSAGE_CHARS},
    }
}

NEEDS: dict[str, dict[str, Any]] = {
    "ChatBody": {
        "properties": {
            "metadata": {
                "description": "`provider_hint` in it counts where the field of that name is not "
                "given; `regenerate` is the id of a message that is to be answered once more, "
                "instead of a new one.",
                "properties": {"regenerate": {"anyOf": [_ROW_ID, {"type": "null"}]}},
            },
        },
        "anyOf": [
            _given("message"),
            _given(messages={"type": "array", "contains": _OF_USER}),
            _given(metadata={"type": "object", **_given(regenerate=_ROW_ID)}),
        ],
    },
    "ToolCallBody": {
        "anyOf": [
            {**_given("message_id", "tool_name"), "not": _given("tool_call_id")},
            _given("tool_call_id", status={"enum": ["ok", "error"]}),
        ],
    },
    "FeedbackBody": {
        "if": _given(success={"const": True}),
        "then": _given("latency_ms"),
    },
    "BrowserTaskBody": {"properties": {"url": {"format": "uri"}}},
}
"""By the name of the schema, what is added to it."""


def add_to(schema: dict[str, Any], needs: dict[str, Any]) -> None:
    """Put ``needs`` into ``schema``, field by field."""
    for key, value in needs.items():
        if isinstance(value, dict) and isinstance(schema.get(key), dict):
            add_to(schema[key], value)
        else:
            schema[key] = value
