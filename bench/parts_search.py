"""The search among millions of messages: rare, frequent, absent and Chinese words."""

from __future__ import annotations

import asyncio
import math
import random
import sqlite3
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from bench.context import Bench, Engine, path_of
from bench.results import Figure
from operator_svc.db import connect
from operator_svc.settings import Settings
from operator_svc.stores.sessions import SessionStore

MESSAGES, MESSAGES_A_SESSION = 2_500_000, 20
VOCABULARY = math.log(200_000)
"""Words are drawn as they are in texts: the second half as often as the first, and so on."""
WORDS_A_MESSAGE = 40
RARE_EVERY, OTHERS_EVERY = 100_000, 5
"""One message in so many has the rare words; one session in five is not of the user ``big``."""
ROUNDS = 9
TARGET_MS = 50.0

ASKED = {
    "a rare word": "unicorn",
    "a frequent word": "w1",
    "a word of a hundredth of the messages": "w300",
    "an absent word": "nowhere",
    "a word that only other users have": "others",
    "rare Chinese": "麒麟",
    "frequent Chinese": "中文",
    "a frequent and a rare word": "w1 unicorn",
    "two frequent words that never meet": "even odd",
    "the beginning of a rare word": "unic",
    "one letter after a rare word": "unicorn w",
    "one letter": "w",
}

_SQLITE_SESSIONS = """
INSERT INTO operator_session (
    session_id, epoch, user_id, source, message_count, created_at, updated_at, active_at
) VALUES (?, ?, ?, 'api', ?, ?, ?, ?)
"""
_POSTGRESQL = """
ALTER TABLE operator_message DISABLE TRIGGER ALL;
ALTER TABLE operator_search DISABLE TRIGGER ALL;
DROP INDEX operator_search_words;
INSERT INTO operator_session (session_id, epoch, user_id, source, message_count, active_at)
SELECT 's' || n, gen_random_uuid(),
    CASE WHEN n % {others_every} = 0 THEN 'u' || n % 97 ELSE 'big' END,
    'api', {each}, now() - n * interval '1 minute'
FROM generate_series(0, {sessions} - 1) AS n;
INSERT INTO operator_message (id, session_id, role, content, status)
SELECT n, 's' || n % {sessions}, 'user', 'x', 'complete'
FROM generate_series(1, {messages}) AS n;
INSERT INTO operator_search (message_id, session_id, words)
SELECT n, 's' || n % {sessions}, array_to_tsvector(
    ARRAY(
        SELECT DISTINCT 'w' || floor(exp(random() * {vocabulary}))::int
        FROM generate_series(1, {each_words} + n % 1)
    ) || CASE WHEN n % 2 = 0 THEN ARRAY['even', '中文', '文'] ELSE ARRAY['odd'] END
    || CASE WHEN n % {rare_every} = 1 THEN ARRAY['unicorn', '麒麟', '麟'] ELSE ARRAY[]::text[] END
    || CASE WHEN n % {sessions} % {others_every} = 0 THEN ARRAY['others'] ELSE ARRAY[]::text[] END
)
FROM generate_series(1, {messages}) AS n;
CREATE INDEX operator_search_words ON operator_search
USING gin (words) WITH (gin_pending_list_limit = 1024);
ALTER TABLE operator_message ENABLE TRIGGER ALL;
ALTER TABLE operator_search ENABLE TRIGGER ALL;
VACUUM ANALYZE;
"""


async def search(bench: Bench, engine: Engine) -> None:
    """Each search over all users and over a user with four fifths of the sessions."""
    messages = 100_000 if bench.quick else MESSAGES
    url = bench.database(engine)
    fill = _fill_sqlite if engine == "sqlite" else _fill_postgresql
    await asyncio.to_thread(fill, bench, url, messages)
    database = await connect(Settings(database_url=url))
    store = SessionStore(database)
    part = f"search-{engine}"
    try:
        for name, words in ASKED.items():
            for user in (None, "big"):
                times = []
                for _ in range(ROUNDS):
                    started = time.perf_counter()
                    found = await store.page(user_id=user, words=words, limit=51)
                    times.append((time.perf_counter() - started) * 1000)
                whose = "all users" if user is None else "one user"
                bench.add(
                    Figure(
                        part=part, value=statistics.median(times), unit="ms", target=TARGET_MS,
                        name=f"{name}, {whose}, {len(found.rows)} found of {messages:,} messages",
                    )
                )  # fmt: skip
    finally:
        await database.aclose()


def _fill_postgresql(bench: Bench, url: str, messages: int) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    script = _POSTGRESQL.format(
        messages=messages, sessions=messages // MESSAGES_A_SESSION, each=MESSAGES_A_SESSION,
        each_words=WORDS_A_MESSAGE, vocabulary=VOCABULARY, rare_every=RARE_EVERY,
        others_every=OTHERS_EVERY,
    )  # fmt: skip
    for statement in script.split(";\n"):
        if statement.strip():
            bench.postgres.execute(statement, name)


def _words(number: int, sessions: int) -> str:
    chance = random.random
    words = {f"w{int(math.exp(chance() * VOCABULARY))}" for _ in range(WORDS_A_MESSAGE)}
    words |= {"even", "中文", "文"} if number % 2 == 0 else {"odd"}
    if number % RARE_EVERY == 1:
        words |= {"unicorn", "麒麟", "麟"}
    if number % sessions % OTHERS_EVERY == 0:
        words.add("others")
    return " ".join(words)


def _sessions(sessions: int) -> Iterator[tuple[object, ...]]:
    for n in range(sessions):
        at = f"{2025 - n // 500_000}-06-01T{23 - n // 3600 % 24:02}:{59 - n // 60 % 60:02}:"
        at += f"{59 - n % 60:02}.{999_999 - n // 86_400:06}Z"
        user = "big" if n % OTHERS_EVERY else f"u{n % 97}"
        yield f"s{n}", "00000000-0000-4000-8000-000000000000", user, MESSAGES_A_SESSION, at, at, at


def _fill_sqlite(bench: Bench, url: str, messages: int) -> None:
    sessions = messages // MESSAGES_A_SESSION
    numbers = range(1, messages + 1)
    with sqlite3.connect(Path(path_of(url))) as database:
        database.executescript(
            "PRAGMA synchronous = OFF; DROP TRIGGER operator_search_insert;"
            "DROP TRIGGER operator_search_words_insert;"
        )
        database.executemany(_SQLITE_SESSIONS, _sessions(sessions))
        database.executemany(
            "INSERT INTO operator_message (id, session_id, role, content, status, created_at)"
            " VALUES (?, ?, 'user', 'x', 'complete', '2025-01-01T00:00:00.000000Z')",
            ((n, f"s{n % sessions}") for n in numbers),
        )
        database.executemany(
            "INSERT INTO operator_search (message_id, session_id, words) VALUES (?, ?, ?)",
            ((n, f"s{n % sessions}", _words(n, sessions)) for n in numbers),
        )
        database.execute(
            "INSERT INTO operator_search_words (operator_search_words) VALUES ('rebuild')"
        )
        database.execute("ANALYZE")
    database.close()
