"""Sessions as clients of one pod and of several see them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from operator_svc.app import Operator
from operator_svc.db.contract import unavailable
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Session
from operator_svc.peers.chat_types import Part, Prompt
from operator_svc.services.live.hub import SessionHub
from tests.fakes.eventually import eventually
from tests.fakes.pods import ANYBODY, Pods, all_until, chat, say, watch


async def test_clients_are_shown_what_is_stored(pods: Pods) -> None:
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


async def test_clients_of_another_pod_are_shown_the_same(shared: Pods) -> None:
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
    await asyncio.sleep(0.1)  # a tick: the others have seen the pieces
    for _ in range(4):
        shared.switch.say(None)
    await all_until((here, there, late), lambda reader: len(reader.endings) == 4)
    assert here.seqs == there.seqs == list(range(1, 14))
    assert late.seqs == list(range(4, 14))
    assert here.texts == there.texts == late.texts
    assert len(answers) == 3


async def test_resume_replays_what_is_kept_and_else_resyncs(pods: Pods) -> None:
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


async def test_resync_in_the_midst_of_a_reply_that_this_pod_has_not_heard_of_is_continued(
    shared: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply begins after the session of the snapshot was read and before its messages are, and
    the notification of it is late."""
    one, two = await shared.start(), await shared.start()
    await say(shared, one, "before")
    keeper = await watch(two, "s", after=0)
    await keeper.until(lambda: keeper.seq == 4)
    sessions, hub = two.services.sessions, two.core.hub
    find = sessions.find

    async def find_early(session_id: str) -> Session | None:
        session = await find(session_id)
        monkeypatch.undo()
        monkeypatch.setattr(hub, "refresh", lambda _: None)
        accepted = await chat(one, session_id="s")
        shared.switch.say("some text")
        await eventually(
            lambda: (
                accepted.running is not None
                and accepted.running.stream.stored_end == len("some text")
            )
        )
        return session

    monkeypatch.setattr(sessions, "find", find_early)
    reader = await watch(two, "s", after=4, epoch="another epoch")
    assert reader.types()[0] == "resync"
    monkeypatch.undo()
    hub.poll()
    await keeper.until(lambda: keeper.texts.get(4) == "some text")
    # As a delta, or as a snapshot where a read that was under way brought it a moment before.
    await reader.until(lambda: reader.texts.get(4) == "some text")
    shared.switch.say(" and more", None)
    await all_until((keeper, reader), lambda one: one.texts.get(4) == "some text and more")


async def test_resume_while_events_come_shows_each_of_them_once(shared: Pods) -> None:
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
        await asyncio.sleep(0.02)  # more events between two resumes
    stop.set()
    await asyncio.gather(*talking)
    last = (await one.services.sessions.get(ANYBODY, "s")).last_seq
    await all_until(readers, lambda reader: reader.seqs[-1] == last)
    for reader in readers:
        assert reader.seqs == list(range(reader.seqs[0], last + 1))


async def test_a_slow_reader_delays_no_other(pods: Pods) -> None:
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


