"""Feedback: forwarded once and in order, whatever Switch does, across pods and restarts."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from operator_svc.db import Database, connect
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ReplyStatus
from operator_svc.peers.breaker import CircuitOpenError
from operator_svc.protocol.switch import FeedbackAnswer, FeedbackBody
from operator_svc.services.switch import feedback_outbox
from operator_svc.settings import Settings
from operator_svc.stores.message_rows import Feedback
from operator_svc.stores.pods import PodStore
from tests.fakes.eventually import eventually
from tests.fakes.records import (
    ANYBODY,
    FakeSwitch,
    Fault,
    Outage,
    Pod,
    broken,
    die,
    late,
    pods,
    refused,
    unreachable,
)


async def give(pod: Pod, engine: str, tokens: int = 1, **fields: Any) -> FeedbackAnswer:
    body = FeedbackBody(
        **{"engine": engine, "success": True, "latency_ms": 9.6, "tokens_used": tokens, **fields}
    )
    return await pod.feedback.record(ANYBODY, body)


async def outbox(pod: Pod) -> list[tuple[str, int, int, str]]:
    """The feedback to be forwarded or given up: engine, tokens, attempts, and which."""
    async with pod.database.transaction() as tx:
        rows = await tx.fetch(
            "SELECT engine, tokens_used, attempts,"
            " CASE WHEN given_up_at IS NULL THEN 'waits' ELSE 'given up' END"
            " FROM operator_switch_feedback WHERE forwarded_at IS NULL ORDER BY id"
        )
    return [tuple(row) for row in rows]


async def time_comes(pod: Pod) -> None:
    """All that waits for its next attempt has waited long enough."""
    now = "now()" if pod.database.dialect == "postgresql" else "now(-1)"
    async with pod.database.transaction() as tx:
        await tx.execute(f"UPDATE operator_switch_feedback SET not_before = {now}")


def told(switch: FakeSwitch, engine: str) -> list[int | None]:
    """The tokens of what Switch was told of an engine, in order."""
    return [tokens for name, _, _, tokens in switch.recorded if name == engine]


async def test_feedback_is_answered_at_once_and_forwarded_later(
    pod: Pod, switch: FakeSwitch
) -> None:
    await pod.chat()
    answer = await give(pod, "e", 7, success=False, error_msg="it broke", session_id="s-1")
    assert (answer.engine, answer.success, answer.latency_ms, answer.tokens_used) == (
        "e", False, 10, 7,
    )  # fmt: skip
    assert (answer.error_message, answer.forwarded_at, answer.status) == (
        "it broke", None, "recorded",
    )  # fmt: skip
    assert switch.calls == [], "nobody waits for Switch"
    await pod.outbox.forward()
    assert switch.recorded == [("e", False, 10, 7)]
    assert await outbox(pod) == []
    await pod.outbox.forward()
    assert len(switch.recorded) == 1
    (event,) = await pod.log()
    assert (event.event, event.data["id"], event.data["error_message"]) == (
        "switch_feedback.recorded", answer.id, "it broke",
    )  # fmt: skip


async def test_error_is_read_under_both_names(local: Pod) -> None:
    assert (await give(local, "e", error_message="a", error_msg="b")).error_message == "a"
    assert (await give(local, "e")).error_message is None
    nothing = FeedbackBody(engine="e", success=False)
    assert (await local.feedback.record(ANYBODY, nothing)).latency_ms is None


async def test_feedback_of_an_engine_is_forwarded_in_order(pod: Pod, switch: FakeSwitch) -> None:
    for n in range(30):
        await give(pod, random.choice("abc"), n)  # noqa: S311 - a test's choice
    await pod.outbox.forward()
    assert len(switch.recorded) == 30
    for engine in "abc":
        numbers = told(switch, engine)
        assert numbers == sorted(numbers, key=lambda n: n or 0)


@pytest.mark.parametrize(
    "fault", [unreachable, late, broken, refused(200)], ids=["away", "late", "nonsense", "200"]
)
async def test_feedback_waits_while_switch_fails_and_is_forwarded_in_order_afterwards(
    local: Pod, switch: FakeSwitch, fault: Fault
) -> None:
    for n in range(3):
        await give(local, "a", n)
    switch.faults["record_result"] = [None, fault]
    await local.outbox.forward()
    assert told(switch, "a") == [0]
    assert await outbox(local) == [("a", 1, 1, "waits"), ("a", 2, 0, "waits")]
    await local.outbox.forward()
    assert told(switch, "a") == [0], "its time has not come, and the next one waits for it"
    await time_comes(local)
    await local.outbox.forward()
    assert told(switch, "a") == [0, 1, 2]


async def test_unreachable_switch_is_called_once_a_round(local: Pod, switch: FakeSwitch) -> None:
    for engine in "abcdef":
        await give(local, engine)
    switch.faults["record_result"] = [unreachable] * 2
    await local.outbox.forward()
    assert len(switch.calls) == 1
    await local.outbox.forward()
    assert len(switch.calls) == 2, "another engine's turn"
    await time_comes(local)
    await local.outbox.forward()
    assert sorted(name for name, *_ in switch.recorded) == list("abcdef")


async def test_pauses_double_up_to_a_minute(
    local: Pod, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.5)
    waits: list[float] = []
    postpone = local.feedback_store.postpone

    async def noted(feedback_id: int, pod_id: str, seconds: float) -> None:
        waits.append(seconds)
        await postpone(feedback_id, pod_id, seconds)

    monkeypatch.setattr(local.feedback_store, "postpone", noted)
    await give(local, "a")
    switch.faults["record_result"] = [unreachable] * 9
    for _ in range(9):
        await local.outbox.forward()
        await time_comes(local)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_open_circuit_sets_the_pause(local: Pod, switch: FakeSwitch) -> None:
    def closed_to_us() -> None:
        raise CircuitOpenError(ErrorCode.SWITCH_UNAVAILABLE, "left alone", retry_after=30.0)

    await give(local, "a")
    switch.faults["record_result"] = [closed_to_us]
    await local.outbox.forward()
    async with local.database.transaction() as tx:
        (row,) = await tx.fetch(
            "SELECT not_before > now(20) FROM operator_switch_feedback WHERE attempts = 1"
        )
    assert row == (1,)


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_feedback_that_switch_refuses_is_given_up(
    local: Pod, switch: FakeSwitch, status: int
) -> None:
    for n in range(3):
        await give(local, "a", n)
    switch.faults["record_result"] = [None, refused(status)]
    await local.outbox.forward()
    assert told(switch, "a") == [0, 2], "the next one is not held up"
    assert await outbox(local) == [("a", 1, 1, "given up")]


async def test_feedback_answered_with_status_error_is_given_up_after_ten_attempts(
    local: Pod, switch: FakeSwitch
) -> None:
    for n in range(2):
        await give(local, "a", n)
    switch.faults["record_result"] = [refused(200)] * feedback_outbox.STATUS_ERRORS
    for _ in range(feedback_outbox.STATUS_ERRORS):
        await local.outbox.forward()
        await time_comes(local)
    assert told(switch, "a") == [1]
    assert await outbox(local) == [("a", 0, feedback_outbox.STATUS_ERRORS, "given up")]


async def test_round_is_shared_among_the_engines(
    local: Pod, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_outbox, "ROUND", 3)
    for n in range(8):
        await give(local, "busy", n)
    await give(local, "rare", 0)
    await local.outbox.forward()
    assert (told(switch, "busy"), told(switch, "rare")) == ([0, 1, 2, 3], [0])
    await local.outbox.forward()
    assert told(switch, "busy") == list(range(8))


async def test_engines_are_forwarded_at_once(local: Pod, switch: FakeSwitch) -> None:
    for engine in "abcd":
        for n in range(2):
            await give(local, engine, n)
    switch.after["record_result"] = [switch.gate.clear]  # the first call looks for Switch
    forwarding = asyncio.ensure_future(local.outbox.forward())
    await eventually(lambda: len(switch.calls) - len(switch.recorded) == 4)
    switch.gate.set()
    await forwarding
    assert {engine: told(switch, engine) for engine in "abcd"} == {
        engine: [0, 1] for engine in "abcd"
    }


async def test_feedback_that_stays_here_is_not_forwarded(pod: Pod, switch: FakeSwitch) -> None:
    started = await pod.chat()
    await pod.messages.finish(
        session_id="s-1", reply_id=started.reply_id, begun_at=started.ts, pod_id="writer",
        status=ReplyStatus.COMPLETE, content="hi", metadata={},
        feedback=Feedback("hermes", True, 12, 3, None, forward=False),
    )  # fmt: skip
    await pod.outbox.forward()
    assert switch.recorded == []
    assert await outbox(pod) == [("hermes", 3, 0, "given up")]
    (stats,) = await pod.feedback_hours.engines(3600, 10)
    assert (stats.engine, stats.calls) == ("hermes", 1), "the ranking counts it"


async def test_several_pods_forward_each_row_once_and_in_order(
    database: Database, switch: FakeSwitch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2", "pod-3") as three:
        await asyncio.gather(*[give(three[0], "abcd"[n % 4], n) for n in range(60)])
        order = {
            engine: [tokens for name, tokens, _, _ in await outbox(three[0]) if name == engine]
            for engine in "abcd"
        }
        while await outbox(three[0]):
            await asyncio.gather(*[pod.outbox.forward() for pod in three])
    assert {engine: told(switch, engine) for engine in "abcd"} == order


async def test_row_of_a_pod_killed_between_call_and_mark_is_forwarded_twice(
    database: Database, switch: FakeSwitch
) -> None:
    """The only case in which Switch is told twice; nothing is lost, and the order stays."""
    async with pods(database, switch, "pod-1", "pod-2") as (dead, alive):
        for n in range(4):
            await give(dead, "a", n)

        def killed() -> None:
            raise asyncio.CancelledError

        switch.after["record_result"] = [None, killed]
        with pytest.raises(asyncio.CancelledError):
            await dead.outbox.forward()
        assert told(switch, "a") == [0, 1]
        await alive.outbox.forward()
        await alive.outbox.release_orphaned()
        await alive.outbox.forward()
        assert told(switch, "a") == [0, 1], "as long as its lease holds, it may be alive"
        await die(dead)
        await alive.outbox.release_orphaned()
        await alive.outbox.forward()
        assert told(switch, "a") == [0, 1, 1, 2, 3]


async def test_claim_left_by_a_crash_is_released_at_the_next_start(
    sqlite_url: str, switch: FakeSwitch
) -> None:
    """On SQLite the next process knows that the one before it is gone."""
    opened = await connect(Settings(database_url=sqlite_url))
    async with pods(opened, switch, "first") as (first,):
        for n in range(3):
            await give(first, "a", n)
        assert await first.feedback_store.claim(
            (await first.feedback_store.heads("first"))[0], "first"
        )
    await opened.aclose()
    opened = await connect(Settings(database_url=sqlite_url))
    await PodStore(opened).register("second", 10)
    second = Pod(opened, switch, "second")
    await second.outbox.release_orphaned()
    await second.outbox.forward()
    await second.tasks.aclose()
    await opened.aclose()
    assert told(switch, "a") == [0, 1, 2]


async def test_close_waits_for_the_call_under_way(local: Pod, switch: FakeSwitch) -> None:
    for n in range(3):
        await give(local, "a", n)
    switch.gate.clear()
    forwarding = asyncio.ensure_future(local.outbox.forward())
    await eventually(lambda: switch.calls)
    closing = asyncio.ensure_future(local.outbox.close(5.0))
    await asyncio.wait([closing], timeout=0.05)
    assert not closing.done()
    switch.gate.set()
    await asyncio.gather(closing, forwarding)
    assert told(switch, "a") == [0]
    assert await outbox(local) == [("a", 1, 0, "waits"), ("a", 2, 0, "waits")]
    await local.outbox.forward()
    assert told(switch, "a") == [0]


async def test_close_waits_no_longer_than_allowed(local: Pod, switch: FakeSwitch) -> None:
    await give(local, "a")
    switch.gate.clear()
    forwarding = asyncio.ensure_future(local.outbox.forward())
    await eventually(lambda: switch.calls)
    await local.outbox.close(0.05)
    assert not forwarding.done()
    forwarding.cancel()
    await asyncio.wait([forwarding])


async def test_mark_is_stored_after_an_outage_of_the_database(
    local: Pod, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        await give(local, "a", n)
    write = Outage(local.feedback_store.settle)
    monkeypatch.setattr(local.feedback_store, "settle", write)
    await local.outbox.forward()
    await local.outbox.forward()
    assert told(switch, "a") == [0, 1], "once each"
    assert await outbox(local) == []


async def test_pod_that_loses_its_lease_claims_no_more(local: Pod, switch: FakeSwitch) -> None:
    for n in range(3):
        await give(local, "a", n)

    def lost() -> None:
        local.pod_id = "another"

    switch.after["record_result"] = [lost]
    await local.outbox.forward()
    assert told(switch, "a") == [0]


async def test_finished_reply_gives_feedback_without_an_event_of_its_own(
    pod: Pod, switch: FakeSwitch
) -> None:
    started = await pod.chat()
    ended = await pod.messages.finish(
        session_id="s-1", reply_id=started.reply_id, begun_at=started.ts, pod_id="writer",
        status=ReplyStatus.FAILED, content="", metadata={},
        feedback=Feedback("hermes", False, 12, 3, "switch_error"),
    )  # fmt: skip
    assert ended is not None
    assert [event.event for event in await pod.log()] == ["reply.failed"]
    await pod.outbox.forward()
    assert switch.recorded == [("hermes", False, 12, 3)]


async def ended(pod: Pod, session_id: str = "s-1", user_id: str = "ann") -> int:
    """A session whose reply has ended, by the engine ``hermes``; the reply's id."""
    started = await pod.chat(session_id, user_id)
    await pod.messages.finish(
        session_id=session_id, reply_id=started.reply_id, begun_at=started.ts, pod_id="writer",
        status=ReplyStatus.COMPLETE, content="hi", metadata={"provider": "hermes"},
        feedback=Feedback("hermes", True, 7, 3, None, forward=False),
    )  # fmt: skip
    return started.reply_id


