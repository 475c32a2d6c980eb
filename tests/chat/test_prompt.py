"""The history of a prompt: the newest turns that fit, whole ones only, oldest first."""

from __future__ import annotations

import pytest

from operator_svc.protocol.chat import Chat, Turn
from operator_svc.services.chat.prompt import (
    HistoryLimits,
    bounded,
    build_prompt,
    clients_history,
)


def turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content} for content in contents]


@pytest.mark.parametrize(
    ("messages", "chars", "kept"),
    [
        (9, 99, ["c", "bb", "aaa"]),
        (2, 99, ["bb", "aaa"]),
        (9, 5, ["bb", "aaa"]),
        (9, 4, ["aaa"]),
        (9, 2, []),
        (0, 99, []),
    ],
)
def test_the_newest_turns_that_fit_are_kept_oldest_first(
    messages: int, chars: int, kept: list[str]
) -> None:
    history = bounded(turns("aaa", "bb", "c"), HistoryLimits(messages, chars))
    assert [turn["content"] for turn in history] == kept


def test_a_turn_too_long_to_fit_ends_the_history() -> None:
    history = bounded(turns("a", "b" * 50, "c"), HistoryLimits(9, 10))
    assert [turn["content"] for turn in history] == ["a"]


def test_a_clients_history_keeps_its_order_and_roles() -> None:
    brought = [Turn("user", "one"), Turn("assistant", "two"), Turn("user", "three")]
    history = clients_history(brought, HistoryLimits(2, 99))
    assert history == [
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]


def test_a_prompt_asks_the_question_with_the_chats_hints() -> None:
    chat = Chat(message="anew", provider_hint="hermes", context_summary="s", metadata={"k": 1})
    prompt = build_prompt(chat, "the question", "s-1", "ann", turns("before"))
    assert (prompt.message, prompt.session_id, prompt.user_id) == ("the question", "s-1", "ann")
    assert prompt.history == turns("before")
    assert (prompt.provider_hint, prompt.context_summary) == ("hermes", "s")
    assert prompt.metadata == {"k": 1}
