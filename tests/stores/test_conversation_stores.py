"""The writes of a chat and what they leave, on both engines."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from operator_svc.db import Database
from operator_svc.models import MAX_ID, ReplyChunk, ReplyStatus
from operator_svc.stores.chat_keys import ChatKeyStore
from operator_svc.stores.events import EventStore
from operator_svc.stores.message_rows import Feedback, Key, Started, Streaming
from operator_svc.stores.messages import KeyTakenError, MessageStore
from operator_svc.stores.pods import PodStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.sessions import SessionStore

POD = "pod-1"


class Stores:
    """The stores of one database, and short ways to use them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.sessions = SessionStore(database)
        self.messages = MessageStore(database)
        self.events = EventStore(database)
        self.chunks = ReplyChunkStore(database)
        self.keys = ChatKeyStore(database)
        self.pods = PodStore(database)

    async def new(self, session_id: str, *, user: str = "ana", key: Key | None = None) -> Started:
        started = await self.messages.start_new(
            session_id=session_id,
            epoch=str(uuid.uuid4()),
            user_id=user,
            source="api",
            content="good morning",
            metadata={"n": [1, None, {"ñ": "漢"}]},
            pod_id=POD,
            key=key,
        )
        assert started is not None
        return started

    async def more(
        self,
        session_id: str,
        *,
        viewer: str | None = None,
        key: Key | None = None,
        exchanges: int = 10,
        max_chars: int = 16_000,
    ) -> Started | None:
        return await self.messages.start(
            session_id=session_id,
            viewer=viewer,
            content="and now",
            metadata={},
            pod_id=POD,
            key=key,
            exchanges=exchanges,
            max_chars=max_chars,
        )

    async def finish(
        self,
        session_id: str,
        reply_id: int,
        *,
        pod: str = POD,
        feedback: Feedback | None = None,
        status: ReplyStatus = ReplyStatus.COMPLETE,
        content: str = "it is done",
        begun_at: datetime | None = None,
    ) -> int | None:
        ended = await self.messages.finish(
            session_id=session_id,
            reply_id=reply_id,
            begun_at=begun_at or await self._begun_at(reply_id),
            pod_id=pod,
            status=status,
            content=content,
            metadata={"status": "ok"},
            feedback=feedback,
        )
        return ended.last_seq if ended else None

    async def append(self, pod: str, chunks: list[ReplyChunk]) -> dict[int, int]:
        begun_at = {chunk.reply_id: await self._begun_at(chunk.reply_id) for chunk in chunks}
        return await self.chunks.append(pod, chunks, begun_at)

    async def _begun_at(self, reply_id: int) -> datetime:
        reply = await self.messages.get(reply_id)
        return reply.created_at if reply else datetime.now(UTC)

    async def log(self, session_id: str) -> list[tuple[int, str]]:
        return [(e.seq, e.event) for e in (await self.events.after(session_id, 0, 1000)).rows]

    async def grow_old(self) -> None:
        """Make all events older than their retention."""
        async with self.database.transaction() as tx:
            await tx.execute("UPDATE operator_event SET ts = '2020-01-01T00:00:00.000000Z'")


@pytest.fixture
def stores(database: Database) -> Stores:
    return Stores(database)


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


def exchanges(started: Started | None) -> list[tuple[str, str]]:
    assert started is not None
    return [(exchange["question"], exchange["answer"]) for exchange in started.exchanges]


async def exchanges_before(stores: Stores, message_id: int) -> list[tuple[str, str]]:
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


async def test_only_the_owner_ends_a_reply_and_only_once(stores: Stores) -> None:
    started = await stores.new("s")
    await stores.append(POD, [ReplyChunk(started.reply_id, 0, "it is")])
    assert await stores.finish("s", started.reply_id, pod="another") is None
    feedback = Feedback("engine", True, 12, 34, None)
    assert await stores.finish("s", started.reply_id, feedback=feedback) == 4
    assert await stores.finish("s", started.reply_id) is None
    assert await stores.log("s") == [
        (1, "session.created"), (2, "message.created"),
        (3, "reply.started"), (4, "reply.completed"),
    ]  # fmt: skip
    assert await stores.chunks.after({started.reply_id: 0}) == []
    reply = await stores.messages.get(started.reply_id)
    assert reply is not None
    assert (reply.content, reply.status, reply.owner) == ("it is done", "complete", None)
    assert reply.finished_at is not None


async def test_a_reply_that_has_the_id_of_a_lost_one_is_left_alone(stores: Stores) -> None:
    started = await stores.new("s")
    lost = started.ts - timedelta(microseconds=1)
    chunk = ReplyChunk(started.reply_id, 0, "lost")
    assert await stores.chunks.append(POD, [chunk], {started.reply_id: lost}) == {}
    assert await stores.chunks.after({started.reply_id: 0}) == []
    assert await stores.finish("s", started.reply_id, begun_at=lost) is None
    assert await stores.append(POD, [chunk]) == {started.reply_id: 4}
    assert await stores.finish("s", started.reply_id) == 4


async def test_text_is_taken_from_the_owner_only(stores: Stores) -> None:
    one, two = await stores.new("s"), await stores.new("t")
    await stores.finish("t", two.reply_id)
    kept = await stores.append(
        POD,
        [ReplyChunk(one.reply_id, 0, 'a"b\\'), ReplyChunk(two.reply_id, 0, "late")],
    )
    assert kept == {one.reply_id: 4}
    assert await stores.append("another", [ReplyChunk(one.reply_id, 4, "x")]) == {}
    await stores.append(POD, [ReplyChunk(one.reply_id, 4, "漢😀")])
    pieces = await stores.chunks.after({one.reply_id: 0, two.reply_id: 0})
    assert [(c.offset, c.content) for c in pieces] == [(0, 'a"b\\'), (4, "漢😀")]
    assert [c.offset for c in await stores.chunks.after({one.reply_id: 4})] == [4]


