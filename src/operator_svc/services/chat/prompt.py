"""Builds the prompt of a chat: the message, and as much of what was said before as fits.

The history is made of exchanges, a user's message and the reply to it, because the chat
templates of many models refuse a conversation whose roles do not alternate. What has no usable
reply (failed, stopped before its first token, still being written, tool calls alone) is left
out. Items that were added to a conversation need none: a system's goes to the front, a user's is
put before the user's message that follows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import msgspec

from operator_svc.peers.chat_types import Prompt
from operator_svc.peers.think_tags import without_thought
from operator_svc.protocol.chat import Chat
from operator_svc.protocol.chat import Turn as ClientTurn
from operator_svc.stores.message_rows import Exchange

SYSTEM_ROLES = frozenset({"system", "developer"})

PromptTurn: TypeAlias = dict[str, str]
"""A message of the history as an upstream takes it: its ``role`` and ``content``."""


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
    """The prompt, with the user's text that the history ends with put before the question."""
    if not prompt.history or prompt.history[-1]["role"] != "user":
        return prompt
    *history, last = prompt.history
    return msgspec.structs.replace(
        prompt,
        message=_joined(last["content"], prompt.message),
        history=history,
        engine=prompt.engine.after(last["content"]),
    )


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
        room -= len(question) + len(answer)
        if room < 0 or len(turns) >= 2 * limits.exchanges:
            break
        said = without_thought(answer) if limits.think_tags else answer
        if said:
            turns += [_turn("assistant", said), _turn("user", question)]
        elif exchange.role in SYSTEM_ROLES:
            system.append(question)
        elif exchange.answer is None:
            following = turns.pop()["content"] if turns else ""
            turns.append(_turn("user", _joined(question, following)))
    if system:
        turns.append(_turn("system", _joined(*reversed(system))))
    turns.reverse()
    return turns


def _joined(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))


def _turn(role: str, content: str) -> PromptTurn:
    return {"role": role, "content": content}
