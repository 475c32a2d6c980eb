"""Builds the prompt of a chat: the message, and as much of what was said before as fits.

The history is made of exchanges, a user's message and the reply to it, because the chat
templates of many models refuse a conversation whose roles do not alternate. What has no usable
reply (failed, stopped before its first token, still being written, tool calls alone) is left
out. Items that were added to a conversation need none: a system's goes to the front, a user's is
put before the user's message that follows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import msgspec

from operator_svc.models import Json
from operator_svc.peers.chat_types import Prompt
from operator_svc.peers.think_tags import without_thought
from operator_svc.protocol.chat import Chat
from operator_svc.protocol.chat import Turn as ClientTurn
from operator_svc.protocol.engine_fields import said_before
from operator_svc.protocol.openai import text_of
from operator_svc.services.chat.message_metadata import sent_messages
from operator_svc.stores.message_rows import Exchange

SYSTEM_ROLES = frozenset({"system", "developer"})

PromptTurn: TypeAlias = dict[str, Any]
"""A message of the history: its ``role``, and the text of it as ``content``. It has ``messages`` of
chat completions where it was more than text, for an upstream that takes them."""


class HistoryLimits(NamedTuple):
    """The most that a prompt's history holds. ``think_tags`` where a block of them at a reply's
    start is its reasoning, which is not sent back."""

    messages: int
    chars: int
    think_tags: bool = True

    @property
    def exchanges(self) -> int:
        """The number of exchanges; 0 where no history is sent at all."""
        return self.messages // 2 if self.chars else 0


def build_prompt(
    chat: Chat,
    question: str,
    session_id: str,
    user_id: str,
    history: list[PromptTurn],
) -> Prompt:
    """The prompt of ``question``; ``history`` is oldest first."""
    return Prompt(
        message=question,
        session_id=session_id,
        user_id=user_id,
        history=history,
        context_summary=chat.context_summary,
        provider_hint=chat.provider_hint,
        metadata=chat.metadata,
        engine=chat.engine,
    )


def said_together(prompt: Prompt) -> Prompt:
    """The prompt, with what the user said at the end of the history put before the question."""
    if not prompt.history or prompt.history[-1]["role"] != "user":
        return prompt
    *history, last = prompt.history
    return msgspec.structs.replace(
        prompt,
        message=_joined(last["content"], prompt.message),
        history=history,
        engine=prompt.engine.after(content_of(last), prompt.message),
    )


def content_of(turn: PromptTurn) -> str | list[Json]:
    """The content of the user's message that ``turn`` is."""
    messages = turn.get("messages")
    content: str | list[Json] = messages[0]["content"] if messages else turn["content"]
    return content


def clients_history(turns: list[ClientTurn], limits: HistoryLimits) -> list[PromptTurn]:
    """The history that a client brought, as far as it fits: its system messages as one, then
    its exchanges."""
    system: list[str] = []
    exchanges: list[Exchange] = []
    question = answer = ""
    for turn in [*turns, ClientTurn("user", "")]:
        if not turn.content.strip() and turn.role != "user":
            continue
        if turn.role in SYSTEM_ROLES:
            system.append(turn.content)
        elif turn.role == "user":
            if question.strip() and answer:
                exchanges.append(Exchange(question, answer))
            question, answer = turn.content, ""
        elif turn.role == "assistant":
            answer = turn.content
    instructions = _joined(*system)
    if not instructions or len(instructions) > limits.chars:
        return stored_history(reversed(exchanges), limits)
    rest = limits._replace(chars=limits.chars - len(instructions))
    return [_turn("system", instructions), *stored_history(reversed(exchanges), rest)]


def stored_history(newest_first: Iterable[Exchange], limits: HistoryLimits) -> list[PromptTurn]:
    """The newest exchanges and items that fit, oldest first; one is sent whole or not at all. It
    ends with the user where the newest is an item."""
    turns: list[PromptTurn] = []
    system: list[str] = []
    room = limits.chars
    for exchange in newest_first:
        question, answer = exchange.question, exchange.answer or ""
        if exchange.asked or exchange.replied:
            asked = _turn("user", question, sent_messages(exchange))
            room -= _chars(asked) + len(answer)
        else:
            asked = {"role": "user", "content": question}
            room -= len(question) + len(answer)
        if room < 0 or len(turns) >= 2 * limits.exchanges:
            break
        said = without_thought(answer) if limits.think_tags else answer
        if said:
            turns += [_turn("assistant", said), asked]
        elif exchange.role in SYSTEM_ROLES:
            system.append(question)
        elif exchange.answer is None:
            turns.append(_before(asked, turns.pop()) if turns else asked)
    if system:
        turns.append(_turn("system", _joined(*reversed(system))))
    turns.reverse()
    return turns


def _joined(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))


def _turn(role: str, content: str, messages: list[dict[str, Json]] | None = None) -> PromptTurn:
    turn: PromptTurn = {"role": role, "content": content}
    return {**turn, "messages": messages} if messages else turn


def _chars(turn: PromptTurn) -> int:
    """The characters of a turn: those of its texts, and of the arguments of calls."""
    if "messages" not in turn:
        return len(turn["content"])
    return sum(
        len(text_of(message.get("content")))
        + sum(len(call["function"]["arguments"]) for call in message.get("tool_calls") or ())
        for message in turn["messages"]
    )


def _before(said: PromptTurn, turn: PromptTurn) -> PromptTurn:
    """A turn of the user with what the user has ``said`` before it."""
    content = _joined(said["content"], turn["content"])
    if "messages" not in said and "messages" not in turn:
        return _turn("user", content)
    first = {"role": "user", "content": content_of(said)}
    messages = turn.get("messages") or [{"role": "user", "content": turn["content"]}]
    if messages[0]["role"] != "user":
        return _turn("user", content, [first, *messages])
    both = said_before(first["content"], messages[0]["content"])
    return _turn("user", content, [{**first, "content": both}, *messages[1:]])