async def test_second_feedback_on_a_reply_replaces_the_first(pod: Pod, switch: FakeSwitch) -> None:
    reply_id = await ended(pod)
    first = await give(pod, "hermes", 1, message_id=reply_id)
    second = await give(pod, "hermes", 2, message_id=reply_id, success=False, error_message="no")
    assert (second.id, second.created_at, second.tokens_used) == (first.id, first.created_at, 2)
    assert [event.data["tokens_used"] for event in (await pod.log())[1:]] == [1, 2]
    (stats,) = await pod.feedback_hours.engines(3600, 10)
    assert (stats.calls, stats.successes, stats.tokens) == (2, 1, 5), "the reply's own counts too"
    await pod.outbox.forward()
    assert switch.recorded == [("hermes", False, 10, 2)], "Switch is told what is meant now"


async def test_switch_is_not_told_twice_of_one_reply(pod: Pod, switch: FakeSwitch) -> None:
    reply_id = await ended(pod)
    await give(pod, "hermes", 1, message_id=reply_id)
    await pod.outbox.forward()
    answer = await give(pod, "hermes", 2, message_id=reply_id)
    assert answer.forwarded_at is not None
    assert (await pod.log())[-1].data["forwarded_at"] is not None
    await pod.outbox.forward()
    assert told(switch, "hermes") == [1]


