"""The text of replies on other processes: by NATS as it comes, and stored at checkpoints."""

from __future__ import annotations

import asyncio
import itertools
import random
import tracemalloc
from datetime import UTC, datetime

import msgspec
import pytest

from operator_svc.app import Operator
from operator_svc.bus import ReplyPiece
from operator_svc.models import MAX_REPLY_CHARS
from operator_svc.protocol.frames import PIECE_CHARS
from operator_svc.services.chat.running_replies import RunningReplies
from operator_svc.services.live.dismissals import Dismissals
from operator_svc.services.live.feed import Feed
from operator_svc.services.live.reply_stream import EARLY_PIECES, ReplyStream
from operator_svc.settings import NATS_CHECKPOINT, Settings
from tests.fakes.eventually import eventually
from tests.fakes.nats_server import Frame, NatsRelay, NatsServer
from tests.fakes.pods import ANYBODY, BRIEF_LEASE, Pods, chat, watch

pytestmark = pytest.mark.one_bus

NEVER = 60.0
"""Seconds between checkpoints of which no test sees one."""


async def stored_text(pod: Operator, reply_id: int) -> str:
    """The text of a running reply as the database has it."""
    return "".join(chunk.content for chunk in await pod.core.stores.chunks.after({reply_id: 0}))


async def test_text_that_is_not_stored_yet_is_shown_by_another_pod(nats_pods: Pods) -> None:
    one = await nats_pods.start(checkpoint=NEVER)
    two = await nats_pods.start(checkpoint=NEVER)
    reader = await watch(two, "s")
    accepted = await chat(one, session_id="s")
    for piece in ("Guten ", "Mor", "gen 😀"):
        nats_pods.switch.say(piece)
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == "Guten Morgen 😀")
    await asyncio.sleep(0.1)  # five ticks, with none of which it is stored
    assert await stored_text(one, accepted.reply_id) == ""
    nats_pods.switch.say("!", None)
    await reader.until(lambda: accepted.reply_id in reader.endings)
    assert reader.texts[accepted.reply_id] == "Guten Morgen 😀!"


async def test_who_comes_in_the_midst_of_a_reply_is_shown_all_of_it(nats_pods: Pods) -> None:
    one, two = await nats_pods.start(checkpoint=0.2), await nats_pods.start()
    accepted = await chat(one, session_id="s")
    nats_pods.switch.say("one ")
    await eventually(lambda: accepted.running and accepted.running.stream.stored_end == 4)
    nats_pods.switch.say("two ")
    late = await watch(two, "s")
    nats_pods.switch.say("three")
    await late.until(lambda: late.texts.get(accepted.reply_id) == "one two three")
    nats_pods.switch.say(None)
    await late.until(lambda: accepted.reply_id in late.endings)


async def test_a_last_piece_that_was_lost_comes_with_the_next_checkpoint(
    nats_pods: Pods, relay: NatsRelay
) -> None:
    one, two = await nats_pods.start(checkpoint=0.1), await nats_pods.start()
    reader = await watch(two, "s")
    accepted = await chat(one, session_id="s")
    nats_pods.switch.say("some ")
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == "some ")
    lost: list[Frame] = []

    def lose(frame: Frame) -> list[Frame]:
        if b"text" in frame:
            lost.append(frame)
            return []
        return [frame]

    relay.change = lose
    nats_pods.switch.say("text")
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == "some text")
    assert lost
    nats_pods.switch.say(None)
    await reader.until(lambda: accepted.reply_id in reader.endings)


async def test_without_nats_text_is_stored_with_each_tick(
    nats_pods: Pods, nats_server: NatsServer
) -> None:
    one, two = await nats_pods.start(checkpoint=NEVER), await nats_pods.start(checkpoint=NEVER)
    reader = await watch(two, "s")
    nats_server.stop()
    try:
        await eventually(lambda: one.core.bus.degraded)
        accepted = await chat(one, session_id="s")
        nats_pods.switch.say("hello")
        await reader.until(lambda: reader.texts.get(accepted.reply_id) == "hello")
        assert await stored_text(one, accepted.reply_id) == "hello"
        nats_pods.switch.say(None)
        await reader.until(lambda: accepted.reply_id in reader.endings)
    finally:
        nats_server.start()


async def test_a_kill_loses_no_text_that_a_checkpoint_has_stored(pods: Pods) -> None:
    one = await pods.start(checkpoint=0.1, lease_ttl=BRIEF_LEASE)
    accepted = await chat(one, session_id="s")
    pods.switch.say("kept ")
    await eventually(lambda: accepted.running and accepted.running.stream.stored_end == 5)
    pods.switch.say("maybe not")
    await eventually(lambda: accepted.running and accepted.running.stream.ends["text"] == 14)
    await pods.kill(one)
    other = await pods.start(lease_ttl=BRIEF_LEASE)

    async def ended() -> str | None:
        view = await other.services.history.reply(ANYBODY, accepted.reply_id)
        return view.content if view.status == "interrupted" else None

    assert await eventually(ended) in ("kept ", "kept maybe not")


