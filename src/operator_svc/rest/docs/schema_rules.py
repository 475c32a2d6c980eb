"""Rules of bodies beyond the types of their fields, as JSON Schema.

The code checks them after decoding: ``chat_of``, ``check_tool_call`` and
``checked_url`` of ``protocol``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from operator_svc.models import MAX_MESSAGE_CHARS

Rules: TypeAlias = Mapping[str, Any]

_NOT_NULL = {"not": {"type": "null"}}


def _any_of(*branches: dict[str, Any]) -> dict[str, Any]:
    """Requires one of ``branches``. Generators of clients, which make a type of each branch of an
    ``anyOf``, leave conditions alone."""
    return {"if": {"anyOf": branches}, "else": {"not": {}}}


def _given(*names: str, **more: Any) -> dict[str, Any]:
    """Requires these fields, not null; ``more`` narrows some."""
    narrowed = dict.fromkeys(names, _NOT_NULL) | more
    return {"required": list(narrowed), "properties": narrowed}


_ROW_ID = {"type": "integer", "minimum": 1}
_OF_USER = {
    "properties": {
        "role": {"const": "user"},
        "content": {"type": "string", "minLength": 1, "maxLength": MAX_MESSAGE_CHARS},
    }
}

CHAT: Rules = {
    "properties": {
        "metadata": {
            "description": "`provider_hint` in it counts where the field of that name is not "
            "given; `regenerate` is the id of a message that gets another reply, "
            "instead of a new one. At most 64 KiB as JSON.",
        },
    },
    **_any_of(
        _given("message"),
        _given(messages={"type": "array", "items": {}, "contains": _OF_USER}),
        _given(metadata={"type": "object", **_given(regenerate=_ROW_ID)}),
    ),
}
TOOL_CALL: Rules = _any_of(
    {**_given("message_id", "tool_name"), "not": _given("tool_call_id")},
    _given("tool_call_id", status={"enum": ["ok", "error"]}),
)
BROWSER_TASK: Rules = {"properties": {"url": {"format": "uri"}}}


def add_to(schema: dict[str, Any], rules: Rules) -> None:
    """Put ``rules`` into ``schema``, field by field."""
    for key, value in rules.items():
        if isinstance(value, dict) and isinstance(schema.get(key), dict):
            add_to(schema[key], value)
        else:
            schema[key] = value
