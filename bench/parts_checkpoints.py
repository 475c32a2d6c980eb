"""The log that PostgreSQL writes for the text of running replies, by how often it is stored."""

from __future__ import annotations

import itertools
from datetime import datetime

import psycopg

from bench.context import Bench
from bench.results import Figure
from bench.seed import WORDS
from operator_svc.db import connect
from operator_svc.models import ReplyChunk
from operator_svc.settings import Settings
from operator_svc.stores.reply_chunks import ReplyChunkStore

REPLIES = 100
"""Replies whose text is stored together, with one statement a checkpoint."""
TOKENS, RATE = 400, 50
INTERVALS = (0.1, 1.0, 3.0)
"""Seconds between checkpoints: the defaults without and with NATS, and a longer one."""
BEGIN = """
WITH session AS (
    INSERT INTO operator_session (session_id, epoch, user_id, source)
    SELECT 's-' || i, gen_random_uuid(), 'u', 'api' FROM generate_series(1, %s) AS i
    RETURNING session_id
)
INSERT INTO operator_message (session_id, role, content, status, owner)
SELECT session_id, 'assistant', '', 'streaming', 'pod' FROM session
RETURNING id, created_at
"""


async def checkpoints(bench: Bench) -> None:
    """Store the text of a hundred replies in pieces, and delete these, as the replies' end does."""
    for seconds in INTERVALS:
        url = bench.database("postgresql")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            begun: dict[int, datetime] = dict(
                await (await connection.execute(BEGIN, (REPLIES,))).fetchall()
            )
            before = bench.database_log()
            stored = await _store(url, begun, int(RATE * seconds))
            await connection.execute("DELETE FROM operator_reply_chunk")
            log = bench.database_log() - before
        each = f"stored every {seconds:g} s"
        bench.add(
            Figure(part="checkpoints", name=f"log of the chunks of a reply of 400 words, {each}",
                   value=log / REPLIES, unit="B"),
            Figure(part="checkpoints", name=f"the same without the text itself, {each}",
                   value=(log - stored) / REPLIES, unit="B"),
        )  # fmt: skip


async def _store(url: str, begun: dict[int, datetime], words: int) -> int:
    """Store the replies, so many words at a time; the bytes of their text."""
    database = await connect(Settings(database_url=url))
    chunks = ReplyChunkStore(database)
    text = [f"{word} " for word in itertools.islice(itertools.cycle(WORDS.split()), TOKENS)]
    offset = 0
    for start in range(0, TOKENS, words):
        piece = "".join(text[start : start + words])
        await chunks.append("pod", [ReplyChunk(reply, offset, piece) for reply in begun], begun)
        offset += len(piece)
    await database.aclose()
    return offset * len(begun)
