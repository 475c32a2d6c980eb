"""Items that were added to a conversation, as messages of chat completions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from operator_svc.models import Json


def added_messages(
    answer: str, added: Iterable[dict[str, Json]], shown: Callable[[str], str]
) -> list[dict[str, Json]]:
    """The messages that follow a user's: the ``answer``, and those that were ``added`` after it;
    ``shown`` is the part of the assistant's texts that an engine is sent back.

    The results of calls stand right behind these. A call without a result is left out, and a
    result without a call, because engines refuse both.
    """
    added = list(added)
    results = {message["tool_call_id"]: message for message in added if message["role"] == "tool"}
    messages = [{"role": "assistant", "content": answer}] if answer else []
    waiting: list[dict[str, Json]] = []
    for message in added:
        if calls := [call for call in message.get("tool_calls", ()) if call["id"] in results]:
            _add_calls(messages, calls)
            waiting += [results.pop(call["id"]) for call in calls]
        elif message["role"] == "tool":
            messages += waiting
            waiting = []
        elif message["content"] and (text := shown(message["content"])):
            messages += waiting
            waiting = []
            _add_text(messages, text)
    return messages + waiting


def _add_calls(messages: list[dict[str, Json]], calls: list[dict[str, Json]]) -> None:
    """Add calls to the message of the assistant at the end, or as one of its own."""
    if messages and messages[-1]["role"] == "assistant":
        before = messages[-1].get("tool_calls", ())
        messages[-1] = {**messages[-1], "tool_calls": [*before, *calls]}
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})


def _add_text(messages: list[dict[str, Json]], text: str) -> None:
    """Add what the assistant said to its text at the end, or as a message of its own."""
    if messages and messages[-1]["role"] == "assistant":
        text = f"{messages.pop()['content']}\n\n{text}"
    messages.append({"role": "assistant", "content": text})
