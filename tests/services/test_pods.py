"""Several pods in one process on one database: what one writes, all show, and only one writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from operator_svc import lifecycle
from operator_svc.app import Operator
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ReplyStatus
from operator_svc.protocol.chat import Chat
from operator_svc.services.chat.chats import Accepted
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.services.live.subscriptions import Subscription
from operator_svc.settings import Settings
from tests.fakes.client_view import ClientView, Frame
from tests.fakes.eventually import eventually
from tests.fakes.scripted_switch import ScriptedSwitch

ANYBODY = Caller("tests")


class Reader(ClientView):
    """A client in this process, which can stop reading."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.gone_at = False
        self.blocked = False
        self.cut_off = False
        self.subscription: Subscription | None = None

    def writable(self) -> bool:
        return not self.blocked

    def write(self, frame: bytes, seq: int | None) -> None:
        told = msgspec.json.decode(frame)
        self.frames.append(told)
        self.take(told)

    async def drain(self) -> None:
        while self.blocked:
            await asyncio.sleep(0.01)

    def disconnect_slow(self) -> None:
        self.cut_off = True

    def session_deleted(self) -> None:
        self.gone_at = True

    def types(self) -> list[str]:
        return [f["type"] for f in self.frames]

    async def until(self, what: Callable[[], Any], within: float = 3.0) -> None:
        await eventually(what, within, every=0.005)