async def test_feedback_that_is_replaced_while_it_is_forwarded_counts_as_told(
    local: Pod, switch: FakeSwitch
) -> None:
    reply_id = await ended(local)
    await give(local, "hermes", 1, message_id=reply_id)
    switch.gate.clear()
    forwarding = asyncio.ensure_future(local.outbox.forward())
    await eventually(lambda: switch.calls)
    await give(local, "hermes", 2, message_id=reply_id)
    switch.gate.set()
    await forwarding
    await local.outbox.forward()
    assert told(switch, "hermes") == [1]


async def test_feedback_that_switch_refused_is_due_again_once_it_is_replaced(
    pod: Pod, switch: FakeSwitch
) -> None:
    reply_id = await ended(pod)
    await give(pod, "hermes", 1, message_id=reply_id)
    switch.faults["record_result"] = [refused(422)]
    await pod.outbox.forward()
    await give(pod, "hermes", 2, message_id=reply_id)
    await pod.outbox.forward()
    assert told(switch, "hermes") == [2]


async def test_feedback_on_one_reply_at_once_is_one_row(pod: Pod) -> None:
    reply_id = await ended(pod)
    answers = await asyncio.gather(
        *(give(pod, "hermes", n, message_id=reply_id) for n in range(12))
    )
    assert len({answer.id for answer in answers}) == 1
    events = (await pod.log())[1:]
    assert sorted(event.data["tokens_used"] for event in events) == list(range(12))
    (stats,) = await pod.feedback_hours.engines(3600, 10)
    assert (stats.calls, stats.tokens) == (2, 3 + events[-1].data["tokens_used"])


