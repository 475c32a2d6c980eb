"""The order of messages that engines accept: calls before their results, and roles by turns."""

from __future__ import annotations

from collections.abc import Iterable

from operator_svc.models import Json
from operator_svc.protocol.engine_fields import said_before


def in_turns(messages: Iterable[dict[str, Json]]) -> list[dict[str, Json]]:
    """Messages of chat completions, none of them the system's, in the order that strict chat
    templates want.

    The results of a message's calls stand right behind it, and a result without a call is left
    out. What the user says before the next answer, a text of the assistant's without calls, is one
    message.
    """
    messages = list(messages)
    results: dict[str, list[dict[str, Json]]] = {}
    for message in messages:
        if message["role"] == "tool":
            results.setdefault(message["tool_call_id"], []).append(message)
    turns: list[dict[str, Json]] = []
    asked: int | None = None
    for message in messages:
        calls = message.get("tool_calls") or ()
        if message["role"] == "tool":
            continue
        if message["role"] != "user":
            asked = asked if calls else None
        elif asked is None:
            asked = len(turns)
        else:
            said = said_before(turns[asked]["content"], message["content"])
            turns[asked] = {**message, "content": said}
            continue
        turns.append(message)
        turns += [results[call["id"]].pop(0) for call in calls if results.get(call["id"])]
    return turns