async def test_news_from_another_pod_have_a_measured_delay(shared: Pods) -> None:
    def measured(what: str) -> float:
        return REGISTRY.get_sample_value(f"operator_bus_delay_seconds_{what}") or 0.0

    one, two = await shared.start(), await shared.start()
    count, took = measured("count"), measured("sum")
    begun = time.monotonic()
    reader = await watch(two, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say("news", None)
    await reader.until(lambda: accepted.reply_id in reader.endings)
    new = await eventually(lambda: measured("count") - count)
    assert 1 <= new <= 8
    assert 0 < measured("sum") - took < (time.monotonic() - begun) * new


async def test_news_of_this_pod_have_no_delay_of_the_bus(shared: Pods) -> None:
    one = await shared.start()
    before = REGISTRY.get_sample_value("operator_bus_delay_seconds_count") or 0.0
    reader = await watch(one, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say("own news", None)
    await reader.until(lambda: accepted.reply_id in reader.endings)
    await asyncio.sleep(0.3)  # time in which its notifications would be measured
    assert REGISTRY.get_sample_value("operator_bus_delay_seconds_count") == before


async def test_a_lost_notification_is_repaired_by_the_poll(shared: Pods) -> None:
    one, two = await shared.start(), await shared.start()
    reader = await watch(two, "s")
    one.core.bus.notify = lambda session_id: None  # type: ignore[method-assign]
    repaired = REGISTRY.get_sample_value("operator_missed_notifications_total") or 0.0
    accepted = await chat(one, session_id="s")
    shared.switch.say("hello")
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == "hello")
    shared.switch.say(None)
    await reader.until(lambda: bool(reader.endings))
    assert (REGISTRY.get_sample_value("operator_missed_notifications_total") or 0.0) > repaired


async def test_a_session_that_cannot_be_read_is_an_error_of_its_clients_alone(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await pods.start()

    async def away(*_: object, **__: object) -> None:
        raise unavailable()

    monkeypatch.setattr(pod.core.database, "fetch_one", away)
    with capture_logs() as logs, pytest.raises(OperatorError) as caught:
        await watch(pod, "s")
    await asyncio.sleep(0)
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    monkeypatch.undo()
    assert (await watch(pod, "s")).types() == []


@pytest.mark.parametrize("new", [True, False], ids=["new", "known"])
async def test_the_upstream_is_asked_before_clients_are_told(
    pods: Pods, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    # A poll between the commit and its answer shows the events before this process does.
    monkeypatch.setattr(SessionHub, "poll", lambda hub: None)
    pod = await pods.start()
    if not new:
        await say(pods, pod, "before")
    reader = await watch(pod, "s")
    told: list[list[int]] = []
    ask = pods.switch.chat

    def asked(prompt: Prompt, show: Callable[[str], bool]) -> AsyncGenerator[list[Part], None]:
        told.append([*reader.seqs])
        return ask(prompt, show)

    monkeypatch.setattr(pods.switch, "chat", asked)
    accepted = await chat(pod, session_id="s")
    assert told == [[]]
    assert len(reader.seqs) == (3 if new else 2)  # all that was stored, once it is accepted
    pods.switch.say("Hello", None)
    await reader.until(lambda: reader.endings)
    assert reader.texts == {accepted.reply_id: "Hello"}


async def test_a_reply_that_comes_at_once_is_shown_after_its_beginning(pods: Pods) -> None:
    pod = await pods.start()
    reader, other = await watch(pod, "s"), await watch(pod, "s")
    pods.switch.answer = ["all ", "of it"]  # nothing is waited for
    accepted = await chat(pod, session_id="s")
    await all_until((reader, other), lambda one: one.endings)
    resumed = await watch(pod, "s", after=0)
    for one in (reader, other, resumed):
        assert one.seqs == [1, 2, 3, 4]
        assert one.texts == {accepted.reply_id: "all of it"}
    kinds = [frame.get("event", frame["type"]) for frame in reader.frames]
    assert kinds[:3] == ["session.created", "message.created", "reply.started"]
    assert kinds[-1] == "reply.completed"


async def test_a_caller_that_leaves_while_clients_are_told_keeps_nothing_from_them(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await pods.start(replies_per_token=1)
    reader = await watch(pod, "s")
    ask = pods.switch.chat

    def asked(prompt: Prompt, show: Callable[[str], bool]) -> AsyncGenerator[list[Part], None]:
        calling.cancel()
        return ask(prompt, show)

    monkeypatch.setattr(pods.switch, "chat", asked)
    calling = asyncio.create_task(chat(pod, session_id="s"))
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert reader.seqs == [1, 2, 3]
    with pytest.raises(OperatorError, match="replies of one token at once"):
        await chat(pod, session_id="another")  # its reply goes on, and has its place
    pods.switch.say("whole", None)
    await reader.until(lambda: reader.endings)
    assert list(reader.texts.values()) == ["whole"]
    monkeypatch.undo()
    # The end that is stored may be read and shown before the write of it has returned.
    await eventually(lambda: not pod.core.running)
    await say(pods, pod, "more")
