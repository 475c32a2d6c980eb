"""Sessions as they are stored: their list, their news, their deletion, and the purge of events."""

from __future__ import annotations

from operator_svc.models import ReplyChunk
from operator_svc.stores.message_rows import Key
from tests.stores.conversations import POD, Stores


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


async def test_a_session_begins_with_its_first_message_of_a_user(stores: Stores) -> None:
    """Long text is cut where it is stored, and a session made anew is another one."""
    for name, text in (("long", "é" * 500), ("short", "Hello"), ("gone", "Not mine")):
        await stores.new(name, content=text)
    await stores.more("short", content="Later")
    page = await stores.sessions.page(user_id=None, words=None, limit=9)
    rows = {s.session_id: s.id for s in page.rows}
    await stores.sessions.delete("gone", None)
    await stores.new("gone", user="eva", content="Hers")
    found = await stores.sessions.beginnings(list(rows.values()))
    assert found == {rows["long"]: "é" * 240, rows["short"]: "Hello"}
    assert await stores.sessions.beginnings([]) == {}
