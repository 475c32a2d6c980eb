"""Replays as the transport of a client sees them: written in few pieces, at the client's pace."""

from __future__ import annotations

import asyncio

from operator_svc.services.live.send_queue import JOINED_BYTES
from tests.fakes.pods import Pods, chat, watch

CHATS, LONG_TEXT = 12, 6000
"""Chats of a session, and the characters of each reply: more than two writes of a replay."""


async def test_a_replay_is_written_in_few_writes_of_bounded_size(pods: Pods) -> None:
    pod = await pods.start()
    pods.switch.answer = ["w" * LONG_TEXT]
    stayed = await watch(pod, "s")
    for _ in range(CHATS):
        await pod.services.replies.wait(await chat(pod, session_id="s"))
    await stayed.until(lambda: len(stayed.endings) == CHATS)
    resumed = await watch(pod, "s", after=0)
    assert resumed.seqs == stayed.seqs == list(range(1, 3 * CHATS + 2))
    assert resumed.types() == ["event"] * len(resumed.seqs) + ["resumed"]
    assert len(resumed.writes) < len(resumed.seqs) / 4
    assert max(resumed.writes) < JOINED_BYTES + 2 * LONG_TEXT


async def test_a_replay_waits_for_a_client_that_does_not_read(pods: Pods) -> None:
    pod = await pods.start()
    pods.switch.answer = ["w" * LONG_TEXT]
    for _ in range(CHATS):
        await pod.services.replies.wait(await chat(pod, session_id="s"))
    reader = await watch(pod, "s")
    assert reader.subscription is not None
    reader.take_bytes = JOINED_BYTES // 2  # less than one write
    resuming = asyncio.create_task(reader.subscription.resume(0, None))
    await reader.until(lambda: reader.blocked)
    await asyncio.sleep(0.1)  # nothing more comes
    assert len(reader.writes) == 1
    assert not resuming.done()
    reader.take_bytes = None
    reader.blocked = False
    await resuming
    assert reader.seqs == list(range(1, 3 * CHATS + 2))
