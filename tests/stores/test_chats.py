"""Chats as they are stored: their sessions, keys and numbers, and other replies to a message."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from operator_svc.models import ReplyStatus
from operator_svc.protocol.intents import Renewal
from operator_svc.stores.chat_keys import KeyTakenError
from operator_svc.stores.message_rows import Key, Started
from tests.stores.conversations import POD, Stores


async def test_a_new_session_has_its_three_events(stores: Stores) -> None:
    started = await stores.new("s")
    session = await stores.sessions.get("s")
    assert session is not None
    assert (session.last_seq, session.message_count, session.user_id) == (3, 2, "ana")
    assert started.last_seq == 3
    assert started.epoch == session.epoch
    rows = (await stores.events.after("s", 0, 10)).rows
    assert [(r.seq, r.event, r.message_id) for r in rows] == [
        (1, "session.created", None),
        (2, "message.created", started.message_id),
        (3, "reply.started", started.reply_id),
    ]
    assert rows[0].data == {"session_id": "s", "user_id": "ana", "source": "api"}
    assert rows[1].metadata == {"n": [1, None, {"ñ": "漢"}]}
    assert {r.ts for r in rows} == {started.ts}
    message = await stores.messages.get(started.message_id)
    assert message is not None
    assert message.content == "good morning"
    assert message.created_at == started.ts


async def test_a_session_that_exists_is_not_made_twice(stores: Stores) -> None:
    assert await stores.more("s") is None
    await stores.new("s")
    again = await stores.messages.start_new(
        session_id="s", epoch=str(uuid.uuid4()), user_id="u", source="api", content="x",
        metadata={}, pod_id=POD, key=None,
    )  # fmt: skip
    assert again is None
    started = await stores.more("s")
    assert started is not None
    assert started.last_seq == 5
    assert await stores.more("s", viewer="somebody else") is None
    assert len((await stores.messages.page("s", limit=10)).rows) == 4


async def test_a_key_stands_for_one_chat(stores: Stores) -> None:
    key = Key("ana", "k", b"h" * 32)
    started = await stores.new("s", key=key)
    with pytest.raises(KeyTakenError):
        await stores.more("s", key=key)
    with pytest.raises(KeyTakenError):
        await stores.new("t", key=key)
    assert await stores.sessions.get("t") is None
    assert len(await stores.log("s")) == 3
    known = await stores.keys.get("ana", "k")
    assert known is not None
    assert (known.body_hash, known.reply_id) == (b"h" * 32, started.reply_id)
    assert await stores.keys.get("other", "k") is None


def intent(*, repeated: bool, renewed_after: float = 600.0) -> Key:
    return Key("ana", "asked", b"", Renewal(repeated, renewed_after))


async def test_first_calls_of_an_intent_at_the_same_instant_are_chats_of_their_own(
    stores: Stores,
) -> None:
    begun = await asyncio.gather(
        *(stores.new(name, key=intent(repeated=False)) for name in ("s", "t"))
    )
    known = await stores.keys.get("ana", "asked")
    assert known is not None
    stands_for = (known.session_id, known.message_id, known.reply_id, known.repeated)
    chats = [
        (name, one.message_id, one.reply_id, False)
        for name, one in zip(("s", "t"), begun, strict=True)
    ]
    assert stands_for in chats


async def test_the_key_of_a_repeated_call_is_taken_over_only_once_it_is_old(
    stores: Stores,
) -> None:
    await stores.new("other")
    repeated = await stores.new("s", key=intent(repeated=True))
    for again in (intent(repeated=False), intent(repeated=True)):
        refused = [stores.more("other", key=again), stores.new("t", key=again)]
        outcomes = await asyncio.gather(*refused, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [KeyTakenError] * 2
    assert await stores.sessions.get("t") is None
    assert len(await stores.log("other")) == 3
    known = await stores.keys.get("ana", "asked")
    assert known is not None
    assert (known.reply_id, known.repeated) == (repeated.reply_id, True)
    later = await stores.more("other", key=intent(repeated=False, renewed_after=0.0))
    known = await stores.keys.get("ana", "asked")
    assert known is not None
    assert later is not None
    assert (known.session_id, known.reply_id, known.repeated) == ("other", later.reply_id, False)


async def test_the_same_key_at_the_same_instant_starts_one_chat(stores: Stores) -> None:
    key = Key("ana", "k", b"h" * 32)
    outcomes = await asyncio.gather(
        *(stores.new(f"s{n}", key=key) for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(o, Started) for o in outcomes) == 1
    assert sum(isinstance(o, KeyTakenError) for o in outcomes) == 7
    found = [await stores.sessions.get(f"s{n}") for n in range(8)]
    assert sum(session is not None for session in found) == 1


async def test_numbers_have_no_gap_under_concurrency(stores: Stores) -> None:
    first = await stores.new("s")

    async def chat() -> None:
        started = await stores.more("s")
        assert started is not None
        assert await stores.finish("s", started.reply_id) is not None

    await asyncio.gather(*(chat() for _ in range(20)), stores.finish("s", first.reply_id))
    log = await stores.log("s")
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
    assert len(log) == 3 + 20 * 3 + 1
    session = await stores.sessions.get("s")
    assert session is not None
    assert session.last_seq == len(log)
    assert session.message_count == 42


async def test_a_failed_reply_is_tried_anew_once(stores: Stores) -> None:
    key = Key("ana", "k", b"h" * 32)
    started = await stores.new("s", key=key)
    await stores.finish("s", started.reply_id, status=ReplyStatus.FAILED)
    tries = await asyncio.gather(
        *(
            stores.messages.retry(
                session_id="s",
                message_id=started.message_id,
                failed_reply_id=started.reply_id,
                pod_id=POD,
                key=key,
            )
            for _ in range(5)
        )
    )
    (again,) = [t for t in tries if t is not None]
    assert again.message_id == started.message_id
    known = await stores.keys.get("ana", "k")
    assert known is not None
    assert known.reply_id == again.reply_id
    assert (await stores.log("s"))[-1] == (5, "reply.started")


async def test_a_message_is_answered_once_more(stores: Stores) -> None:
    started = await stores.new("s")

    async def ask(viewer: str | None, message_id: int) -> Started | None:
        return await stores.messages.regenerate(
            session_id="s", viewer=viewer, message_id=message_id, pod_id=POD, key=None
        )

    assert await ask(None, started.message_id) is not None
    assert await ask(None, started.reply_id) is None
    assert await ask("other", started.message_id) is None
    assert [m.reply_to for m in (await stores.messages.page("s", limit=9)).rows] == [
        started.message_id, started.message_id, None,
    ]  # fmt: skip
