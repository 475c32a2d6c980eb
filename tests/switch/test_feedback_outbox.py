"""The outbox of feedback: forwarded in order, again after a failure, and given up."""

from __future__ import annotations

import asyncio
import random

import pytest

from operator_svc.errors import ErrorCode
from operator_svc.models import ReplyStatus
from operator_svc.peers.breaker import CircuitOpenError
from operator_svc.protocol.switch import FeedbackBody
from operator_svc.services.switch import feedback_outbox
from operator_svc.stores.message_rows import Feedback
from tests.fakes.eventually import eventually
from tests.fakes.records import ANYBODY, FakeSwitch, Pod
from tests.fakes.switch_faults import (
    Fault,
    broken,
    busy,
    failing,
    late,
    refused,
    starting,
    unreachable,
)
from tests.switch.forwarding import give, outbox, time_comes, told


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


@pytest.mark.parametrize("fault", [refused(200), broken, failing], ids=["200", "nonsense", "500"])
async def test_feedback_answered_with_errors_is_given_up_after_ten_answers(
    local: Pod, switch: FakeSwitch, fault: Fault
) -> None:
    for n in range(2):
        await give(local, "a", n)
    switch.faults["record_result"] = [fault] * feedback_outbox.ERROR_ANSWERS
    for _ in range(feedback_outbox.ERROR_ANSWERS):
        assert told(switch, "a") == []
        await local.outbox.forward()
        await time_comes(local)
    assert told(switch, "a") == [1]
    assert await outbox(local) == [("a", 0, feedback_outbox.ERROR_ANSWERS, "given up")]


@pytest.mark.parametrize("away", [unreachable, late, starting, busy])
async def test_attempts_while_switch_was_away_do_not_count_as_its_answers(
    local: Pod, switch: FakeSwitch, away: Fault
) -> None:
    await give(local, "a", 7)
    faults = [away] * feedback_outbox.ERROR_ANSWERS + [refused(200), failing]
    switch.faults["record_result"] = [*faults]
    for _ in range(len(faults) + 1):
        await local.outbox.forward()
        await time_comes(local)
    assert told(switch, "a") == [7]
    assert await outbox(local) == []


async def test_feedback_that_switch_answers_with_an_error_does_not_end_the_round(
    local: Pod, switch: FakeSwitch
) -> None:
    for engine in "ab":
        await give(local, engine)
    switch.faults["record_result"] = [failing]
    await local.outbox.forward()
    assert (told(switch, "a"), told(switch, "b")) == ([], [1])


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
