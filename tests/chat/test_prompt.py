"""The history of a prompt: exchanges only, so that every upstream takes every session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_svc.devpeers.dialects import check_roles
from operator_svc.protocol.chat import Chat, Turn
from operator_svc.services.chat.prompt import (
    HistoryLimits,
    build_prompt,
    clients_history,
    said_together,
    stored_history,
)
from operator_svc.stores.message_rows import Exchange

LIMITS = HistoryLimits(messages=20, chars=1000)


def told(*turns: tuple[str, str], limits: HistoryLimits = LIMITS) -> list[tuple[str, str]]:
    """The history of a client's turns, as pairs."""
    history = clients_history([Turn(role, content) for role, content in turns], limits)
    return [(turn["role"], turn["content"]) for turn in history]


U, A = ("user", "u"), ("assistant", "a")


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([], []),
        ([U, A], [U, A]),
        ([U], []),
        ([A], []),
        ([A, U, A], [U, A]),
        ([U, U, A], [U, A]),
        ([U, A, U], [U, A]),
        ([U, A, ("assistant", "better")], [U, ("assistant", "better")]),
        ([U, A, ("assistant", " ")], [U, A]),
        ([("user", " "), A, U, A], [U, A]),
        ([U, ("tool", "42"), A], [U, A]),
        ([U, A, ("odd", "x"), U, A], [U, A, U, A]),
        ([("system", "s"), U, A], [("system", "s"), U, A]),
        ([("developer", "d"), U, A], [("system", "d"), U, A]),
        ([("system", "s"), U, A, ("developer", "d")], [("system", "s\n\nd"), U, A]),
        ([("system", "s")], [("system", "s")]),
        ([("system", " "), U, A], [U, A]),
        ([U, ("assistant", "<think>hm</think>\n\na")], [U, A]),
        ([U, ("assistant", "<think>hm</think>")], []),
        ([U, ("assistant", "a <think>b</think>")], [U, ("assistant", "a <think>b</think>")]),
    ],
)
def test_clients_turns_become_exchanges(
    turns: list[tuple[str, str]], expected: list[tuple[str, str]]
) -> None:
    assert told(*turns) == expected


def test_think_tags_are_sent_back_where_the_setting_is_off() -> None:
    said = ("assistant", "<think>hm</think>a")
    assert told(U, said, limits=LIMITS._replace(think_tags=False)) == [U, said]


@pytest.mark.parametrize(
    ("messages", "chars", "kept"),
    [(20, 1000, 3), (4, 1000, 2), (5, 1000, 2), (1, 1000, 0), (0, 1000, 0), (20, 0, 0),
     (20, 4, 2), (20, 5, 2), (20, 1, 0)],
)  # fmt: skip
def test_history_is_cut_at_exchanges(messages: int, chars: int, kept: int) -> None:
    newest_first = [Exchange("3", "c"), Exchange("2", "b"), Exchange("1", "a")]
    history = stored_history(newest_first, HistoryLimits(messages, chars))
    expected = [
        {"role": role, "content": content}
        for exchange in reversed(newest_first[:kept])
        for role, content in (("user", exchange.question), ("assistant", exchange.answer))
    ]
    assert history == expected


def test_items_without_an_answer_are_said_with_the_message_after_them() -> None:
    newest_first = [
        Exchange("four", None),
        Exchange("three", None),
        Exchange("be kind", None, "system"),
        Exchange("two", "b"),
        Exchange("one", None),
        Exchange("be brief", None, "system"),
    ]
    history = stored_history(newest_first, LIMITS)
    assert [(turn["role"], turn["content"]) for turn in history] == [
        ("system", "be brief\n\nbe kind"),
        ("user", "one\n\ntwo"),
        ("assistant", "b"),
        ("user", "three\n\nfour"),
    ]
    prompt = said_together(build_prompt(Chat(message="five"), "five", "s", "ana", history))
    assert (prompt.message, prompt.history) == ("three\n\nfour\n\nfive", history[:-1])
    check_roles([*prompt.history, {"role": "user", "content": prompt.message}])


def test_system_message_takes_its_room_and_one_too_long_is_left_out() -> None:
    limits = HistoryLimits(20, 5)
    assert told(("system", "abc"), U, A, U, A, limits=limits) == [("system", "abc"), U, A]
    assert told(("system", "abcdef"), U, A, limits=limits) == [U, A]


def test_exchange_too_long_to_fit_ends_the_history() -> None:
    newest_first = [Exchange("1", "a"), Exchange("2", "b" * 50), Exchange("3", "c")]
    assert len(stored_history(newest_first, HistoryLimits(20, 10))) == 2


def test_prompt_asks_the_question_with_the_chats_hints() -> None:
    chat = Chat(message="anew", provider_hint="hermes", context_summary="s", metadata={"k": 1})
    before = [{"role": "user", "content": "before"}]
    prompt = build_prompt(chat, "the question", "s-1", "ann", before)
    assert (prompt.message, prompt.session_id, prompt.user_id) == ("the question", "s-1", "ann")
    assert prompt.history == before
    assert (prompt.provider_hint, prompt.context_summary) == ("hermes", "s")
    assert prompt.metadata == {"k": 1}


ROLES = st.sampled_from(["user", "assistant", "system", "developer", "tool", "odd", ""])
CONTENTS = st.sampled_from(["", " ", "x", "<think>x</think>", "<think>x</think>y", "long " * 9])
LIMITATIONS = st.builds(HistoryLimits, st.integers(0, 9), st.integers(0, 60), st.booleans())


@given(st.lists(st.builds(Turn, ROLES, CONTENTS), max_size=12), LIMITATIONS)
def test_every_history_alternates_and_fits(turns: list[Turn], limits: HistoryLimits) -> None:
    history = clients_history(turns, limits)
    check_roles([*history, {"role": "user", "content": "next"}])
    assert sum(len(turn["content"]) for turn in history) <= limits.chars
    assert sum(turn["role"] != "system" for turn in history) <= limits.messages
