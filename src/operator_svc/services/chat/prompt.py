"""Builds the prompt of a chat: the message, and as much of what was said before as fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from operator_svc.models import Message, ReplyStatus
from operator_svc.peers.chat_types import Prompt
from operator_svc.protocol.chat import Chat
from operator_svc.protocol.chat import Turn as ClientTurn

IN_HISTORY = frozenset({ReplyStatus.COMPLETE, ReplyStatus.CANCELLED, ReplyStatus.INTERRUPTED})
"""The states of messages that the history holds; a failed reply adds nothing to it."""

PromptTurn: TypeAlias = dict[str, str]
"""A message of the history as Switch takes it: its ``role`` and ``content``."""


class HistoryLimits(NamedTuple):
    """The most that a prompt's history holds."""

    messages: int
    chars: int

    @property
    def none(self) -> bool:
        """True where no history is sent at all."""
        return not (self.messages and self.chars)


def build_prompt(
    chat: Chat, question: str, session_id: str, user_id: str, history: list[PromptTurn]
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
    )


def clients_history(turns: list[ClientTurn], limits: HistoryLimits) -> list[PromptTurn]:
    """The history that a client brought, oldest first, as far as it fits."""
    return bounded([_turn(turn.role, turn.content) for turn in reversed(turns)], limits)


def stored_history(newest_first: Iterable[Message], limits: HistoryLimits) -> list[PromptTurn]:
    """The history of stored messages, as far as it fits."""
    return bounded(
        [_turn(m.role, m.content) for m in newest_first if m.content and m.status in IN_HISTORY],
        limits,
    )


def bounded(newest_first: list[PromptTurn], limits: HistoryLimits) -> list[PromptTurn]:
    """The newest turns that fit, oldest first; a turn is sent whole or not at all."""
    kept = newest_first[: limits.messages]
    length = 0
    for place, turn in enumerate(kept):
        length += len(turn["content"])
        if length > limits.chars:
            del kept[place:]
            break
    kept.reverse()
    return kept


def _turn(role: str, content: str) -> PromptTurn:
    return {"role": role, "content": content}
