"""The last exchanges of sessions that a process keeps: up to a bound, and for a while."""

from __future__ import annotations

import pytest

from operator_svc.services.chat import prompt_histories
from operator_svc.services.chat.prompt_histories import AGE, RecentExchanges
from operator_svc.stores.message_rows import Exchange, Recent
from tests.fakes.eventually import eventually


def recent(text: str, seq: int = 4) -> Recent:
    return Recent("e", seq, [Exchange(text, "answer")])


async def test_exchanges_of_a_session_replace_those_before() -> None:
    kept = RecentExchanges()
    assert kept.get("s") is None
    kept.put("s", recent("one"))
    size = kept.size
    kept.put("s", recent("two", 7))
    assert kept.get("s") == recent("two", 7)
    assert kept.size == size
    kept.forget("s")
    kept.forget("s")
    assert kept.get("s") is None
    assert kept.size == 0


async def test_beyond_the_bound_the_session_kept_first_goes() -> None:
    kept = RecentExchanges(most=100_000)
    for number in range(5):
        kept.put(f"s{number}", recent("x" * 30_000))
    assert [kept.get(f"s{number}") is not None for number in range(5)] == [False] * 2 + [True] * 3
    assert kept.size <= 100_000
    kept.put("wide", recent("漢" * 60_000))
    assert kept.get("wide") is None, "it has more bytes than all may have"
    assert kept.size == 0


async def test_exchanges_are_forgotten_after_a_while() -> None:
    now = 0.0
    kept = RecentExchanges(clock=lambda: now)
    kept.put("old", recent("one"))
    now = AGE - 1
    kept.put("young", recent("two"))
    assert kept.get("old") is not None
    now = AGE + 1
    kept.put("s", recent("three"))
    assert kept.get("old") is None
    assert kept.get("young") is not None


async def test_exchanges_are_forgotten_after_a_while_also_where_none_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prompt_histories, "AGE", 0.1)
    kept = RecentExchanges()
    kept.put("deleted", recent("one"))
    assert kept.size > 0
    await eventually(lambda: kept.size == 0)
    kept.put("another", recent("two"))
    await eventually(lambda: kept.size == 0)
