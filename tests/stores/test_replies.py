"""Replies as they are stored: only their owner writes, ends and cancels them, under its lease."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from operator_svc.db import Database
from operator_svc.models import ReplyChunk, ReplyStatus
from operator_svc.stores.message_rows import Feedback, Streaming
from tests.fakes.eventually import eventually
from tests.stores.conversations import POD, Stores


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


async def test_text_whose_first_attempt_commits_meanwhile_goes_on_from_its_end(
    postgresql_database: Database,
) -> None:
    """On SQLite no other write is under way."""
    stores = Stores(postgresql_database)
    one, two = await stores.new("s"), await stores.new("t")
    both = [ReplyChunk(one.reply_id, 0, "half and more"), ReplyChunk(two.reply_id, 0, "two")]
    async with postgresql_database.transaction() as first:
        await first.execute(
            'INSERT INTO operator_reply_chunk (reply_id, "offset", content) VALUES (:id, 0, :text)',
            id=one.reply_id,
            text="half",
        )
        (backend,) = await first.fetch("SELECT pg_backend_pid()")
        again = asyncio.create_task(stores.append(POD, both))

        async def waits() -> bool:
            # One transaction sees the activity of one moment.
            async with postgresql_database.transaction() as beside:
                return bool(
                    await beside.fetch(
                        "SELECT 1 FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))",
                        pid=backend[0],
                    )
                )

        await eventually(waits)
    assert await again == {one.reply_id: 4, two.reply_id: 3}


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


async def test_a_reply_whose_owner_is_gone_is_unowned(stores: Stores) -> None:
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
