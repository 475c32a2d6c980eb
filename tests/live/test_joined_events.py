"""Events that come together are one write for each client, of bounded size."""

from __future__ import annotations

from datetime import UTC, datetime

from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.send_queue import JOINED_BYTES
from tests.fakes.eventually import eventually
from tests.fakes.pods import Pods, chat, say, watch

EVENTS, LONG = 40, 4096
"""Events that come at once, and the bytes of each: several times what is joined."""


async def test_the_events_that_begin_a_chat_are_one_write_on_every_pod(shared: Pods) -> None:
    here, there = await shared.start(), await shared.start()
    await say(shared, here, "first")
    readers = [await watch(pod, "s") for pod in (here, there)]
    begun = await chat(here, session_id="s")
    await eventually(lambda: all(len(reader.seqs) == 2 for reader in readers))
    shared.switch.say("text", None)
    await eventually(lambda: all(reader.endings for reader in readers))
    for reader in readers:
        types = [frame["type"] for frame in reader.frames]
        assert types[:2] == ["event", "event"]
        assert len(reader.writes) == len(types) - 1
        assert reader.texts == {begun.reply_id: "text"}


async def test_many_events_at_once_are_writes_of_bounded_size(pods: Pods) -> None:
    pod = await pods.start()
    await say(pods, pod, "first")
    reader, slow = await watch(pod, "s"), await watch(pod, "s")
    slow.take_bytes = JOINED_BYTES
    assert reader.subscription is not None
    last, now = reader.subscription.feed.last_seq, datetime.now(UTC)
    events = [LiveEvent("s", last + n, "e", now, {"x": "x" * LONG}) for n in range(1, EVENTS + 1)]
    pod.core.hub.publish("s", *events)
    assert reader.seqs == [event.seq for event in events]
    assert len(reader.writes) < EVENTS / 4
    assert max(reader.writes) < JOINED_BYTES + 2 * LONG
    # One that does not read has been sent one write; the rest waits in its queue.
    assert slow.subscription is not None
    assert len(slow.writes) == 1
    waiting = events[len(slow.seqs) :]
    assert slow.subscription.send_queue.queued_bytes == sum(len(e.frame) for e in waiting)