class Pods:
    """Some pods on one database, each with the same scripted Switch."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.switch = ScriptedSwitch()
        self.all: list[Operator] = []

    async def start(self, **settings: Any) -> Operator:
        quick: dict[str, Any] = {"lease_ttl": 1.0, "tick": 0.02, "chat_rate": 0, "auth": "off"}
        operator = await lifecycle.start(
            Settings(database_url=self.url, **(quick | settings)), switch=self.switch
        )
        self.all.append(operator)
        return operator

    async def kill(self, operator: Operator) -> None:
        """As SIGKILL would: nothing more is written, nothing is given up."""
        await operator.core.tasks.aclose()
        self.all.remove(operator)
        await operator.core.bus.aclose()
        await operator.core.peers.switch.aclose()
        await operator.core.database.aclose()

    async def aclose(self) -> None:
        for operator in self.all:
            await lifecycle.close(operator)


@pytest.fixture
async def pods(database_url: str) -> AsyncIterator[Pods]:
    some = Pods(database_url)
    yield some
    await some.aclose()


@pytest.fixture
async def shared(postgresql_url: str) -> AsyncIterator[Pods]:
    some = Pods(postgresql_url)
    yield some
    await some.aclose()


async def all_until(
    readers: Iterable[Reader], what: Callable[[Reader], Any], within: float = 3.0
) -> None:
    for reader in readers:
        await reader.until(partial(what, reader), within)


async def watch(
    operator: Operator, session_id: str, *, after: int | None = None, epoch: str | None = None
) -> Reader:
    reader = Reader()
    send_queue = SendQueue(reader, operator.core.tasks, operator.core.settings.outbox_bytes)
    reader.subscription = await operator.services.subscriptions.open(session_id, send_queue)
    if after is None:
        reader.subscription.join()
    else:
        await reader.subscription.resume(after, epoch)
    return reader


async def chat(operator: Operator, message: str = "hi", **fields: Any) -> Accepted:
    return await operator.services.chats.start(ANYBODY, Chat(message=message, **fields))


async def test_what_is_shown_is_what_is_stored(pods: Pods) -> None:
    pod = await pods.start()
    early = await watch(pod, "s")
    accepted = await chat(pod, session_id="s")
    pods.switch.say("Guten ", "Mor", "gen 😀")
    await early.until(lambda: early.texts.get(accepted.reply_id) == "Guten Morgen 😀")
    late = await watch(pod, "s")
    assert late.types() == ["reply.snapshot"]
    pods.switch.say("!", None)
    outcome = await pod.services.replies.wait(accepted)
    assert outcome is not None
    assert outcome.content == "Guten Morgen 😀!"
    resumed = await watch(pod, "s", after=0)
    for reader in (early, late, resumed):
        assert reader.texts == {accepted.reply_id: "Guten Morgen 😀!"}
    assert early.seqs == resumed.seqs == [1, 2, 3, 4]
    shown = [f for f in early.frames if f["type"] == "event"]
    assert shown == [f for f in resumed.frames if f["type"] == "event"]
    history = await pod.services.history.page(ANYBODY, "s", limit=10, before=None)
    assert [m.content for m in history.messages] == ["hi", "Guten Morgen 😀!"]


async def test_another_pod_shows_the_same(shared: Pods) -> None:
    one, two = await shared.start(), await shared.start()
    here, there = await watch(one, "s"), await watch(two, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say("some ", "text")
    await there.until(lambda: there.texts.get(accepted.reply_id) == "some text")
    late = await watch(two, "s")
    assert late.texts == {accepted.reply_id: "some text"}
    answers = await asyncio.gather(
        chat(two, session_id="s"), chat(one, session_id="s"), chat(two, session_id="s")
    )
    for _ in range(4):
        shared.switch.say("x")
    await asyncio.sleep(0.1)
    for _ in range(4):
        shared.switch.say(None)
    await all_until((here, there, late), lambda reader: len(reader.endings) == 4)
    assert here.seqs == there.seqs == list(range(1, 14))
    assert late.seqs == list(range(4, 14))
    assert here.texts == there.texts == late.texts
    assert len(answers) == 3


async def test_one_key_on_two_pods_asks_switch_once(shared: Pods) -> None:
    one, two = await shared.start(), await shared.start()
    starts = await asyncio.gather(
        *(chat(pod, client_message_id="k") for pod in (one, two, one, two))
    )
    shared.switch.say("once", None)
    outcomes = [
        await pod.services.replies.wait(accepted, 5)
        for pod, accepted in zip((one, two, one, two), starts, strict=True)
    ]
    assert [o and o.content for o in outcomes] == ["once"] * 4
    assert len({a.reply_id for a in starts}) == 1
    assert len(shared.switch.prompts) == 1
    with pytest.raises(OperatorError) as refused:
        await chat(two, "another body", client_message_id="k")
    assert refused.value.code is ErrorCode.CONFLICT
    again = await chat(two, client_message_id="k")
    assert again.reply_id == starts[0].reply_id


async def test_a_failed_key_is_tried_anew(pods: Pods) -> None:
    pod = await pods.start()
    first = await chat(pod, client_message_id="k", session_id="s")
    pods.switch.say("half")
    pods.switch.say(OperatorError(ErrorCode.SWITCH_ERROR, "it was cut"))
    outcome = await pod.services.replies.wait(first)
    assert outcome is not None
    assert (outcome.status, outcome.content) == (ReplyStatus.FAILED, "half")
    with pytest.raises(OperatorError) as failed:
        await pod.services.replies.answer(first, outcome)
    assert failed.value.code is ErrorCode.SWITCH_ERROR
    second = await chat(pod, client_message_id="k", session_id="s")
    assert second.message_id == first.message_id
    assert second.reply_id != first.reply_id
    pods.switch.say("whole", None)
    whole = await pod.services.replies.wait(second)
    assert whole is not None
    assert whole.content == "whole"
    history = await pod.services.history.page(ANYBODY, "s", limit=10, before=None)
    assert [m.status for m in history.messages] == ["complete", "failed", "complete"]
    assert history.messages[1].metadata["error"] == "switch_error"


@pytest.mark.measures_time
async def test_cancel_on_another_pod(shared: Pods) -> None:
    one, two = await shared.start(), await shared.start()
    reader = await watch(two, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say("partial")
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == "partial")
    begun = time.monotonic()
    view = await two.services.replies.cancel(ANYBODY, accepted.reply_id)
    assert time.monotonic() - begun < 1.0
    assert (view.status, view.content) == ("cancelled", "partial")
    assert shared.switch.closed == 1
    await reader.until(lambda: reader.endings == {accepted.reply_id: "reply.cancelled"})
    assert (await one.services.replies.cancel(ANYBODY, accepted.reply_id)).status == "cancelled"


async def test_cancel_before_the_first_token(pods: Pods) -> None:
    pod = await pods.start()
    accepted = await chat(pod)
    view = await pod.services.replies.cancel(ANYBODY, accepted.reply_id)
    assert (view.status, view.content) == ("cancelled", "")
    assert pods.switch.running == 0


async def test_a_dead_pods_reply_is_interrupted_once(shared: Pods) -> None:
    one, two, three = [await shared.start() for _ in range(3)]
    readers = [await watch(two, "s"), await watch(three, "s")]
    accepted = await chat(one, session_id="s")
    shared.switch.say("kept ", "text")
    await readers[0].until(lambda: readers[0].texts.get(accepted.reply_id) == "kept text")
    await shared.kill(one)
    await all_until(readers, lambda reader: bool(reader.endings), within=5)
    for reader in readers:
        assert reader.endings == {accepted.reply_id: "reply.interrupted"}
        assert reader.texts == {accepted.reply_id: "kept text"}
        assert reader.seqs == [1, 2, 3, 4]
    ended = await two.services.replies.wait(accepted._replace(running=None))
    assert ended is not None
    with pytest.raises(OperatorError) as failed:
        await two.services.replies.answer(accepted, ended)
    assert failed.value.code is ErrorCode.REPLY_INTERRUPTED


async def test_a_pod_without_lease_writes_nothing_more(shared: Pods) -> None:
    one, two = await shared.start(), await shared.start()
    reader = await watch(two, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say("before")
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == "before")
    lost = REGISTRY.get_sample_value("operator_leases_lost_total") or 0.0
    async with two.core.database.transaction() as tx:
        await tx.execute(
            "UPDATE operator_pod SET lease_until = now() - interval '1 s' WHERE pod_id = :pod",
            pod=one.core.lease.pod_id,
        )
    await reader.until(lambda: bool(reader.endings), within=5)
    shared.switch.say("after", None)
    outcome = await one.services.replies.wait(accepted, 3)
    assert outcome is not None
    assert (outcome.status, outcome.content) == (ReplyStatus.INTERRUPTED, "before")
    assert len(one.core.running) == 0
    assert REGISTRY.get_sample_value("operator_leases_lost_total") == lost + 1
    fresh = await chat(one, session_id="s")
    assert fresh.running is not None


async def test_what_a_crash_left_is_interrupted_at_the_next_start(sqlite_url: str) -> None:
    pods = Pods(sqlite_url)
    one = await pods.start()
    accepted = await chat(one, session_id="s")
    pods.switch.say("left")
    await asyncio.sleep(0.2)
    await pods.kill(one)
    two = await pods.start()
    view = await two.services.replies.get(ANYBODY, accepted.reply_id)
    assert (view.status, view.content) == ("interrupted", "left")
    await pods.aclose()


@pytest.mark.parametrize("watched", [True, False])
async def test_deleting_ends_everything_everywhere(shared: Pods, watched: bool) -> None:
    one, two = await shared.start(), await shared.start()
    here, there = await watch(one if watched else two, "s"), await watch(two, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say("x")
    await there.until(lambda: bool(there.texts))
    await two.services.sessions.delete(ANYBODY, "s")
    await all_until((here, there), lambda reader: reader.gone_at)
    for reader in (here, there):
        assert reader.events[-1]["event"] == "session.deleted"
    await here.until(lambda: shared.switch.closed == 1)
    with pytest.raises(OperatorError) as gone:
        await one.services.replies.wait(accepted, 2)
    assert gone.value.code is ErrorCode.SESSION_NOT_FOUND


async def test_resuming(pods: Pods) -> None:
    pod = await pods.start(resume_limit=10)
    for _ in range(5):
        accepted = await chat(pod, session_id="s")
        pods.switch.say("reply", None)
        await pod.services.replies.wait(accepted)
    session = await pod.services.sessions.get(ANYBODY, "s")
    assert session.last_seq == 16
    near = await watch(pod, "s", after=10, epoch=session.epoch)
    assert near.seqs == list(range(11, 17))
    assert near.types()[-1] == "resumed"
    for after, epoch in ((2, session.epoch), (99, None), (15, "another epoch")):
        far = await watch(pod, "s", after=after, epoch=epoch)
        assert far.types() == ["resync"]
        assert far.frames[0]["seq"] == 16
        assert len(far.frames[0]["snapshot"]["messages"]) == 10
    accepted = await chat(pod, session_id="s")
    await near.until(lambda: near.seqs[-1] == 18)
    assert near.subscription is not None
    near.expect_replay(12)
    await near.subscription.resume(12, None)
    assert near.seqs[-7:] == [18, 13, 14, 15, 16, 17, 18]
    assert near.types()[-2:] == ["resumed", "reply.snapshot"]
    pods.switch.say("more", None)
    await near.until(lambda: accepted.reply_id in near.endings)


async def test_resuming_while_much_is_happening(shared: Pods) -> None:
    one, two = await shared.start(), await shared.start()
    stop = asyncio.Event()

    async def talk(pod: Operator) -> None:
        while not stop.is_set():
            accepted = await chat(pod, session_id="s")
            shared.switch.say("a", "b", None)
            await pod.services.replies.wait(accepted)

    talking = [asyncio.create_task(talk(pod)) for pod in (one, one, two, two)]
    steady = await watch(two, "s", after=0)
    readers = [steady]
    await steady.until(lambda: steady.seqs)
    for n in range(20):
        readers.append(await watch((one, two)[n % 2], "s", after=max(0, steady.seqs[-1] - 20)))
        await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*talking)
    last = (await one.services.sessions.get(ANYBODY, "s")).last_seq
    await all_until(readers, lambda reader: reader.seqs[-1] == last)
    for reader in readers:
        assert reader.seqs == list(range(reader.seqs[0], last + 1))


async def test_a_slow_reader_delays_nobody(pods: Pods) -> None:
    pod = await pods.start(outbox_bytes=4096)
    slow, quick = await watch(pod, "s"), await watch(pod, "s")
    accepted = await chat(pod, session_id="s")
    await slow.until(lambda: slow.seqs == [1, 2, 3])
    slow.blocked = True
    pods.switch.say(*["0123456789"] * 100)
    await quick.until(lambda: len(quick.texts.get(accepted.reply_id, "")) == 1000)
    slow.blocked = False
    await slow.until(lambda: slow.texts.get(accepted.reply_id) == quick.texts[accepted.reply_id])
    assert sum(kind == "delta" for kind in slow.types()) == 1
    slow.blocked = True
    pods.switch.say(*["0123456789" * 10] * 100, None)
    await quick.until(lambda: accepted.reply_id in quick.endings)
    await slow.until(lambda: slow.cut_off)
    back = await watch(pod, "s", after=slow.seqs[-1])
    assert back.texts == quick.texts


async def test_the_delay_of_news_from_another_pod_is_measured(shared: Pods) -> None:
    def measured(what: str) -> float:
        return REGISTRY.get_sample_value(f"operator_bus_delay_seconds_{what}") or 0.0

    one, two = await shared.start(), await shared.start()
    count, took = measured("count"), measured("sum")
    begun = time.monotonic()
    reader = await watch(two, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say("news", None)
    await reader.until(lambda: accepted.reply_id in reader.endings)
    await asyncio.sleep(0.05)
    new = measured("count") - count
    assert 1 <= new <= 8
    assert 0 < measured("sum") - took < (time.monotonic() - begun) * new


async def test_own_news_have_no_delay_of_the_bus(shared: Pods) -> None:
    one = await shared.start()
    before = REGISTRY.get_sample_value("operator_bus_delay_seconds_count") or 0.0
    reader = await watch(one, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say("own news", None)
    await reader.until(lambda: accepted.reply_id in reader.endings)
    await asyncio.sleep(0.3)
    assert REGISTRY.get_sample_value("operator_bus_delay_seconds_count") == before


async def test_a_lost_notification_is_repaired_by_the_poll(shared: Pods) -> None:
    one, two = await shared.start(), await shared.start()
    reader = await watch(two, "s")
    one.core.bus.notify = lambda session_id: None  # type: ignore[method-assign]
    repaired = REGISTRY.get_sample_value("operator_missed_notifications_total") or 0.0
    accepted = await chat(one, session_id="s")
    shared.switch.say("hello")
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == "hello", within=3)
    shared.switch.say(None)
    await reader.until(lambda: bool(reader.endings), within=3)
    assert (REGISTRY.get_sample_value("operator_missed_notifications_total") or 0.0) > repaired


async def test_context_is_bounded_and_regenerating_keeps_both(pods: Pods) -> None:
    pod = await pods.start(history_messages=3, history_chars=16)
    for text in ("first question", "second", "third"):
        accepted = await chat(pod, text, session_id="s")
        pods.switch.say("answer", None)
        await pod.services.replies.wait(accepted)
    assert [p.history for p in pods.switch.prompts[:3]] == [
        [],
        [{"role": "assistant", "content": "answer"}],
        [{"role": "user", "content": "second"}, {"role": "assistant", "content": "answer"}],
    ]
    again = await chat(pod, "", session_id="s", regenerate=accepted.message_id)
    pods.switch.say("another answer", None)
    await pod.services.replies.wait(again)
    assert pods.switch.prompts[-1].message == "third"
    history = await pod.services.history.page(ANYBODY, "s", limit=9, before=None)
    assert [m.content for m in history.messages[-3:]] == ["third", "answer", "another answer"]
    assert history.messages[-1].reply_to == accepted.message_id


async def test_a_bound_caller_sees_its_own_only(pods: Pods) -> None:
    pod = await pods.start()
    ana, eva = Caller("a", "client", "ana"), Caller("e", "client", "eva")
    accepted = await pod.services.chats.start(ana, Chat(message="x", session_id="s"))
    with pytest.raises(OperatorError) as hidden:
        await pod.services.chats.start(eva, Chat(message="x", session_id="s"))
    assert hidden.value.code is ErrorCode.SESSION_NOT_FOUND
    for attempt in (
        pod.services.history.page(eva, "s", limit=1, before=None),
        pod.services.replies.get(eva, accepted.reply_id),
        pod.services.replies.cancel(eva, accepted.reply_id),
        pod.services.sessions.delete(eva, "s"),
    ):
        with pytest.raises(OperatorError) as hidden:
            await attempt
        assert hidden.value.code.status == 404
    with pytest.raises(OperatorError) as refused:
        await pod.services.chats.start(eva, Chat(message="x", user_id="ana"))
    assert refused.value.code is ErrorCode.FORBIDDEN
    pods.switch.say(None)
    await pod.services.replies.wait(accepted)
