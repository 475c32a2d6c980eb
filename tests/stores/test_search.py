"""The index of words: what is found by it, on both engines, and how it is filled."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence

import pytest

from operator_svc.db import Database
from operator_svc.protocol.search_words import search_query, words_of
from operator_svc.services.search_indexer import SearchIndexer
from operator_svc.stores import search
from operator_svc.stores.search import SearchIndexStore
from operator_svc.stores.sessions import NEWEST
from tests.stores.conversations import Stores

LONG_AGO = "'2026-01-01T00:00:00.000000Z'"


class Conversations(Stores):
    """Sessions with messages in them, and the search over them."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.index = SearchIndexStore(database)
        self.indexer = SearchIndexer(self.index)

    async def say(self, session_id: str, *texts: str, user: str = "ana") -> None:
        """Chats in a session, which is made where it is not there, each with an empty reply."""
        for text in texts:
            started = await self.more(session_id, content=text) or await self.new(
                session_id, user=user, content=text
            )
            assert await self.finish(session_id, started.reply_id, content="")

    async def begin(self, session_id: str) -> int:
        """A chat whose reply is being written; the reply's id."""
        return (await self.new(session_id, content="question")).reply_id

    async def found(self, words: str, *, user: str | None = None, limit: int = 50) -> list[str]:
        page = await self.sessions.page(user_id=user, words=words, limit=limit)
        return [session.session_id for session in page.rows]

    async def count(self, table: str) -> int:
        async with self.database.transaction() as tx:
            return int((await tx.fetch(f"SELECT count(*) FROM {table}"))[0][0])

    async def check_index(self) -> None:
        """Let FTS5 compare its index with the rows that it is of."""
        if self.database.dialect == "sqlite":
            async with self.database.transaction() as tx:
                await tx.execute(
                    "INSERT INTO operator_search_words (operator_search_words, rank)"
                    " VALUES ('integrity-check', 1)"
                )


@pytest.fixture
def talk(database: Database) -> Conversations:
    return Conversations(database)


@pytest.mark.parametrize(
    ("text", "asked", "found"),
    [
        ("good morning", "good", True),
        ("good morning", "GOOD morning", True),
        ("good morning", "mor good", False),
        ("good morning", "good mor", True),
        ("good morning", "oo", False),
        ("good morning", '"good" AND mor*', False),
        ("good morning", "(good) -mor*", True),
        ("good morning", "good:* & !morning", True),
        ("good morning", "NEAR(good)", False),
        ("good morning", "--", False),
        ("good morning", "''\\", False),
        ("café crème", "CAFE CREME", True),
        ("cafe creme", "café", True),
        ("foo_bar", "bar foo", True),
        ("see app_main.py", "app_main.p", True),
        ("see app_main.py", "main py", True),
        ("日本語の文章", "日本語", True),
        ("日本語の文章", "本", True),
        ("日本語の文章", "章", True),
        ("日本語の文章", "中国", False),
        ("ค้นหาข้อความ", "ข้อความ", True),
        ("ខ្ញុំចង់រៀនភាសាខ្មែរ", "ភាសា", True),
        ("ကျွန်တော်မြန်မာစာ", "မြန်မာ", True),
        ("한국어를 찾기", "한국어", True),
        ("ｶﾒﾗ", "カメラ", True),
        ("😀 smile", "😀 smi", True),
        ("x" * 3000, "x" * 3000, True),
        ("and or not near", "and or not near", True),
    ],
)
async def test_words_are_compared_the_same_on_both_engines(
    talk: Conversations, text: str, asked: str, found: bool
) -> None:
    await talk.say("s", text)
    await talk.say("other", "nothing of the kind")
    await talk.indexer.run()
    assert await talk.found(asked) == (["s"] if found else [])
    assert await talk.found(asked, user="ana") == (["s"] if found else [])
    assert await talk.found(asked, user="eva") == []


async def test_all_words_must_stand_in_one_message(talk: Conversations) -> None:
    await talk.say("apart", "first one", "second two")
    await talk.say("together", "first of the second")
    await talk.indexer.run()
    assert await talk.found("first second") == ["together"]


