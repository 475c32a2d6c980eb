"""A database that was switched over to its standby, as clients see it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from operator_svc.app import Operator
from operator_svc.db.migrations import migrate
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.reply_stream import ReplyStream
from tests.fakes.eventually import eventually
from tests.fakes.pgbouncer import PgBouncer
from tests.fakes.pods import Pods, Reader, chat, epoch_of, say, watch
from tests.fakes.relay import Relay
from tests.fakes.standby import Pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    migrate(made.first.url(made.database))
    yield made
    made.remove()


@pytest.fixture
async def switched(pair: Pair) -> AsyncIterator[Pods]:
    """Pods on a primary and its standby."""
    some = Pods(pair.url)
    yield some
    await some.aclose()


async def back(pod: Operator) -> None:
    """Wait until the database is there again."""

    async def reached() -> bool:
        try:
            await pod.core.database.ping()
        except OperatorError:
            return False
        return True

    await eventually(reached)


def is_cut(reader: Reader) -> bool:
    """The client was sent away to come back."""
    return reader.cut_off and not reader.gone_at


async def kept_and_lost(switched: Pods, pair: Pair) -> tuple[Operator, str | None]:
    """A pod whose second reply the standby does not get, and the epoch of its session."""
    pod = await switched.start()
    await say(switched, pod, "kept")
    epoch = await epoch_of(pod)
    await asyncio.to_thread(pair.lose_from_now)
    await say(switched, pod, "lost")
    return pod, epoch


async def test_a_log_that_lost_commits_cuts_its_clients_who_then_resync(
    switched: Pods, pair: Pair
) -> None:
    pod, epoch = await kept_and_lost(switched, pair)
    ahead = await watch(pod, "s", after=0, epoch=epoch)
    assert ahead.seqs == list(range(1, 8))
    await asyncio.to_thread(pair.fail_over)
    await back(pod)
    await eventually(lambda: is_cut(ahead))
    again = await watch(pod, "s", after=7, epoch=epoch)
    assert again.types() == ["resync"]
    assert again.seq == 4
    assert again.epoch != epoch
    assert again.texts == {2: "kept"}
    await say(switched, pod, "new")
    await again.until(lambda: again.seq == 7)


async def test_a_client_that_was_ahead_resyncs_when_the_log_has_grown_again(
    switched: Pods, pair: Pair
) -> None:
    pod, epoch = await kept_and_lost(switched, pair)
    await asyncio.to_thread(pair.fail_over)
    await back(pod)
    for _ in range(3):
        await say(switched, pod, "others")
    ahead = await watch(pod, "s", after=7, epoch=epoch)
    assert ahead.types() == ["resync"]
    assert ahead.seq == 13
    fresh = await epoch_of(pod)
    caught_up = await watch(pod, "s", after=10, epoch=fresh)
    assert caught_up.types()[-1] == "resumed"


async def test_a_client_that_was_there_before_its_session_resyncs_too(
    switched: Pods, pair: Pair
) -> None:
    pod = await switched.start()
    early = await watch(pod, "s", after=0)
    assert early.epoch is None
    await say(switched, pod, "kept")
    await early.until(lambda: early.seq == 4)
    await asyncio.to_thread(pair.second.catch_up)
    await asyncio.to_thread(pair.fail_over)
    await back(pod)
    again = await watch(pod, "s", after=4, epoch=early.epoch)
    assert early.epoch is not None
    assert again.types() == ["resync"]


async def test_a_session_that_was_lost_is_told_as_no_deletion(switched: Pods, pair: Pair) -> None:
    pod = await switched.start()
    await asyncio.to_thread(pair.lose_from_now)
    await say(switched, pod, "lost")
    epoch = await epoch_of(pod)
    ahead = await watch(pod, "s", after=0, epoch=epoch)
    await asyncio.to_thread(pair.fail_over)
    await back(pod)
    await eventually(lambda: is_cut(ahead))
    again = await watch(pod, "s", after=4, epoch=epoch)
    assert again.types() == ["resync"]
    assert (again.seq, again.epoch) == (0, None)


async def test_a_log_that_stands_behind_what_was_shown_cuts_its_clients(shared: Pods) -> None:
    """Also where the server does not tell that it is another."""
    pod = await shared.start()
    await say(shared, pod, "one")
    await say(shared, pod, "two")
    reader = await watch(pod, "s", after=0)
    async with pod.core.database.transaction() as tx:
        await tx.execute("DELETE FROM operator_event WHERE seq > 4")
        await tx.execute("UPDATE operator_session SET last_seq = 4")
    await eventually(lambda: is_cut(reader))
    again = await watch(pod, "s", after=7)
    assert again.types() == ["resync"]
    assert again.seq == 4


async def test_a_chat_that_was_lost_while_it_waited_shows_nothing_in_the_place_of_another(
    pods: Pods,
) -> None:
    """It was committed before the switch-over, and begins after clients have come back."""
    pod = await pods.start()
    await say(pods, pod, "kept")
    reader = await watch(pod, "s", after=0, epoch=await epoch_of(pod))
    begun = await chat(pod, session_id="s")
    call = [await pods.switch.next() for _ in range(2)][1]
    call.say("its own ")
    await reader.until(lambda: reader.texts.get(begun.reply_id) == "its own ")
    before = datetime.now(UTC) - timedelta(minutes=1)
    lost = ReplyStream("s", begun.reply_id, before, local=True)
    pod.core.hub.begin_reply(lost)
    lost.append("text", "what was lost")
    event = LiveEvent("s", 8, "message.created", before, {"message_id": 5, "content": "lost"})
    pod.core.hub.publish("s", event, epoch=str(uuid.uuid4()))
    call.say("text", None)
    await reader.until(lambda: reader.seq == 7)
    assert reader.texts[begun.reply_id] == "its own text"
    await say(pods, pod, "next")
    await reader.until(lambda: reader.seq == 10)


async def test_a_chat_that_was_lost_while_it_waited_deletes_no_session_that_is_being_read(
    pods: Pods,
) -> None:
    pod = await pods.start()
    await say(pods, pod, "kept")
    opening = asyncio.create_task(watch(pod, "s", after=0, epoch=await epoch_of(pod)))
    await asyncio.sleep(0)  # it has asked, and has no answer yet
    event = LiveEvent("s", 5, "message.created", datetime.now(UTC), {"message_id": 5})
    pod.core.hub.publish("s", event, epoch=str(uuid.uuid4()))
    reader = await opening
    await say(pods, pod, "next")
    await reader.until(lambda: reader.seq == 7)
    assert not reader.gone_at
    assert not reader.cut_off


async def test_a_switch_over_behind_a_pooler_is_noticed(pair: Pair) -> None:
    async with Relay(pair.first.folder) as relay:
        pooler = PgBouncer(relay.folder, "transaction")
        pods = Pods(pooler.url(pair.database))
        try:
            pod = await pods.start(database_direct_url=pair.url)
            await say(pods, pod, "kept")
            epoch = await epoch_of(pod)
            reader = await watch(pod, "s", after=0, epoch=epoch)
            await asyncio.to_thread(pair.second.catch_up)
            # First, for PgBouncer does not try again for long where it could not log in.
            relay.target = pair.second.folder
            await asyncio.to_thread(pair.fail_over)
            await back(pod)
            await eventually(lambda: is_cut(reader))
            assert await epoch_of(pod) != epoch
        finally:
            await pods.aclose()
            pooler.stop()


async def test_pods_and_clients_go_on_after_a_switch_over_without_a_loss(
    switched: Pods, pair: Pair, bus_url: str
) -> None:
    """With NATS only one of the two ways that pods hear each other by is cut."""
    one, two = [await switched.start(bus_url=bus_url) for _ in range(2)]
    await say(switched, one, "before")
    epoch = await epoch_of(one)
    reader = await watch(two, "s", after=0, epoch=epoch)
    await asyncio.to_thread(pair.switch_over)
    await back(one)
    await back(two)
    await eventually(lambda: is_cut(reader))
    await say(switched, one, "after")
    again = await watch(two, "s", after=4, epoch=epoch)
    assert again.types() == ["resync"]
    assert again.seq == 7
    assert sorted(again.texts.values()) == ["after", "before"]


async def test_a_lost_reply_is_interrupted_and_leaves_the_next_one_of_its_id_alone(
    switched: Pods, pair: Pair
) -> None:
    pod = await switched.start()
    await say(switched, pod, "kept")
    await asyncio.to_thread(pair.lose_from_now)
    lost = await chat(pod, session_id="s")
    lost_call = [await switched.switch.next() for _ in range(2)][1]
    await asyncio.to_thread(pair.fail_over)
    await back(pod)
    pair.second.execute(
        f"SELECT setval('operator_message_id_seq', {lost.message_id}, false)", pair.database
    )
    other = await chat(pod, session_id="other")
    other_call = await switched.switch.next()
    assert other.reply_id == lost.reply_id
    lost_call.say("what was lost", None)
    with pytest.raises(OperatorError) as caught:
        await pod.services.replies.wait(lost)
    assert caught.value.code is ErrorCode.REPLY_INTERRUPTED
    other_call.say("its own", None)
    outcome = await pod.services.replies.wait(other)
    assert outcome is not None
    assert outcome.content == "its own"