async def test_text_whose_first_attempt_was_stored_goes_on_from_its_end(stores: Stores) -> None:
    one, two = await stores.new("s"), await stores.new("t")
    # The answer of this write was lost, so that its pod asks for the same offset again.
    await stores.append(POD, [ReplyChunk(one.reply_id, 0, "漢😀 half")])
    again = [ReplyChunk(one.reply_id, 0, "漢😀 half and more"), ReplyChunk(two.reply_id, 0, "two")]
    ends = await stores.append(POD, again)
    assert ends == {one.reply_id: 7, two.reply_id: 3}
    rest = [ReplyChunk(one.reply_id, 7, " and more"), ReplyChunk(two.reply_id, 3, "!")]
    assert await stores.append(POD, rest) == {one.reply_id: 16, two.reply_id: 4}
    assert (
        await stores.messages.interrupt(Streaming(one.reply_id, "s", POD, one.ts), {}) is not None
    )
    reply = await stores.messages.get(one.reply_id)
    assert reply is not None
    assert reply.content == "漢😀 half and more"


async def test_an_abandoned_reply_keeps_its_stored_text(stores: Stores) -> None:
    started = await stores.new("s")
    for offset, text in ((0, "half of "), (8, "a sentence")):
        await stores.append(POD, [ReplyChunk(started.reply_id, offset, text)])
    abandoned = Streaming(started.reply_id, "s", POD, started.ts)
    ends = await asyncio.gather(
        *(stores.messages.interrupt(abandoned, {"error": "reply_interrupted"}) for _ in range(4)),
        stores.finish("s", started.reply_id),
    )
    assert sum(end is not None for end in ends) == 1
    assert len(await stores.log("s")) == 4
    reply = await stores.messages.get(started.reply_id)
    assert reply is not None
    assert reply.content in ("half of a sentence", "it is done")


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


async def test_leases(stores: Stores) -> None:
    await stores.pods.register(POD, 30)
    assert await stores.pods.renew(POD, 30)
    assert not await stores.pods.renew("unknown", 30)
    started = await stores.new("s")
    assert await stores.messages.unowned("me") == []
    await stores.pods.remove(POD)
    (left,) = await stores.messages.unowned("me")
    assert (left.reply_id, left.owner) == (started.reply_id, POD)


async def test_cancel_requests_reach_the_owner(stores: Stores) -> None:
    started = await stores.new("s")
    asked = await stores.messages.request_cancel(started.reply_id)
    assert asked is not None
    assert asked.owner == POD
    (owned,) = await stores.messages.of_pod(POD)
    assert (owned.reply_id, owned.cancel_requested) == (started.reply_id, True)
    await stores.finish("s", started.reply_id, status=ReplyStatus.CANCELLED)
    assert await stores.messages.of_pod(POD) == []
    assert await stores.messages.request_cancel(started.reply_id) is None
    assert (await stores.log("s"))[-1] == (4, "reply.cancelled")


async def test_news_tells_what_moved_and_what_is_gone(stores: Stores) -> None:
    await stores.new("moved")
    await stores.new("still")
    news = await stores.sessions.news({"moved": 1, "still": 3, "gone": 7})
    assert {n.session_id: n.last_seq for n in news} == {"moved": 3, "gone": None}
    rows = (await stores.events.after_each({"moved": 1, "still": 2}, 100)).rows
    assert [(r.session_id, r.seq) for r in rows] == [("moved", 2), ("moved", 3), ("still", 3)]


async def test_deleting_takes_everything(stores: Stores) -> None:
    key = Key("ana", "k", b"h" * 32)
    started = await stores.new("s", key=key)
    await stores.append(POD, [ReplyChunk(started.reply_id, 0, "x")])
    assert await stores.sessions.delete("s", "other") is None
    deleted = await stores.sessions.delete("s", "ana")
    assert deleted is not None
    assert deleted.epoch == started.epoch
    assert await stores.sessions.delete("s", None) is None
    assert await stores.log("s") == []
    assert await stores.messages.get(started.message_id) is None
    assert await stores.keys.get("ana", "k") is None
    assert await stores.chunks.after({started.reply_id: 0}) == []
    assert await stores.finish("s", started.reply_id) is None
    assert (await stores.new("s")).epoch != started.epoch


async def test_purging_leaves_no_gap(stores: Stores) -> None:
    started = await stores.new("s")
    assert await stores.events.purge(1.0, 100) == []
    await stores.finish("s", started.reply_id)
    await stores.grow_old()
    assert len(await stores.events.purge(1.0, 2)) >= 2
    log = await stores.log("s")
    assert [seq for seq, _ in log] == list(range(5 - len(log), 5))
    while await stores.events.purge(1.0, 100):
        pass
    assert await stores.log("s") == []


async def test_the_list_is_newest_first_and_pages(stores: Stores) -> None:
    for n in range(5):
        await stores.new(f"s{n}", user="ana" if n % 2 else "eva")
    first = await stores.sessions.page(user_id=None, words=None, limit=3)
    assert [s.session_id for s in first.rows] == ["s4", "s3", "s2"]
    assert first.last is not None
    place = (first.last.active_at, first.last.id)
    rest = await stores.sessions.page(user_id=None, words=None, before=place, limit=3)
    assert [s.session_id for s in rest.rows] == ["s1", "s0"]
    mine = await stores.sessions.page(user_id="ana", words=None, limit=9)
    assert [s.session_id for s in mine.rows] == ["s3", "s1"]