WORDS = ["a", "ab", "abc", "b", "bc", "rare", "日本", "本語", "é"]


@pytest.mark.parametrize("look", [(1, 1), (3, 12), (1_000, 10_000)])
async def test_every_way_to_search_finds_the_same(
    talk: Conversations, look: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of each page: sessions are looked through, or the index is asked."""
    monkeypatch.setattr(search, "FIRST_LOOK", look[0])
    monkeypatch.setattr(search, "WIDER_LOOK", look[1])
    monkeypatch.setattr(search, "SAMPLE", 5)
    chance = random.Random(7)  # noqa: S311 - no secret
    said: dict[str, list[str]] = {}
    users: dict[str, str] = {}
    for n in range(24):
        texts = [
            " ".join(chance.choices(WORDS, [9, 5, 3, 9, 5, 1, 3, 3, 3], k=chance.randint(1, 4)))
            for _ in range(chance.randint(1, 3))
        ]
        said[f"s{n}"], users[f"s{n}"] = texts, "ana" if n % 3 else "eva"
        await talk.say(f"s{n}", *texts, user=users[f"s{n}"])
    await talk.indexer.run()
    for k in (1, 2):
        for asked in itertools.product(WORDS, repeat=k):
            words = " ".join(asked)
            user = chance.choice([None, "ana", "eva"])
            wanted = [
                session_id
                for session_id in reversed(said)
                if user in (None, users[session_id]) and has(said[session_id], words)
            ]
            assert await paged(talk, words, user) == wanted, (words, user)


def has(texts: Sequence[str], asked: str) -> bool:
    """The meaning of a search, spelled out."""
    query = search_query(asked)
    return any(
        set(query.words) <= set(words)
        and all(any(w.startswith(p) for w in words) for p in query.prefixes)
        for words in (words_of(text).split() for text in texts)
    )


async def paged(talk: Conversations, words: str, user: str | None) -> list[str]:
    found: list[str] = []
    before = NEWEST
    while True:
        page = await talk.sessions.page(user_id=user, words=words, before=before, limit=3)
        found += [session.session_id for session in page.rows]
        if page.last is None:
            return found
        before = (page.last.active_at, page.last.id)


async def test_a_reply_is_found_when_it_is_finished(talk: Conversations) -> None:
    reply_id = await talk.begin("s")
    await talk.indexer.run()
    assert await talk.found("question") == ["s"]
    assert await talk.found("answer") == []
    await talk.finish("s", reply_id, content="the answer")
    await talk.indexer.run()
    assert await talk.found("answer") == ["s"]
    assert await talk.count("operator_search_queue") == 0


async def test_deleting_a_session_deletes_its_words(talk: Conversations) -> None:
    await talk.say("kept", "shared words")
    await talk.say("gone", "shared words", "more of them")
    await talk.indexer.run()
    await talk.say("gone", "not indexed yet")
    await talk.sessions.delete("gone", None)
    assert await talk.count("operator_search") == 1
    await talk.check_index()
    assert await talk.found("shared") == ["kept"]
    await talk.indexer.run()
    assert await talk.count("operator_search_queue") == 0
    await talk.say("gone", "a new life")
    await talk.indexer.run()
    assert await talk.found("words") == ["kept"]
    assert await talk.found("life") == ["gone"]


async def test_claims_are_disjoint_and_bounded(talk: Conversations) -> None:
    for n in range(12):
        await talk.say(f"s{n}", "x" * 100)
    claims = await asyncio.gather(*(talk.index.claim(30, messages=7, size=10**6) for _ in range(6)))
    ids = [row.message_id for claim in claims for row in claim]
    assert len(ids) == len(set(ids)) == 24
    assert max(map(len, claims)) <= 7
    assert await talk.index.claim(30, messages=7, size=10**6) == []


async def test_a_claim_takes_one_message_however_long_it_is(talk: Conversations) -> None:
    await talk.say("s", "y" * 5_000, "x" * 5_000)
    sizes = []
    while claim := await talk.index.claim(30, messages=10, size=1_000):
        sizes.append([len(row.content or "") for row in claim])
    assert sorted(itertools.chain(*sizes)) == [0, 0, 5_000, 5_000]
    assert all(size.count(5_000) <= 1 for size in sizes)


async def test_what_a_dead_pod_claimed_is_indexed_by_another(talk: Conversations) -> None:
    await talk.say("s", "left behind")
    assert await talk.index.claim(30, messages=10, size=10**6)
    await talk.indexer.run()
    assert await talk.found("left") == []
    async with talk.database.transaction() as tx:
        await tx.execute(f"UPDATE operator_search_queue SET claimed_until = {LONG_AGO}")
    await talk.indexer.run()
    assert await talk.found("left") == ["s"]


async def test_a_message_that_is_stored_twice_stays_once(talk: Conversations) -> None:
    await talk.say("s", "once")
    (claim,) = [row for row in await talk.index.claim(0, messages=10, size=100) if row.content]
    for _ in range(2):
        await talk.index.store([(claim.message_id, "once"), (10**9, "never there")])
    assert await talk.count("operator_search") == 1
    await talk.indexer.run()
    assert await talk.found("once") == ["s"]
    await talk.sessions.delete("s", None)
    await talk.check_index()


async def test_messages_from_before_the_index_are_filled_in(talk: Conversations) -> None:
    for n in range(30):
        await talk.say(f"s{n}", f"old words of {n}")
    reply_id = await talk.begin("running")
    async with talk.database.transaction() as tx:
        await tx.execute("DELETE FROM operator_search_queue")
        await tx.execute("INSERT INTO operator_search_backfill VALUES (:id)", id=reply_id + 1)
    await talk.say("new", "new words")
    await asyncio.gather(*(talk.indexer.run() for _ in range(4)))
    while await talk.index.backfill(10):
        await talk.indexer.run()
    await talk.indexer.run()
    assert len(await talk.found("words")) == 31
    assert await talk.found("question") == ["running"]
    await talk.finish("running", reply_id, content="it came late")
    await talk.indexer.run()
    assert await talk.found("late") == ["running"]
    assert await talk.count("operator_search_backfill") == 0
    assert await talk.count("operator_search") == 33


async def test_messages_that_are_indexed_again_have_their_new_words_only(
    talk: Conversations,
) -> None:
    for n in range(3):
        await talk.say(f"s{n}", f"new words of {n}")
    await talk.indexer.run()
    outdated = "to_tsvector('simple', 'old')" if talk.database.dialect == "postgresql" else "'old'"
    async with talk.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_search_backfill SELECT max(id) + 1 FROM operator_message"
        )
        await tx.execute("DELETE FROM operator_search WHERE session_id = 's1'")
        await tx.execute(
            "INSERT INTO operator_search (message_id, session_id, words)"
            f" SELECT id, session_id, {outdated} FROM operator_message WHERE session_id = 's1'"
        )
    assert await talk.found("old") == ["s1"]
    await talk.indexer.run()
    assert await talk.found("old") == []
    assert await talk.found("new words") == ["s2", "s1", "s0"]
    await talk.check_index()


async def test_backfilling_goes_on_where_it_was(talk: Conversations) -> None:
    for n in range(10):
        await talk.say(f"s{n}", f"old words of {n}")
    async with talk.database.transaction() as tx:
        await tx.execute("DELETE FROM operator_search_queue")
        await tx.execute("INSERT INTO operator_search_backfill VALUES (:id)", id=10**9)
    assert await talk.index.backfill(6)
    assert await talk.count("operator_search_queue") == 6
    assert await talk.index.backfill(6)
    assert await talk.count("operator_search_queue") == 12
    await talk.indexer.run()
    assert await talk.found("words", limit=3) == ["s9", "s8", "s7"]
    assert len(await talk.found("words")) == 10
    assert not await talk.index.backfill(6)