async def test_feedback_counts_for_the_engine_that_wrote_the_reply(local: Pod) -> None:
    reply_id = await ended(local)
    assert (await give(local, "rival", message_id=reply_id)).engine == "hermes"


ANN, BOB = Caller("a", "client", "ann"), Caller("b", "client", "bob")
GATEWAY = Caller("g", "client", None)
BOUND_OPERATOR = Caller("o", "operator", "ann")
CASES: dict[str, tuple[Caller, str | None, str | None, ErrorCode | None]] = {
    "of its own session": (ANN, "s-1", "ended", None),
    "of its own session, by its reply alone": (ANN, None, "ended", None),
    "of another user": (BOB, "s-1", "ended", ErrorCode.MESSAGE_NOT_FOUND),
    "of another user, by its reply alone": (BOB, None, "ended", ErrorCode.MESSAGE_NOT_FOUND),
    "of another session": (ANN, "s-2", "ended", ErrorCode.MESSAGE_NOT_FOUND),
    "of no such message": (ANN, None, "nothing", ErrorCode.MESSAGE_NOT_FOUND),
    "of a message that is no reply": (ANN, None, "question", ErrorCode.VALIDATION_ERROR),
    "of a reply of an unknown engine": (ANN, None, "nobody's", ErrorCode.VALIDATION_ERROR),
    "of a running reply": (ANN, None, "running", ErrorCode.CONFLICT),
    "without a reply": (ANN, None, None, ErrorCode.FORBIDDEN),
    "of a session without a reply": (ANN, "s-1", None, ErrorCode.FORBIDDEN),
    "by a token of no user": (GATEWAY, "s-1", "ended", None),
    "by a token of no user without a session": (GATEWAY, None, "ended", ErrorCode.FORBIDDEN),
    "by the operator": (ANYBODY, None, "ended", None),
    "by the operator without a reply": (ANYBODY, None, None, None),
    "by the operator of a session": (ANYBODY, "s-1", None, None),
    "by the operator of no session": (ANYBODY, "nowhere", None, ErrorCode.SESSION_NOT_FOUND),
    "by a bound operator without a reply": (BOUND_OPERATOR, None, None, None),
    "by a bound operator of others": (BOUND_OPERATOR, None, "others", ErrorCode.MESSAGE_NOT_FOUND),
}


async def test_feedback_is_given_on_replies_that_the_caller_may_see(local: Pod) -> None:
    running = await local.chat("s-2", "ann")
    nobody = await local.chat("s-4", "ann")
    await local.messages.finish(
        session_id="s-4", reply_id=nobody.reply_id, begun_at=nobody.ts, pod_id="writer",
        status=ReplyStatus.FAILED, content="", metadata={}, feedback=None,
    )  # fmt: skip
    messages = {
        "ended": await ended(local), "others": await ended(local, "s-3", "bob"), "nothing": 999,
        "question": running.message_id, "running": running.reply_id, "nobody's": nobody.reply_id,
    }  # fmt: skip
    found: dict[str, ErrorCode | None] = {}
    for name, (caller, session_id, message, _) in CASES.items():
        message_id = None if message is None else messages[message]
        body = FeedbackBody(engine="e", success=True, session_id=session_id, message_id=message_id)
        found[name] = None
        try:
            await local.feedback.record(caller, body)
        except OperatorError as error:
            found[name] = error.code
    assert found == {name: case[3] for name, case in CASES.items()}
