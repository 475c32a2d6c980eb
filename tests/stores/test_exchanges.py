"""Exchanges: the questions before a chat that have an answer, and which one it is."""

from __future__ import annotations

import uuid

import pytest

from operator_svc.db import Database
from operator_svc.models import MAX_ID, ReplyStatus
from operator_svc.stores.message_rows import Exchange, Recent, Started
from tests.stores.conversations import POD, Stores


def exchanges(started: Started | None) -> list[tuple[str, str | None]]:
    assert started is not None
    return [(exchange.question, exchange.answer) for exchange in started.exchanges or []]


async def exchanges_before(stores: Stores, message_id: int) -> list[tuple[str, str | None]]:
    found = await stores.messages.exchanges("s", before=message_id, limit=9, max_chars=99)
    return [(exchange.question, exchange.answer) for exchange in found]


async def test_start_brings_the_exchanges_that_have_an_answer(stores: Stores) -> None:
    first = await stores.new("s")
    assert first.exchanges is None
    second = await stores.more("s")
    assert exchanges(second) == [], "a reply that is being written is no answer"
    assert second is not None
    await stores.finish("s", first.reply_id)
    await stores.finish("s", second.reply_id, status=ReplyStatus.FAILED)
    third = await stores.more("s")
    assert exchanges(third) == [("good morning", "it is done")]
    assert third is not None
    await stores.finish("s", third.reply_id, status=ReplyStatus.CANCELLED)
    both = [("and now", "it is done"), ("good morning", "it is done")]
    last = await stores.more("s")
    assert exchanges(last) == both
    assert last is not None
    assert await exchanges_before(stores, last.message_id) == both
    assert await exchanges_before(stores, third.message_id) == both[1:]
    assert exchanges(await stores.more("s", exchanges=1, max_chars=3)) == [("and ", "it i")], (
        "one character more shows that it is longer"
    )
    assert exchanges(await stores.more("s", exchanges=0)) == []


async def test_exchanges_that_the_caller_has_are_read_where_they_are_not_the_last(
    stores: Stores,
) -> None:
    first = await stores.new("s")
    ended = await stores.finish("s", first.reply_id)
    assert ended is not None
    recent = Recent(first.epoch, ended, [Exchange("kept", "here")])
    second = await stores.more("s", recent=recent)
    assert exchanges(second) == [("kept", "here")]
    assert second is not None
    last = await stores.finish("s", second.reply_id)
    assert last is not None
    stored = [("and now", "it is done"), ("good morning", "it is done")]
    of_another_session = recent._replace(epoch=str(uuid.uuid4()), last_seq=last)
    third = await stores.more("s", recent=of_another_session)
    assert exchanges(third) == stored
    for outdated in (recent, of_another_session):
        assert exchanges(await stores.more("s", recent=outdated)) == stored


@pytest.mark.parametrize("blank", ["", " ", "\n\t \r\n"])
async def test_blank_reply_is_no_answer(stores: Stores, blank: str) -> None:
    started = await stores.new("s")
    await stores.finish("s", started.reply_id, content=blank)
    assert exchanges(await stores.more("s")) == []


async def test_newest_complete_reply_is_the_answer(stores: Stores) -> None:
    started = await stores.new("s")
    await stores.finish("s", started.reply_id, content="first try", status=ReplyStatus.CANCELLED)
    for content, status, answer in (
        ("second try", ReplyStatus.INTERRUPTED, "second try"),
        ("right", ReplyStatus.COMPLETE, "right"),
        ("better", ReplyStatus.COMPLETE, "better"),
        ("stopped", ReplyStatus.CANCELLED, "better"),
        ("broken", ReplyStatus.FAILED, "better"),
        ("", ReplyStatus.COMPLETE, "better"),
    ):
        again = await stores.messages.regenerate(
            session_id="s", viewer=None, message_id=started.message_id, pod_id=POD, key=None
        )
        assert again is not None
        await stores.finish("s", again.reply_id, content=content, status=status)
        assert await exchanges_before(stores, again.reply_id) == [("good morning", answer)]


async def test_adopted_message_is_answered_by_the_assistants_message_after_it(
    stores: Stores, database: Database
) -> None:
    await stores.new("s")
    said: list[tuple[str, str]] = [
        ("system", "be kind"),
        ("assistant", "hello"),
        ("user", "unanswered"),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
        ("tool", "four"),
        ("assistant", "five"),
    ]
    async with database.transaction() as tx:
        now = "now()" if database.dialect == "postgresql" else "'2026-01-01 00:00:00.000000'"
        await tx.executemany(
            "INSERT INTO operator_message (session_id, role, content, status, created_at)"
            f" VALUES ('s', :role, :content, 'complete', {now})",
            [{"role": role, "content": content} for role, content in said],
        )
    assert await exchanges_before(stores, MAX_ID) == [("three", "five"), ("one", "two")]
