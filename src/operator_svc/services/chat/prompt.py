"""Builds the prompt of a chat: the message, and as much of what was said before as fits.

The history is made of exchanges, a user's message and the reply to it, because the chat
templates of many models refuse a conversation whose roles do not alternate. What has no usable
reply (failed, stopped before its first token, still being written, tool calls alone) is left
out. Items that were added to a conversation need none: a system's goes to the front, a user's is
put before the user's message that follows it, and others follow the user's message before them.
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
from operator_svc.protocol.engine_fields import SYSTEM_ROLES, joined_messages
from operator_svc.protocol.openai import text_of
from operator_svc.protocol.response_items import with_text
from operator_svc.services.chat.added_items import added_messages
from operator_svc.services.chat.message_metadata import sent_messages
from operator_svc.stores.message_rows import Exchange

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
        engine=prompt.engine.after(messages_of(last), prompt.message),
    )


def messages_of(turn: PromptTurn) -> list[dict[str, Json]]:
    """The messages of chat completions that ``turn`` is."""
    messages: list[dict[str, Json]] | None = turn.get("messages")
    return messages or [{"role": turn["role"], "content": turn["content"]}]


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
    """The newest exchanges and items that fit, oldest first; what belongs to a user's message is
    sent with it or not at all. It ends with the user where nothing answers the newest item."""
    turns: list[PromptTurn] = []
    system: list[str] = []
    later: list[PromptTurn] = []
    room, most = limits.chars, 2 * limits.exchanges
    for exchange in newest_first:
        asked = _asked(exchange)
        room -= _chars(asked) + len(exchange.answer or "")
        if room < 0 or len(turns) >= most:
            break
        if exchange.role in SYSTEM_ROLES:
            system.append(exchange.question)
        elif exchange.role != "user":
            later.append(asked)
        else:
            sent, said = _answered(asked, exchange.answer, later[::-1], limits)
            if said:
                turns += [_turn("assistant", said), sent]
            elif exchange.answer is None or later:
                turns.append(_before(sent, turns.pop()) if turns else sent)
            later.clear()
    if system:
        turns.append(_turn("system", _joined(*reversed(system))))
    turns.reverse()
    return turns


def _asked(exchange: Exchange) -> PromptTurn:
    """The turn that was sent for an exchange before its answer; or the item that it is."""
    if exchange.role == "tool":
        kept = [with_text(message, exchange.question) for message in exchange.asked["input"]]
        return _turn(exchange.role, exchange.question, kept)
    if exchange.role == "user" and (exchange.asked or exchange.replied):
        return _turn("user", exchange.question, sent_messages(exchange))
    return {"role": exchange.role, "content": exchange.question}


def _answered(
    asked: PromptTurn, answer: str | None, later: list[PromptTurn], limits: HistoryLimits
) -> tuple[PromptTurn, str]:
    """A user's turn with the items that were added after its ``answer``, up to the last text of
    the assistant; and that text."""
    shown = without_thought if limits.think_tags else str
    said = shown(answer or "")
    if not later:
        return asked, said
    messages = added_messages(said, [m for turn in later for m in messages_of(turn)], shown)
    said = ""
    if messages and messages[-1]["role"] == "assistant" and "tool_calls" not in messages[-1]:
        said = messages.pop()["content"]
    if messages:
        asked = _turn("user", asked["content"], [*messages_of(asked), *messages])
    return asked, said


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
    """A turn of the user with what the user has ``said`` before it, and what followed that."""
    content = _joined(said["content"], turn["content"])
    if "messages" not in said and "messages" not in turn:
        return _turn("user", content)
    return _turn("user", content, joined_messages(messages_of(said), messages_of(turn)))