async def test_checkpoints_are_rarer_than_ticks(pods: Pods) -> None:
    one = await pods.start(checkpoint=NEVER)
    accepted = await chat(one, session_id="s")
    pods.switch.say("not stored before its end")
    await eventually(lambda: accepted.running and not accepted.running.stream.empty)
    await asyncio.sleep(0.1)  # five ticks, with none of which it is stored
    assert await stored_text(one, accepted.reply_id) == ""
    pods.switch.say(None)
    outcome = await one.services.replies.wait(accepted)
    assert outcome is not None
    assert outcome.content == "not stored before its end"


@pytest.mark.parametrize(
    ("given", "degraded", "seconds"),
    [
        ({}, False, 0.1),
        ({"tick": 0.5}, False, 0.5),
        ({"checkpoint": 2.0}, False, 2.0),
        ({"bus_url": "nats://n"}, False, NATS_CHECKPOINT),
        ({"bus_url": "nats://n", "checkpoint": 3.0}, False, 3.0),
        ({"bus_url": "nats://n", "checkpoint": 3.0}, True, 0.1),
    ],
)
def test_the_interval_of_checkpoints(
    given: dict[str, str | float], degraded: bool, seconds: float
) -> None:
    settings = Settings(**given)  # type: ignore[arg-type]  # of mixed types
    assert settings.text_interval(bus_degraded=degraded) == seconds


@pytest.mark.parametrize("seed", range(20))
def test_pieces_in_any_order_and_number_make_the_text(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret
    text = "".join(chr(97 + n % 26) for n in range(300))
    cuts = sorted({0, 300, *(dice.randrange(300) for _ in range(40))})
    pieces = [(a, text[a:b]) for a, b in itertools.pairwise(cuts)]
    pieces += dice.choices(pieces, k=20)
    pieces += [(a, text[a : a + dice.randrange(50)]) for a in range(0, 300, 40)]
    pieces += [(a, "") for a in dice.choices(cuts, k=5)]
    dice.shuffle(pieces)
    stream = ReplyStream("s", 1, datetime.now(UTC), local=False)
    for offset, content in pieces:
        stream.take(offset, content)
    assert (stream.text(), stream.has_gap) == (text, False)


def test_text_that_waits_is_bounded_whatever_comes() -> None:
    begun_at = datetime.now(UTC)
    stream = ReplyStream("s", 1, begun_at, local=False)
    feed = Feed("s", RunningReplies(), Dismissals())
    tracemalloc.start()
    try:
        for n in range(EARLY_PIECES):
            stream.take(1 + n, "x" * PIECE_CHARS)
            feed.take(ReplyPiece("s", 1, begun_at, 1 + n, "x" * PIECE_CHARS))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * (MAX_REPLY_CHARS + 2 * PIECE_CHARS)
    stream.take(0, "x" * PIECE_CHARS)
    assert stream.text().startswith("x" * PIECE_CHARS)


def test_pieces_that_wait_are_bounded_and_the_text_before_them_is_not_refused() -> None:
    stream = ReplyStream("s", 1, datetime.now(UTC), local=False)
    for n in range(2 * EARLY_PIECES):
        stream.take(1000 + 2 * n, "x")
    assert stream.empty
    stream.take(0, "a" * 1000)
    assert stream.text() == "a" * 1000 + "x"
    assert stream.has_gap
    stream.take(1000, "x" * 4 * EARLY_PIECES)
    assert (len(stream.text()), stream.has_gap) == (1000 + 4 * EARLY_PIECES, False)


BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
STRANGE = {
    "nothing": b"",
    "a reply longer than any": msgspec.msgpack.encode(["piece", "s", 1, BEGUN, 2**62, "x"]),
    "a piece longer than any": msgspec.msgpack.encode(["piece", "s", 1, BEGUN, 0, "x" * 900_000]),
    "half a character": b"\x92\xa4news\xa3\xed\xa0\x80",
    "no UTF-8": b"\x92\xa4news\xa2\xff\xfe",
    "a deep one": b"\x93\xa4news\xa1s" + b"\x91" * 100_000,
    "a list of 4 billion": b"\xdd\xff\xff\xff\xff",
    "another session's": msgspec.msgpack.encode(["news", "\0"]),
}
"""Messages of strangers."""


async def test_messages_of_strangers_are_passed_over(nats_pods: Pods, relay: NatsRelay) -> None:
    one, two = await nats_pods.start(), await nats_pods.start()
    reader = await watch(two, "s")
    accepted = await chat(one, session_id="s")

    def beside(frame: Frame) -> list[Frame]:
        head = frame.partition(b"\r\n")[0].rsplit(b" ", 1)[0]
        others = [b"%b %d\r\n%b\r\n" % (head, len(m), m) for m in STRANGE.values()]
        return [*others, frame, *others]

    relay.change = beside
    for word in ("some ", "text"):
        nats_pods.switch.say(word)
        await asyncio.sleep(0)  # so that each is a piece of its own
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == "some text")
    nats_pods.switch.say(None)
    await reader.until(lambda: accepted.reply_id in reader.endings)
    assert not two.core.bus.degraded
