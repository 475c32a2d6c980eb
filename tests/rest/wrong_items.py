"""Wrong items and metadata of conversations: bodies, the field that is wrong, a code of its own."""

from __future__ import annotations

from typing import Any

from tests.rest.response_calls import HEART, message

Wrong = list[tuple[dict[str, Any], str, str | None]]

CONVERSATIONS: Wrong = [
    ({"items": "x"}, "items", None),
    ({"items": [message("user", "x")] * 21}, "items", None),
    ({"items": ["x"]}, "items[0]", None),
    ({"items": [{"content": "x"}]}, "items[0].role", None),
    ({"items": [message("tool", "x")]}, "items[0].role", None),
    ({"items": [{"role": "user"}]}, "items[0].content", None),
    ({"items": [message("user", "x"), message("user", "")]}, "items[1].content", None),
    ({"items": [message("user", "x" * 32_001)]}, "items[0].content", None),
    ({"items": [message("assistant", [HEART])]}, "items[0].content", None),
    ({"items": [message("user", [{"type": "input_image"}])]},
     "items[0].content[0].image_url", None),
    ({"items": [{"type": "x"}]}, "items[0].type", None),
    ({"items": [{"type": "item_reference", "id": "msg_1"}]}, "items[0].type", None),
    ({"items": [message("user", [{"type": "reasoning_text", "text": "x"}])]},
     "items[0].content[0].type", None),
    ({"items": [{"type": "function_call"}]}, "items[0].call_id", None),
    ({"items": [{"type": "function_call", "call_id": "c"}]}, "items[0].name", None),
    ({"items": [{"type": "function_call", "call_id": "c", "name": "f"}]},
     "items[0].arguments", None),
    ({"items": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]},
     "items[0].arguments", None),
    ({"items": [{"type": "function_call", "call_id": "", "name": "f", "arguments": ""}]},
     "items[0].call_id", None),
    ({"items": [{"type": "function_call_output", "output": "x"}]}, "items[0].call_id", None),
    ({"items": [{"type": "function_call_output", "call_id": "c"}]}, "items[0].output", None),
    ({"items": [{"type": "function_call_output", "call_id": "c", "output": 5}]},
     "items[0].output", None),
    ({"items": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "text"}]}]},
     "items[0].output[0].text", None),
    ({"items": [{"type": "reasoning"}]}, "items[0].summary", None),
    ({"items": [{"type": "reasoning", "summary": "x"}]}, "items[0].summary", None),
    ({"items": [{"type": "reasoning", "summary": [{"type": "x"}]}]},
     "items[0].summary[0].type", None),
    ({"items": [{"type": "reasoning", "summary": [{"type": "summary_text"}]}]},
     "items[0].summary[0].text", None),
    ({"items": [{"type": "reasoning", "summary": [], "content": [{"type": "text", "text": "x"}]}]},
     "items[0].content[0]", None),
    ({"items": [{"type": "reasoning", "summary": [], "content": "x"}]}, "items[0].content", None),
    ({"items": [{"type": "reasoning", "summary": [], "encrypted_content": 5}]},
     "items[0].encrypted_content", None),
]  # fmt: skip
METADATA: Wrong = [
    ({"metadata": []}, "metadata", None),
    ({"metadata": {"a": 1}}, "metadata.a", None),
    ({"metadata": {"a": "x" * 513}}, "metadata.a", None),
    ({"metadata": {"k" * 65: ""}}, "metadata", None),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata", None),
]
