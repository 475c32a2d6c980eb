"""Writes that the database did and whose answers nobody heard."""

from __future__ import annotations

import asyncio
import itertools
import signal
from urllib.parse import urlencode

from tests.cluster.checks import history_of
from tests.cluster.clients import Reader
from tests.cluster.conftest import Cluster
from tests.fakes.eventually import eventually
from tests.fakes.relay import Relay

STORED = b"\x00\x01\x00\x00\x00\x08" + bytes(7)
"""Within PostgreSQL's answer to the write of new text: a row with one integer, which is small."""
RATE = 40
UNSTORED = 200
"""Characters that may be shown and not stored yet: a second of a reply of ``RATE`` words."""


async def test_text_goes_on_being_stored_after_answers_were_lost(empty_cluster: Cluster) -> None:
    cluster = empty_cluster
    async with Relay(cluster.server.folder) as relay:
        name = cluster.url.partition("@/")[2].partition("?")[0]
        url = f"postgresql://postgres@/{name}?{urlencode({'host': str(relay.folder)})}"
        victim = await cluster.add(OPERATOR_DATABASE_URL=url)
        reader = Reader(cluster, "s0", "reader")
        reading = asyncio.create_task(reader.run())
        replies: list[int] = []
        for number in range(3):
            body = {
                "session_id": f"s{number}",
                "message": f"{number} [[rate={RATE}]][[tokens=400]]",
            }
            async with cluster.http.post(
                f"{victim.url}/operator/chat", json=body, headers={"Prefer": "respond-async"}
            ) as answer:
                assert answer.status == 202
                replies.append((await answer.json())["reply_id"])
        turns = itertools.count(1)
        relay.lose_answers(lambda data: STORED in data and next(turns) % 3 == 0)
        await eventually(lambda: relay.lost >= 4)
        relay.lose_answers(lambda _: False)
        await asyncio.sleep(1.0)  # the writer stores again
        await victim.end(signal.SIGKILL)
        cluster.pods.remove(victim)
        shown = len(reader.view.texts[replies[0]])
        reading.cancel()
    await cluster.add()
    await eventually(lambda: _ended(cluster, replies), within=30.0, every=0.3)
    for number, reply in enumerate(replies):
        stored = {m["id"]: m["content"] for m in await history_of(cluster, f"s{number}")}[reply]
        assert len(stored) > shown - UNSTORED, (number, len(stored), shown)


async def _ended(cluster: Cluster, replies: list[int]) -> bool:
    rows = await cluster.execute("SELECT id FROM operator_message WHERE status = 'interrupted'")
    return {row[0] for row in rows} >= set(replies)
