"""Ends of answers: how a stream ends, and the names that engines have for the end of a reply, under
one name each."""

from __future__ import annotations

from operator_svc.models import Json
from operator_svc.peers.chat_types import label_or_none
from operator_svc.peers.json_size import check_values
from operator_svc.protocol.text import loads

SENTINEL = b"[DONE]"
"""The data of the event that ends a stream of OpenAI's protocol."""
KNOWN = {
    "stop": ("stop", "stop_sequence", "end_turn", "end", "eos", "eos_token", "complete"),
    "length": ("length", "max_tokens", "max_length", "max_output_tokens", "model_length"),
    "content_filter": (
        "content_filter", "content_filtered", "safety", "recitation", "blocklist",
        "prohibited_content", "spii", "sensitive",
    ),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "function_call"),
    "refusal": ("refusal",),
}  # fmt: skip
"""Operator's names, with those of OpenAI's, Anthropic's, Google's and Mistral's protocols and of
the servers that imitate them."""
FAILURES = frozenset(
    {"error", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource"}
)
"""Finish reasons of a reply that its engine gave up."""
ABSENT = frozenset({"", "null", "none", "finish_reason_unspecified"})
"""Texts that some servers send in chunks that end nothing."""

_NAMES = {name: known for known, names in KNOWN.items() for name in names}


def finish_reason(value: Json) -> str | None:
    """The finish reason under its common name; an unknown one unchanged; None without one."""
    name = label_or_none(value)
    if name is None or name.lower() in ABSENT:
        return None
    return _NAMES.get(name.lower(), name)


def is_whole(data: bytes) -> bool:
    """True where the data of a last event cannot have been cut; raises AnswerError."""
    check_values(data)
    try:
        return data.strip() == SENTINEL or isinstance(loads(data), dict)
    except ValueError:
        return False
